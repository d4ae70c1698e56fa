"""The header fields that describe a version (RFC 9110 §8), the same for GET, HEAD and ranges.

What a browser may do with the bytes is decided here: only what looks harmless is shown in place,
nothing is sniffed again, and whatever is shown is in a sandbox without scripts.
"""

from __future__ import annotations

from aiohttp import hdrs

from service.model.bucket import Bucket
from service.model.version import Version
from service.protocol.conditionals import format_etag
from service.protocol.content_disposition import clean_filename, format_disposition
from service.protocol.digests import format_digests
from service.protocol.http_dates import format_http_date
from service.protocol.media_types import may_show_inline
from service.protocol.user_metadata import format_tags, format_user_metadata

# A picture or film opened on its own is a page of the browser's around it, so those may load.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
)
_YEAR_S = 365 * 24 * 3600


def validators(bucket: Bucket, version: Version, *, pinned: bool) -> dict[str, str]:
    """What a 304 carries too. pinned: the URL names the version, so its content never changes."""
    return {
        hdrs.ETAG: format_etag(version.etag),
        hdrs.CACHE_CONTROL: _cache_control(bucket, version, pinned=pinned),
    }


def representation(
    bucket: Bucket, version: Version, *, pinned: bool, download_as: str | None
) -> dict[str, str]:
    """All of them but what depends on the range: Content-Type, -Length and -Range.

    download_as: the file name to save it under ("" for its own), None to leave that to its type.
    """
    facts = version.facts
    optional = {
        hdrs.CONTENT_ENCODING: facts.content_encoding,
        hdrs.CONTENT_LANGUAGE: facts.content_language,
        "Repr-Digest": format_digests(version.digests),
        "X-Tags": format_tags(facts.tags),
    }
    return {
        **validators(bucket, version, pinned=pinned),
        hdrs.LAST_MODIFIED: format_http_date(version.modified_at),
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CONTENT_DISPOSITION: _disposition(version, download_as),
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        **{name: value for name, value in optional.items() if value},
        **format_user_metadata(facts.user_metadata),
    }


def _disposition(version: Version, download_as: str | None) -> str:
    facts = version.facts
    given = clean_filename(download_as) if download_as else None
    name = given or facts.filename or version.key.rpartition("/")[2]
    inline = download_as is None and may_show_inline(facts.content_type, facts.sniffed_type)
    return format_disposition("inline" if inline else "attachment", name)


def _cache_control(bucket: Bucket, version: Version, *, pinned: bool) -> str:
    """The object's own, else the bucket's, else: keep it, but ask each time.

    Without that last one a browser makes up a lifetime from Last-Modified and shows what was
    overwritten. What took a key to read is private unless its owner says otherwise. A pinned URL
    may be kept for ever, unless the owner wants nothing kept.
    """
    chosen = version.facts.cache_control or bucket.settings.cache_control
    if not pinned:
        return chosen or "private, no-cache"
    directives = {part.strip().lower() for part in (chosen or "").split(",")}
    if chosen and "no-store" in directives:
        return chosen
    reach = "public" if "public" in directives else "private"
    return f"{reach}, max-age={_YEAR_S}, immutable"
