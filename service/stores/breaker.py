"""A circuit breaker for each store: it watches how calls end, and refuses new requests meanwhile.

It opens after MAX_SILENT calls in a row, or PATIENCE_S of them, that got no answer from the store
(`StoreUnavailable.silent`). The first call that is answered closes it. A refusal opens nothing: a
store that says SlowDown is alive.

No call is ever held back. Only admissions are: `check` stands at the edge of a request, before
anything of it was written anywhere. What was admitted goes on under the deadlines of its own calls,
and so does the settling of it (read-backs, undos, the sweeper), since the ledger's protocol must
not take a call that was never sent for one whose answer was lost. So no request has to be risked as
a probe either: the pings of `usecases/readiness.py` are that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from service.errors import MediagateError, StoreUnavailable

MAX_SILENT = 5
PATIENCE_S = 3.0
"""With little traffic: silence for that long, seen by two calls at least."""
log = structlog.get_logger()


class Breaker:
    """name: for people and logs. clock: seconds that never go back."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.is_open = False
        self._clock = clock
        self._silent = 0
        self._since = 0.0

    def check(self) -> None:
        """Raises StoreUnavailable at once while the breaker is open."""
        if self.is_open:
            raise StoreUnavailable(f"the {self.name} does not answer; try again in a moment")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around a call: draws the conclusion from how it ends.

        A connection that broke proves neither life nor death; an error of ours, such as a key that
        is taken, is an answer.
        """
        try:
            yield
        except StoreUnavailable as error:
            if error.silent:
                self.unanswered()
            raise
        except MediagateError:
            self.answered()
            raise
        else:
            self.answered()

    def unanswered(self) -> None:
        if self._silent == 0:
            self._since = self._clock()
        self._silent += 1
        lasting = self._silent > 1 and self._clock() - self._since >= PATIENCE_S
        if not self.is_open and (self._silent >= MAX_SILENT or lasting):
            self.is_open = True
            log.error("breaker_opened", store=self.name, unanswered=self._silent)

    def answered(self) -> None:
        self._silent = 0
        if self.is_open:
            self.is_open = False
            open_s = round(self._clock() - self._since, 1)
            log.warning("breaker_closed", store=self.name, silent_s=open_s)


@dataclass(frozen=True, slots=True)
class Breakers:
    """One for each store."""

    blobs: Breaker = field(default_factory=lambda: Breaker("blob store"))
    metadata: Breaker = field(default_factory=lambda: Breaker("metadata store"))
