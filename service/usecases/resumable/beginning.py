"""What the first bytes of a resumable upload look like, whichever request brings them."""

from __future__ import annotations

from service.errors import UnsupportedMedia
from service.protocol.media_types import SNIFF_BYTES, contradicts, sniff
from service.usecases.admission import bucket_named
from service.usecases.part_stream import FilledPart
from service.usecases.resumable.held import HeldUpload


async def look_at_beginning(held: HeldUpload, part: FilledPart) -> None:
    """Before `part` is stored, where it is the first. Raises UnsupportedMedia.

    A tail stands before what follows it, so a beginning that came in crumbs is looked at whole.
    """
    if held.progress.segments or held.progress.span is not None:
        return
    sniffed = sniff(part.head(SNIFF_BYTES))
    held.later(sniffed_type=sniffed)
    if sniffed is None or not held.terms.bucket:
        return
    bucket = await bucket_named(held.runtime, held.upload.intent.tenant, held.terms.bucket)
    allowed = bucket.settings.allowed_content_types
    if allowed and contradicts(sniffed, allowed):
        raise UnsupportedMedia(f"the body looks like {sniffed}: this bucket takes none")
