"""Paging of the small listings (buckets, keys): a limit, an opaque cursor, a Link to the next."""

from __future__ import annotations

from aiohttp import web

from service.protocol.cursors import decode_cursor, encode_cursor
from service.protocol.link_header import format_link
from service.web.urls import next_page_url


def read_after(cursor: str | None, listing: str) -> str:
    """The position that the cursor names, "" at the beginning. Raises InvalidCursor."""
    return decode_cursor(cursor, [listing], length=1)[0] if cursor else ""


def next_of(
    request: web.Request, listing: str, last: str | None
) -> tuple[str | None, dict[str, str]]:
    """The cursor after `last` and the header that links to its page; nothing at the end."""
    if last is None:
        return None, {}
    cursor = encode_cursor([last], [listing])
    return cursor, {"Link": format_link(next_page_url(request, cursor), "next")}
