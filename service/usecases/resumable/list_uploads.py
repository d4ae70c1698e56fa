"""The unfinished uploads of an API key or link."""

from __future__ import annotations

from service.model.api_key import Principal
from service.model.upload import Upload
from service.usecases.runtime import Runtime


async def list_uploads(
    runtime: Runtime, principal: Principal, *, after: str, limit: int
) -> tuple[list[Upload], str | None]:
    """By id, which is by age; and the id to go on after, if any."""
    page = await runtime.metadata.resumables.unfinished(
        principal.tenant, principal.id, after=after, limit=limit + 1
    )
    return page[:limit], page[limit - 1].ref.id if len(page) > limit else None
