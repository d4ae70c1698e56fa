"""Where blobs lie in the S3 bucket: the only place that builds their keys.

`{prefix}/{tenant}/{aa}/{blob_id}`: `blob_id` is 160 random bits in base 32, so a key is never made
twice and tells nothing; `aa`, its first two characters, spreads one tenant over 1,024 prefixes.

Beside them lies the journal, `journal/{position}-{epoch}-{run}[.{part}]`: position and epoch of
who wrote it, in that order for people, and a fresh ULID, so that no key is ever written twice,
whoever writes. What one compaction wrote is one run in several parts.
"""

from __future__ import annotations

import base64
import secrets
from typing import NamedTuple

from service.model.ids import BlobKey, TenantId, new_id

PREFIX = "blobs"
JOURNAL_PREFIX = "journal"
PROBE_PREFIX = "probes"


class JournalKey(NamedTuple):
    """run: the beginning that all parts of a run share."""

    run: str
    position: int
    epoch: int


def new_blob_key(tenant: TenantId) -> BlobKey:
    """A key that no blob ever had."""
    blob_id = base64.b32encode(secrets.token_bytes(20)).decode().lower()
    return BlobKey(f"{PREFIX}/{tenant}/{blob_id[:2]}/{blob_id}")


def new_probe_key() -> BlobKey:
    """A key for trying the store out, apart from all blobs; whoever uses it removes it again."""
    return BlobKey(f"{PROBE_PREFIX}/{secrets.token_hex(20)}")


def new_journal_run(position: int, epoch: int) -> str:
    """The beginning of the keys of one run."""
    return f"{JOURNAL_PREFIX}/{position:020d}-{epoch}-{new_id()}"


def journal_key(run: str, part: int | None = None) -> BlobKey:
    """part: which one of a run that has several, from 0."""
    return BlobKey(run if part is None else f"{run}.{part:06d}")


def parse_journal_key(key: BlobKey) -> JournalKey:
    """Raises ValueError for what is no key of the journal."""
    run, _, _ = key.partition(".")
    position, epoch, _ = run.removeprefix(f"{JOURNAL_PREFIX}/").split("-")
    return JournalKey(run, int(position), int(epoch))
