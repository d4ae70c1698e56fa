"""The parameters of a search."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from service.errors import Invalid


def search_query(
    *,
    words: str | None,
    prefix: str,
    content_type: str | None,
    tags: Mapping[str, str] | None,
    user_metadata: Mapping[str, str] | None,
    size_min: int | None,
    size_max: int | None,
    since: datetime | None,
    until: datetime | None,
    sort: str,
    limit: int,
) -> dict[str, str]:
    """Only what was given. Raises Invalid for a time without a zone."""
    query = {"prefix": prefix, "limit": str(limit)}
    given = {
        "q": words,
        "type": content_type,
        "size_min": size_min,
        "size_max": size_max,
        "since": _time("since", since),
        "until": _time("until", until),
        "sort": None if sort == "key" else sort,
    }
    query |= {name: str(value) for name, value in given.items() if value is not None}
    query |= {f"tag.{name}": value for name, value in (tags or {}).items()}
    return query | {f"meta.{name}": value for name, value in (user_metadata or {}).items()}


def _time(name: str, moment: datetime | None) -> str | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise Invalid(f"{name} needs a time zone", parameter=name)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
