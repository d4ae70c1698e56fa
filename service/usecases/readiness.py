"""Whether this process should be sent requests now.

Its pings, which a worker has sent all the time, are also what the breakers learn from while there
are no requests: that a store fell silent, and that it is back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from service.errors import MediagateError
from service.stores.breaker import Breaker, Breakers
from service.stores.ports import BlobStore, MetadataStore

CACHE_S = 1.0
TIMEOUT_S = 2.0
"""Much shorter than the stores' own deadlines: a store that hangs must show within 5 s."""


class Readiness:
    """problems: reasons found at start which nothing but a restart removes."""

    def __init__(
        self,
        blobs: BlobStore,
        metadata: MetadataStore,
        problems: tuple[str, ...] = (),
        breakers: Breakers | None = None,
    ) -> None:
        breakers = breakers or Breakers()
        self._checks = ((breakers.blobs, blobs.ping), (breakers.metadata, metadata.ping))
        self._problems = problems
        self._found: tuple[str, ...] = ()
        self._stale_at = 0.0
        self._looking = asyncio.Lock()
        self.draining = False
        """Set at shutdown, before anything else happens."""

    async def problems(self) -> tuple[str, ...]:
        """Empty when ready. Looked up at most once in CACHE_S, however many ask."""
        if self.draining:
            return ("draining: this process is shutting down",)
        async with self._looking:
            if time.monotonic() >= self._stale_at:
                found = await asyncio.gather(*(_ask(*check) for check in self._checks))
                self._found = tuple(problem for problem in found if problem)
                self._stale_at = time.monotonic() + CACHE_S
        refusing = (
            f"{breaker.name}: new requests are refused"
            for breaker, _ in self._checks
            if breaker.is_open
        )
        return self._problems + self._found + tuple(refusing)


async def _ask(breaker: Breaker, ping: Callable[[], Awaitable[None]]) -> str | None:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await ping()
    except TimeoutError:
        # The store's wrapper saw no more than a call that was cancelled.
        breaker.unanswered()
        return f"{breaker.name}: no answer within {TIMEOUT_S:g} s"
    except MediagateError as error:
        return f"{breaker.name}: {error.code}"
    return None
