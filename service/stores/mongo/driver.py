"""The driver: the only module that imports motor, and how a client is set up.

Every write is majority and journalled, every read is majority from the primary; times come back
as aware UTC datetimes of millisecond precision. Motor runs pymongo in threads: their number is
read from the environment when motor is first imported, so it is set here, just before.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

os.environ.setdefault("MOTOR_MAX_WORKERS", "32")

from bson import CodecOptions
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorClientSession,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
)
from pymongo import ReadPreference
from pymongo.monitoring import CommandListener
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from service import settings

if TYPE_CHECKING:
    Document = dict[str, Any]
    Client = AsyncIOMotorClient[Document]
    Collection = AsyncIOMotorCollection[Document]
    Database = AsyncIOMotorDatabase[Document]
    Session = AsyncIOMotorClientSession
else:
    Document = dict
    Client, Collection = AsyncIOMotorClient, AsyncIOMotorCollection
    Database, Session = AsyncIOMotorDatabase, AsyncIOMotorClientSession

MAJORITY = WriteConcern(w="majority", j=True)
CODEC: CodecOptions[Any] = CodecOptions(tz_aware=True, tzinfo=UTC)


def connect(metadata: settings.Metadata, listeners: Sequence[CommandListener] = ()) -> Client:
    """A client that connects on its first use, and never waits without end.

    listeners: told of every command. The timeout of each call is set by `errors.Guard` and covers
    all of it, the search for a primary included; what is set here bounds what runs beside it.
    """
    timeout_ms = round(metadata.timeout_s * 1000)
    return AsyncIOMotorClient(
        metadata.url.get_secret_value(),
        appname="mediagate",
        serverSelectionTimeoutMS=timeout_ms,
        connectTimeoutMS=timeout_ms,
        timeoutMS=timeout_ms,
        retryWrites=True,
        retryReads=True,
        event_listeners=list(listeners),
    )


def open_database(client: Client, name: str) -> Database:
    """The database with the codec and the concerns that all of its collections inherit."""
    return client.get_database(
        name,
        codec_options=CODEC,
        read_preference=ReadPreference.PRIMARY,
        read_concern=ReadConcern("majority"),
        write_concern=MAJORITY,
    )
