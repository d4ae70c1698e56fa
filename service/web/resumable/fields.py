"""Header fields of resumable uploads that the API document tells, in groups."""

from __future__ import annotations

from service.web.fields import (
    DIGESTS,
    FACTS,
    IDEMPOTENCY,
    WANTED_DIGESTS,
    WRITE_CONDITIONS,
    HeaderField,
)

_INTEGER = r"^[0-9]{1,15}$"
TUS = (
    HeaderField("Tus-Resumable", "`1.0.0`: the request is one of tus.", r"^1\.0\.0$"),
    HeaderField("X-HTTP-Method-Override", "`HEAD`, `PATCH` or `DELETE`: what is meant."),
)
CREATES = (
    HeaderField("Upload-Length", "How many bytes there will be.", _INTEGER),
    HeaderField("Upload-Defer-Length", "`1`: the length comes later.", "^1$"),
    HeaderField(
        "Upload-Metadata",
        "`bucket`, `key`, `filename`, `filetype`, `cacheControl`; the rest is user metadata.",
    ),
    HeaderField("Upload-Concat", "`partial`, or `final;` and the URLs of partial uploads."),
    HeaderField("Upload-Checksum", "Of the body: `sha1`, `sha256`, `sha512`, `md5`, `crc32c`."),
    HeaderField(
        "Upload-Complete", "`?1`: the body is all there is; `?0`: more follows.", r"^\?[01]$"
    ),
    HeaderField("Upload-Draft-Interop-Version", "`8`: tell me the URL early (104).", "^8$"),
    *FACTS,
    *WRITE_CONDITIONS,
    *DIGESTS,
    *WANTED_DIGESTS,
    *IDEMPOTENCY,
)
APPENDS = (
    HeaderField("Upload-Offset", "Where the body belongs: the upload's offset.", _INTEGER),
    HeaderField("Upload-Length", "The whole length, where it was not told before.", _INTEGER),
    HeaderField("Upload-Checksum", "Of the body; a body that does not match is dropped."),
    HeaderField("Upload-Complete", "`?1`: nothing follows; `?0`: more does.", r"^\?[01]$"),
    HeaderField(
        "Content-Digest", "Of the body; one that does not match is dropped.", format="digests"
    ),
)
STATE = (
    HeaderField("Upload-Offset", "How many bytes are safe."),
    HeaderField("Upload-Length", "Of how many, where that is known."),
    HeaderField("Upload-Defer-Length", "`1` while it is not."),
    HeaderField("Upload-Metadata", "As it came."),
    HeaderField("Upload-Concat", "As it came."),
    HeaderField("Upload-Expires", "An HTTP date, after which the upload is gone."),
    HeaderField("Upload-Complete", "`?1` once the version is there."),
    HeaderField("Upload-Limit", "`max-size` in bytes, `max-age` in seconds."),
)
TOLD_OPTIONS = (
    HeaderField("Tus-Version", "Versions of tus."),
    HeaderField("Tus-Extension", "Extensions of tus."),
    HeaderField("Tus-Max-Size", "In bytes."),
    HeaderField("Tus-Checksum-Algorithm", "What Upload-Checksum may name."),
    HeaderField("Upload-Limit", "Limits of the IETF's draft."),
)
