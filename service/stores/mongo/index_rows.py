"""The rows of the table of indexes and query shapes; `indexes.py` says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pymongo import ASCENDING, IndexModel


@dataclass(frozen=True, slots=True)
class Index:
    collection: str
    name: str
    keys: tuple[str, ...]
    unique: bool = False
    sparse: bool = False
    partial: dict[str, Any] | None = None

    def model(self) -> IndexModel:
        options: dict[str, Any] = {"name": self.name, "unique": self.unique}
        if self.sparse:
            options["sparse"] = True
        if self.partial is not None:
            options["partialFilterExpression"] = self.partial
        return IndexModel([(key, ASCENDING) for key in self.keys], **options)


@dataclass(frozen=True, slots=True)
class Shape:
    """filter: field -> `=` (or one of several), `<` (an upper bound), `>` (a lower one or both),
    `^` (an element of the list starts so). sort: forwards or backwards."""

    collection: str
    query: str
    filter: dict[str, str]
    index: str
    sort: tuple[str, ...] = field(default=())
