"""Header fields of requests and answers that the API document tells, in groups."""

from __future__ import annotations

from dataclasses import dataclass

from service.protocol.names import KEY_PATTERN, PREFIX_OF_KEYS_PATTERN

_TAG = r'(W/)?"[!#-~]*"'
_ENTITY_TAGS = rf"^(\*|{_TAG}(, ?{_TAG})*)$"
_KEPT = r"^[\t\x20-\x7e]{0,1024}$"


@dataclass(frozen=True, slots=True)
class HeaderField:
    """pattern, format: of the value, where they say it well. always: an answer never lacks it."""

    name: str
    says: str
    pattern: str | None = None
    always: bool = False
    format: str | None = None

    @property
    def example_name(self) -> str:
        """The document has no names with a part left open: one of them stands for all."""
        return self.name.replace("*", "Title" if self.name.istitle() else "title")

    @property
    def schema(self) -> dict[str, str]:
        told = {"type": "string", "pattern": self.pattern, "format": self.format}
        return {name: value for name, value in told.items() if value}


IF_MATCH = (
    HeaderField(
        "If-Match",
        "Only where the entity tag is one of these, or `*`.",
        _ENTITY_TAGS,
        format="entity-tags",
    ),
)
IF_NONE_MATCH = (
    HeaderField(
        "If-None-Match",
        "304 where the entity tag is one of these.",
        _ENTITY_TAGS,
        format="entity-tags",
    ),
)
WRITE_CONDITIONS = (
    *IF_MATCH,
    HeaderField(
        "If-None-Match",
        "`*`: only where there is nothing of this name yet.",
        _ENTITY_TAGS,
        format="entity-tags",
    ),
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
    HeaderField("Content-Encoding", "Kept and sent back; nothing is decoded.", _KEPT),
    HeaderField("Content-Language", "Kept and sent back.", _KEPT),
    HeaderField("Cache-Control", "Kept and sent back.", _KEPT),
    HeaderField(
        "X-Meta-*", "User metadata, one field for each name: ASCII or `UTF-8''…`.", format="meta"
    ),
    HeaderField("X-Tags", "Tags, written like a query string: `a=b&c=d`.", format="tags"),
)
FORM_FIELDS = (
    HeaderField("key", "The whole key of the next file.", KEY_PATTERN),
    HeaderField(
        "prefix", "Put before the name of each file that has no key.", PREFIX_OF_KEYS_PATTERN
    ),
    HeaderField("cache-control", "As the header field of a PUT.", _KEPT),
    HeaderField("content-language", "As the header field of a PUT.", _KEPT),
    HeaderField("x-meta-*", "As the header field of a PUT.", format="meta"),
    HeaderField("x-tags", "As the header field of a PUT.", format="tags"),
)
"""Fields of a form, named and written like those of a head."""
DIGESTS = (
    HeaderField("Content-MD5", "Verified.", format="md5"),
    HeaderField(
        "Content-Digest",
        "Verified: `md5`, `sha-256`, `sha-512`, `crc64nvme`, `crc32c`.",
        format="digests",
    ),
    HeaderField("Repr-Digest", "Verified, like Content-Digest.", format="digests"),
)
WANTED_DIGESTS = (HeaderField("Want-Repr-Digest", "Digests to compute and keep too: `sha-256=1`."),)
IDEMPOTENCY = (
    HeaderField(
        "Idempotency-Key", "A retry within 24 h gets the first answer.", r"^[\t\x20-\x7e]{0,255}$"
    ),
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
    HeaderField("X-Missing-Meta", "How many names of user metadata are too long for a header."),
    HeaderField("X-Tags", "Tags."),
)
