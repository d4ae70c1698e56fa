"""A small typed client of the HTTP surface, over aiohttp; the command line is built on it.

It stores (`put`), reads (`get`, `get_to_file`), lists, describes and deletes. Errors are those of
`service.errors`, read from problem+json, and `Unreachable` and `UnexpectedAnswer` of its own. It
tries again only where that is safe: a read goes on by range on the same entity tag, an upload that
can be read again is sent again under the same Idempotency-Key.
May import `service.protocol`, `service.model` and `service.errors`, and no more of the service.
"""

from service.client.answers import BucketInfo, ObjectInfo, Page
from service.client.api import AsyncMediagate
from service.client.connection import Timeouts
from service.client.download import Download
from service.client.problems import UnexpectedAnswer, Unreachable

__all__ = [
    "AsyncMediagate",
    "BucketInfo",
    "Download",
    "ObjectInfo",
    "Page",
    "Timeouts",
    "UnexpectedAnswer",
    "Unreachable",
]
