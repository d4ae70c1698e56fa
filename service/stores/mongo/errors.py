"""Driver errors -> the tree of `service.errors`, in this one place; and the timeout of each call.

What matters most is whether a write may have happened:

    no server was found, no connection was free   it was not sent           StoreUnavailable
    the server refused it                         it did not happen         by its code
    the connection broke, the time ran out        nobody knows              OutcomeUnknown

A read of the last kind is StoreUnavailable or StoreTimeout: it can simply be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pymongo
from pymongo.errors import (
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)

from service.errors import (
    MediagateError,
    OutcomeUnknown,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
)

TRANSIENT = "TransientTransactionError"
UNKNOWN_COMMIT = "UnknownTransactionCommitResult"

OUT_OF_DISK = 14031
UNAUTHORIZED = frozenset({13, 18})
WRITE_CONFLICT = 112


def translate(error: PyMongoError, *, wrote: bool) -> MediagateError:
    """What to raise instead. wrote: the call was a write, so a lost answer leaves it open."""
    if isinstance(error, ServerSelectionTimeoutError):
        return StoreUnavailable("the metadata store cannot be reached", silent=True)
    if isinstance(error, WaitQueueTimeoutError):
        return StoreTimeout("no connection to the metadata store came free", silent=False)
    if isinstance(error, OperationFailure) and error.code == OUT_OF_DISK:
        return StoreFull("the metadata store has no room left")
    # A server that tells us that the time ran out has answered.
    silent = error.timeout and not isinstance(error, OperationFailure)
    if wrote and (error.timeout or isinstance(error, ConnectionFailure | WriteConcernError)):
        return OutcomeUnknown("the answer of the metadata store was lost", silent=silent)
    if error.timeout:
        return StoreTimeout("the metadata store did not answer in time", silent=silent)
    if isinstance(error, ConnectionFailure | WriteConcernError):
        return StoreUnavailable("the connection to the metadata store broke")
    if isinstance(error, OperationFailure):
        return _refusal(error)
    return MediagateError("the metadata driver failed")


def _refusal(error: OperationFailure) -> MediagateError:
    """The server answered, and the answer was no: nothing happened."""
    if error.code in UNAUTHORIZED:
        return StoreUnavailable("the metadata store refuses our credentials")
    if error.code == WRITE_CONFLICT or error.has_error_label(TRANSIENT):
        return StoreUnavailable("the metadata store met a conflict")
    if error.has_error_label("RetryableWriteError"):
        return StoreUnavailable("the metadata store is changing its primary")
    return MediagateError("the metadata store refused a command")


@dataclass(frozen=True, slots=True)
class Guard:
    """Bounds a call in time and translates what it raises; `with guard.reading(): await …`.

    The timeout counts from entry, so time spent waiting for a thread is part of it.
    DuplicateKeyError is for the caller to catch inside: it is an answer, not a failure.
    """

    timeout_s: float

    @contextmanager
    def reading(self) -> Iterator[None]:
        try:
            with pymongo.timeout(self.timeout_s):
                yield
        except PyMongoError as exc:
            raise translate(exc, wrote=False) from exc

    @contextmanager
    def writing(self) -> Iterator[None]:
        try:
            with pymongo.timeout(self.timeout_s):
                yield
        except PyMongoError as exc:
            raise translate(exc, wrote=True) from exc
