"""Blobs in one bucket of an S3 store, through aiobotocore.

What it writes: objects under random keys that `blob_layout` makes, each by one PutObject or one
multipart, each body with a checksum that the store verifies. What it needs of the store: those
calls, ranges, ListParts, and that a DELETE frees the space (no versioning, no lock); `probe`
finds that out. What a crash leaves: an object or a multipart under a key that the write ledger
names; nothing here decides to clean up, or remembers anything.

Chunks are never joined: `part_body` sends them as they arrived and lets go of them whatever
happens. Driver exceptions end in `translation`.
"""

from service.stores.s3.blob_store import S3BlobStore, open_blob_store

__all__ = ["S3BlobStore", "open_blob_store"]
