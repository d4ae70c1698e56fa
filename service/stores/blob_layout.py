"""Where blobs lie in the S3 bucket: the only place that builds their keys.

`{prefix}/{tenant}/{aa}/{blob_id}`: `blob_id` is 160 random bits in base 32, so a key is never made
twice and tells nothing; `aa`, its first two characters, spreads one tenant over 1,024 prefixes.
"""

from __future__ import annotations

import base64
import secrets

from service.model.ids import BlobKey, TenantId

PREFIX = "blobs"
PROBE_PREFIX = "probes"


def new_blob_key(tenant: TenantId) -> BlobKey:
    """A key that no blob ever had."""
    blob_id = base64.b32encode(secrets.token_bytes(20)).decode().lower()
    return BlobKey(f"{PREFIX}/{tenant}/{blob_id[:2]}/{blob_id}")


def new_probe_key() -> BlobKey:
    """A key for trying the store out, apart from all blobs; whoever uses it removes it again."""
    return BlobKey(f"{PROBE_PREFIX}/{secrets.token_hex(20)}")
