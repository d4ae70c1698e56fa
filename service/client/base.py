"""The part of the client that all its families of calls stand on."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from service.client.connection import Connection, Timeouts
from service.client.patience import Notice


def ignore(done_bytes: int, size_bytes: int | None) -> None:
    """Progress that nobody watches."""


class Base:
    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeouts: Timeouts | None = None,
        on_retry: Notice | None = None,
    ) -> None:
        self._arguments = (url, key, timeouts or Timeouts(), on_retry)

    async def __aenter__(self) -> Self:
        self._connection = Connection(*self._arguments)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._connection.close()
