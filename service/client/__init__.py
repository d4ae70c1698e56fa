"""A small typed client of the HTTP surface, over aiohttp; the command line is built on it.

`AsyncMediagate`, and `Mediagate`, its blocking twin: they store, read, list, search, copy, move,
restore, delete, pack and unpack. Errors are those of `service.errors`, read from problem+json, and
`Unreachable` and `UnexpectedAnswer` of its own. It tries again only where that is safe: a read goes
on by range on the same entity tag; an upload that can be read again goes on at the offset that the
service tells or, where it is small, is sent again under the same Idempotency-Key. docs/sdk.md shows
it.
May import `service.protocol`, `service.model` and `service.errors`, and no more of the service.
"""

from service.client.answers import (
    BucketInfo,
    DeletionJob,
    Expansion,
    ObjectInfo,
    Page,
    Removal,
    UploadInfo,
    VersionInfo,
)
from service.client.api import AsyncMediagate
from service.client.connection import Timeouts
from service.client.download import Download
from service.client.problems import UnexpectedAnswer, Unreachable
from service.client.twin import Mediagate
from service.client.upload import PutOptions
from service.client.upload_journal import UploadJournal

__all__ = [
    "AsyncMediagate",
    "BucketInfo",
    "DeletionJob",
    "Download",
    "Expansion",
    "Mediagate",
    "ObjectInfo",
    "Page",
    "PutOptions",
    "Removal",
    "Timeouts",
    "UnexpectedAnswer",
    "Unreachable",
    "UploadInfo",
    "UploadJournal",
    "VersionInfo",
]
