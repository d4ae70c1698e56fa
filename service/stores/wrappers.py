"""Wrappers of the ports with the same interface: every call is timed, every failure counted, and
the store's breaker told how it ended.

One wrapper serves all ports: it hands attributes through and puts a context around the calls of
methods. What a method returns decides how long that is: a coroutine to its end, the context of
`read` until the first bytes may be asked for, an iterator (`scan_multiparts`) not at all.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, cast

from service.errors import MediagateError
from service.stores.breaker import Breaker
from service.stores.ports import BlobStore, MetadataStore
from service.telemetry.metrics import Metrics

Around = Callable[[str], AbstractContextManager[None]]
"""The name of an operation -> what to enter for each of its calls."""
_METADATA_PORTS = (
    "versions",
    "uploads",
    "resumables",
    "buckets",
    "keys",
    "leases",
    "jobs",
    "audits",
    "outbox",
    "restoring",
)


def metered_blobs(store: BlobStore, metrics: Metrics) -> BlobStore:
    return cast(BlobStore, _Wrapped(store, _measuring("blobs", metrics)))


def metered_metadata(store: MetadataStore, metrics: Metrics) -> MetadataStore:
    return _wrapped_metadata(store, lambda name: _measuring(name, metrics))


def watched_blobs(store: BlobStore, breaker: Breaker) -> BlobStore:
    """A link is made without the store, so it tells nothing of it."""

    def watching(operation: str) -> AbstractContextManager[None]:
        return nullcontext() if operation == "link" else breaker.watching()

    return cast(BlobStore, _Wrapped(store, watching))


def watched_metadata(store: MetadataStore, breaker: Breaker) -> MetadataStore:
    return _wrapped_metadata(store, lambda _: lambda _: breaker.watching())


def _wrapped_metadata(store: MetadataStore, around: Callable[[str], Around]) -> MetadataStore:
    parts = {
        name: _Wrapped(getattr(store, name), around(f"metadata.{name}")) for name in _METADATA_PORTS
    }
    return cast(MetadataStore, _Wrapped(store, around("metadata"), parts))


def _measuring(store: str, metrics: Metrics) -> Around:
    @contextmanager
    def measured(operation: str) -> Iterator[None]:
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
            metrics.store_done(store, operation, time.perf_counter() - began, code)

    return measured


class _Wrapped:
    def __init__(self, inner: object, around: Around, parts: dict[str, Any] | None = None) -> None:
        self._inner = inner
        self._around = around
        self.__dict__.update(parts or {})

    def __getattr__(self, name: str) -> Any:
        """Methods are wrapped once and kept; plain attributes may change and are asked for anew."""
        found = getattr(self._inner, name)
        if iscoroutinefunction(found):
            wrapped: Any = self._call(found, name)
        elif name == "read":
            wrapped = self._read(found)
        else:
            return found
        self.__dict__[name] = wrapped
        return wrapped

    def _call(
        self, call: Callable[..., Awaitable[Any]], operation: str
    ) -> Callable[..., Awaitable[Any]]:
        @wraps(call)
        async def surrounded(*args: Any, **kwargs: Any) -> Any:
            with self._around(operation):
                return await call(*args, **kwargs)

        return surrounded

    def _read(
        self, read: Callable[..., AbstractAsyncContextManager[AsyncIterator[bytes]]]
    ) -> Callable[..., AbstractAsyncContextManager[AsyncIterator[bytes]]]:
        @asynccontextmanager
        async def surrounded(*args: Any) -> AsyncIterator[AsyncIterator[bytes]]:
            context = read(*args)
            with self._around("read"):
                chunks = await context.__aenter__()
            async with _Entered(context):
                yield chunks

        return surrounded


class _Entered:
    """A context that was entered already: only its end is left to do."""

    def __init__(self, context: AbstractAsyncContextManager[Any]) -> None:
        self._context = context

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *exc: Any) -> bool | None:
        return await self._context.__aexit__(*exc)
