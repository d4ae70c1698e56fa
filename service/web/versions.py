"""`GET /v1/buckets/{bucket}/versions/{key}`: what a key named, and what was deleted of it."""

from __future__ import annotations

from aiohttp import web

from service.errors import BucketNotFound, InvalidCursor
from service.model.version import DeleteMarker, Entry
from service.protocol.conditionals import format_etag
from service.protocol.link_header import format_link
from service.usecases.list_versions import list_versions
from service.web.describe import Reply, describe
from service.web.fields import LINK
from service.web.json import Answer, Timestamp, answer
from service.web.query import PageQuery, query_of
from service.web.state import PRINCIPAL, TARGET, runtime_of
from service.web.urls import next_page_url
from service.web.version_answer import VersionAnswer, shown


class HistoryVersion(VersionAnswer):
    """latest: what the key names now."""

    latest: bool
    delete_marker: bool = False


class MarkerAnswer(Answer):
    """A delete marker: a version without content."""

    bucket: str
    key: str
    version: str
    etag: str
    created_at: Timestamp
    latest: bool
    delete_marker: bool = True


class HistoryAnswer(Answer):
    items: tuple[HistoryVersion | MarkerAnswer, ...]
    next: str | None


@describe(
    "The versions of an object, the youngest first.",
    query=PageQuery,
    answers={200: Reply(HistoryAnswer, LINK)},
    problems=(BucketNotFound, InvalidCursor),
)
async def get_versions(request: web.Request) -> web.Response:
    """A page; empty for a key that never named anything."""
    target, query = request[TARGET], query_of(request, PageQuery)
    page = await list_versions(
        runtime_of(request),
        request[PRINCIPAL].tenant,
        target.bucket,
        target.key,
        limit=query.limit,
        cursor=query.cursor,
    )
    headers = {}
    if page.next_cursor is not None:
        headers["Link"] = format_link(next_page_url(request, page.next_cursor), "next")
    items = tuple(_shown(target.bucket, entry) for entry in page.entries)
    return answer(HistoryAnswer(items=items, next=page.next_cursor), headers=headers)


def _shown(bucket: str, entry: Entry) -> HistoryVersion | MarkerAnswer:
    if isinstance(entry, DeleteMarker):
        return MarkerAnswer(
            bucket=bucket,
            key=entry.key,
            version=entry.id,
            etag=format_etag(entry.id),
            created_at=entry.created_at,
            latest=entry.latest,
        )
    return HistoryVersion(**shown(bucket, entry).model_dump(), latest=entry.latest)
