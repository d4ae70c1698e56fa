"""A row of the table of routes."""

from __future__ import annotations

from dataclasses import dataclass

from service.model.api_key import Scope
from service.web.describe import Operation
from service.web.middleware import Handler


@dataclass(frozen=True, slots=True)
class Route:
    """handler: an Operation (`describe`), which says the rest for the guard and the document.

    path: a template; `{key}` takes all the rest of a path, slashes included.

    scope: None opens the route to everybody. prefix: the query parameter that says which keys a
    listing is about. bytes: whether it reads or writes blobs (a HEAD never does); every row with a
    scope needs metadata.
    """

    method: str
    path: str
    handler: Handler
    scope: Scope | None
    prefix: str | None = None
    bytes: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    @property
    def operation(self) -> Operation | None:
        """None for a bare handler: guarded all the same, but in no document."""
        return self.handler if isinstance(self.handler, Operation) else None
