"""What a run did, item by item and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from service.client.problems import Unreachable
from service.client.upload_journal import UploadJournal
from service.errors import BucketNotFound, MediagateError, Unauthenticated

FATAL: tuple[type[MediagateError], ...] = (Unreachable, Unauthenticated, BucketNotFound)
"""What would happen to every other item too."""


class Kind(StrEnum):
    PUT = "put"
    GET = "get"
    COPY = "copy"
    MOVE = "move"
    DELETE = "delete"
    SAME = "same"
    FAILED = "failed"


class Action(NamedTuple):
    """name: relative to the folder and the prefix. detail: why it failed."""

    kind: Kind
    name: str
    size_bytes: int = 0
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """delete: what only the target has. dry_run: tell, and change nothing. parallel: transfers.
    journal: of unfinished uploads, so that the next run goes on with them."""

    delete: bool = False
    dry_run: bool = False
    parallel: int = 8
    journal: UploadJournal | None = None


@dataclass(slots=True)
class Report:
    """tell: told every action as it is done."""

    tell: Callable[[Action], None]
    counts: Counter[Kind] = field(default_factory=Counter)
    moved_bytes: int = 0

    def note(self, action: Action) -> None:
        self.counts[action.kind] += 1
        if action.kind in (Kind.PUT, Kind.GET, Kind.COPY):
            self.moved_bytes += action.size_bytes
        self.tell(action)

    def failed(self, name: str, error: Exception) -> None:
        """Raises what is no matter of this item alone."""
        if isinstance(error, FATAL):
            raise error
        detail = error.detail if isinstance(error, MediagateError) else str(error)
        self.note(Action(Kind.FAILED, name, detail=detail))

    def as_dict(self) -> dict[str, int]:
        return {kind.value: self.counts[kind] for kind in Kind} | {"moved_bytes": self.moved_bytes}
