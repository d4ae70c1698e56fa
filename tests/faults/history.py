"""What clients asked for and what they were told, to be held against what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from service.model.preconditions import Preconditions
from service.model.version import Entry, Version


class Outcome(StrEnum):
    """ACKNOWLEDGED: a 2xx. REFUSED: a definite error. UNKNOWN: a lost answer, or none at all."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    PUT = "put"
    DELETE = "delete"
    MOVE = "move"
    DELETE_BUCKET = "delete bucket"


@dataclass(eq=False)
class Operation:
    """One client's request. began, ended: steps of the world; what ended before another began
    came before it. An UNKNOWN one ends for its client, though it may take effect later.
    target: the version that is to be deleted for good."""

    number: int
    kind: Kind
    key: str
    content: bytes
    preconditions: Preconditions
    began: int
    ended: int | None = None
    outcome: Outcome = Outcome.UNKNOWN
    error: str = ""
    version: Entry | None = None
    target: str | None = None
    created: bool | None = None
    replayed: bool = False

    def __str__(self) -> str:
        told = f"{self.outcome} {self.error}".strip()
        return f"{self.kind} #{self.number} of {self.key!r} ({told})"


@dataclass
class History:
    """by_upload, by_version: whose upload or version it is. by_event: who deleted."""

    operations: list[Operation] = field(default_factory=list)
    by_upload: dict[str, Operation] = field(default_factory=dict)
    by_version: dict[str, Operation] = field(default_factory=dict)
    by_event: dict[str, Operation] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)

    def begin(
        self, kind: Kind, key: str, content: bytes, preconditions: Preconditions, step: int
    ) -> Operation:
        operation = Operation(len(self.operations), kind, key, content, preconditions, step)
        self.operations.append(operation)
        return operation

    def of(self, kind: Kind) -> list[Operation]:
        return [operation for operation in self.operations if operation.kind is kind]
