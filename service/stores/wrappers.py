"""Wrappers of the ports with the same interface: every call is timed, every failure counted.

One wrapper serves all ports: it hands attributes through and stands between the caller and the
methods. What a method returns decides how it is measured: a coroutine to its end, the context of
`read` until the first bytes may be asked for, an iterator (`scan_multiparts`) not at all.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

from service.errors import MediagateError
from service.stores.ports import BlobStore, MetadataStore
from service.telemetry.metrics import Metrics

P = TypeVar("P")
_METADATA_PORTS = (
    "versions",
    "uploads",
    "buckets",
    "keys",
    "leases",
    "audits",
    "outbox",
    "restoring",
)


def metered_blobs(store: BlobStore, metrics: Metrics) -> BlobStore:
    return cast(BlobStore, _Metered(store, "blobs", metrics))


def metered_metadata(store: MetadataStore, metrics: Metrics) -> MetadataStore:
    parts = {
        name: _Metered(getattr(store, name), f"metadata.{name}", metrics)
        for name in _METADATA_PORTS
    }
    return cast(MetadataStore, _Metered(store, "metadata", metrics, parts))


class _Metered:
    def __init__(
        self, inner: object, store: str, metrics: Metrics, parts: dict[str, Any] | None = None
    ) -> None:
        self._inner = inner
        self._store = store
        self._metrics = metrics
        self.__dict__.update(parts or {})

    def __getattr__(self, name: str) -> Any:
        """Methods are wrapped once and kept; plain attributes may change and are asked for anew."""
        found = getattr(self._inner, name)
        if iscoroutinefunction(found):
            wrapped: Any = self._timed_call(found, name)
        elif name == "read":
            wrapped = self._timed_read(found)
        else:
            return found
        self.__dict__[name] = wrapped
        return wrapped

    def _timed_call(
        self, call: Callable[..., Awaitable[Any]], operation: str
    ) -> Callable[..., Awaitable[Any]]:
        @wraps(call)
        async def timed(*args: Any, **kwargs: Any) -> Any:
            with self._measured(operation):
                return await call(*args, **kwargs)

        return timed

    def _timed_read(
        self, read: Callable[..., AbstractAsyncContextManager[AsyncIterator[bytes]]]
    ) -> Callable[..., AbstractAsyncContextManager[AsyncIterator[bytes]]]:
        @asynccontextmanager
        async def timed(*args: Any) -> AsyncIterator[AsyncIterator[bytes]]:
            context = read(*args)
            with self._measured("read"):
                chunks = await context.__aenter__()
            async with _Entered(context):
                yield chunks

        return timed

    @contextmanager
    def _measured(self, operation: str) -> Iterator[None]:
        began, code = time.perf_counter(), None
        try:
            yield
        except MediagateError as error:
            code = error.code
            raise
        except Exception:
            code = "unexpected"
            raise
        finally:
            self._metrics.store_done(self._store, operation, time.perf_counter() - began, code)


class _Entered:
    """A context that was entered already: only its end is left to do."""

    def __init__(self, context: AbstractAsyncContextManager[Any]) -> None:
        self._context = context

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *exc: Any) -> bool | None:
        return await self._context.__aexit__(*exc)
