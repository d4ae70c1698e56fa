"""Header fields of requests and answers that the API document tells, in groups."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeaderField:
    """pattern: of the value, where one says it well. always: an answer never lacks it."""

    name: str
    says: str
    pattern: str | None = None
    always: bool = False

    @property
    def example_name(self) -> str:
        """The document has no names with a part left open: one of them stands for all."""
        return self.name.replace("*", "Title")

    @property
    def schema(self) -> dict[str, str]:
        return {"type": "string", **({"pattern": self.pattern} if self.pattern else {})}


IF_MATCH = (HeaderField("If-Match", "Only where the entity tag is one of these, or `*`."),)
IF_NONE_MATCH = (HeaderField("If-None-Match", "304 where the entity tag is one of these."),)
WRITE_CONDITIONS = (
    *IF_MATCH,
    HeaderField("If-None-Match", "`*`: only where there is nothing of this name yet."),
    HeaderField("If-Unmodified-Since", "Only where it was not changed after this HTTP date."),
)
READ_CONDITIONS = (
    *IF_MATCH,
    *IF_NONE_MATCH,
    HeaderField("If-Modified-Since", "304 where it was not changed after this HTTP date."),
    HeaderField("If-Unmodified-Since", "Only where it was not changed after this HTTP date."),
)
RANGES = (
    HeaderField("Range", "`bytes=a-b`, `bytes=a-`, `bytes=-n`, or up to 100 of them."),
    HeaderField("If-Range", "The range only of this entity tag or HTTP date, else all of it."),
)
FACTS = (
    HeaderField("Content-Disposition", "Its `filename` becomes the name of downloads."),
    HeaderField("Content-Encoding", "Kept and sent back; nothing is decoded."),
    HeaderField("Content-Language", "Kept and sent back."),
    HeaderField("Cache-Control", "Kept and sent back."),
    HeaderField("X-Meta-*", "User metadata, one field for each name: ASCII or `UTF-8''…`."),
    HeaderField("X-Tags", "Tags, written like a query string: `a=b&c=d`."),
)
DIGESTS = (
    HeaderField("Content-MD5", "Verified."),
    HeaderField("Content-Digest", "Verified: `md5`, `sha-256`, `sha-512`, `crc64nvme`, `crc32c`."),
    HeaderField("Repr-Digest", "Verified, like Content-Digest."),
)
WANTED_DIGESTS = (HeaderField("Want-Repr-Digest", "Digests to compute and keep too: `sha-256=1`."),)
IDEMPOTENCY = (
    HeaderField("Idempotency-Key", "A retry within 24 h gets the first answer.", r"^.{1,255}$"),
)

ETAG = HeaderField("ETag", "A strong entity tag.", always=True)
LOCATION = HeaderField("Location", "The URL of what was made.", always=True)
LINK = HeaderField("Link", 'The next page, `rel="next"`, where there is one.')
LAST_MODIFIED = HeaderField("Last-Modified", "An HTTP date.", always=True)
REPR_DIGEST = HeaderField("Repr-Digest", "Digests of the whole version.")
REPLAYED = HeaderField("Idempotency-Replayed", "`true` where this is the first answer again.")
CONTENT_RANGE = HeaderField("Content-Range", "Which bytes of how many.")
CACHE_CONTROL = HeaderField("Cache-Control", "Who may keep it, and for how long.", always=True)
DELETE_MARKER = HeaderField(
    "X-Delete-Marker", "`true` where a delete marker was made, or taken away."
)
VERSION_ID = HeaderField("X-Version-Id", "The version or delete marker that this was about.")
STORED_FACTS = (
    HeaderField("Accept-Ranges", "`bytes`."),
    HeaderField("Content-Disposition", "In place or as a file, and its name.", always=True),
    HeaderField("Content-Encoding", "As it was uploaded."),
    HeaderField("Content-Language", "As it was uploaded."),
    HeaderField("X-Meta-*", "User metadata."),
    HeaderField("X-Tags", "Tags."),
)
