"""The whole of the MongoDB engine: one client and its stores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

import pymongo
from pymongo.monitoring import CommandListener

from service import settings
from service.stores.mongo import schema
from service.stores.mongo.api_keys import MongoKeyStore
from service.stores.mongo.audits import MongoAuditStore
from service.stores.mongo.buckets import MongoBucketStore
from service.stores.mongo.clock import read_clock
from service.stores.mongo.driver import connect, open_database
from service.stores.mongo.errors import Guard
from service.stores.mongo.jobs import MongoJobStore
from service.stores.mongo.leases import MongoLeaseStore
from service.stores.mongo.outbox import MongoOutbox
from service.stores.mongo.restoring import MongoRestoring
from service.stores.mongo.resumables import MongoResumableLedger
from service.stores.mongo.transactions import Transactions
from service.stores.mongo.uploads import MongoUploadLedger
from service.stores.mongo.versions import MongoVersionIndex

MIGRATION_S = 3600.0
"""A migration's step, or making an index, takes as long as the data is large."""
CLOSE_S = 0.5
"""How long the server is told of our sessions' end; without it, it forgets them by itself."""


class MongoMetadata:
    """`MetadataStore` over motor; made by `open_metadata`."""

    def __init__(
        self, chosen: settings.Metadata, listeners: Sequence[CommandListener] = ()
    ) -> None:
        self._client = connect(chosen, listeners)
        self._database = open_database(self._client, chosen.database)
        self._guard = Guard(chosen.timeout_s)
        self._patient = Guard(MIGRATION_S)
        self._transactions = Transactions(self._client)
        self.versions = MongoVersionIndex(self._database, self._guard, self._transactions)
        self.uploads = MongoUploadLedger(self._database, self._guard, self._transactions)
        self.resumables = MongoResumableLedger(self._database, self._guard)
        self.buckets = MongoBucketStore(self._database, self._guard, self._transactions)
        self.keys = MongoKeyStore(self._database, self._guard, self._transactions)
        self.leases = MongoLeaseStore(self._database, self._guard)
        self.jobs = MongoJobStore(self._database, self._guard)
        self.audits = MongoAuditStore(self._database, self._guard, self._transactions)
        self.outbox = MongoOutbox(self._database, self._guard, self._transactions)
        self.restoring = MongoRestoring(self._database, self._patient)

    async def start(self, *, rebuilding: bool = False, checking: bool = True) -> None:
        """checking: MongoDB looks after its files itself."""
        await self.ping()  # the patience below is for building indexes, not for finding a server
        with self._patient.writing():
            await schema.prepare(self._database)
            if not rebuilding:
                await schema.refuse_unfinished(self._database)

    async def migrate(self) -> int:
        await self.ping()
        with self._patient.writing():
            return await schema.migrate(self._database)

    async def ping(self) -> None:
        with self._guard.reading():
            await self._database.command("ping")

    async def now(self) -> datetime:
        with self._guard.reading():
            return await read_clock(self._database)

    async def close(self) -> None:
        """Wait for transactions under way, then close the connections.

        In a thread, since the driver tells the server of its ended sessions and waits for it.
        """
        await self.versions.latest.drain()
        await self._transactions.drain()
        with pymongo.timeout(CLOSE_S):
            await asyncio.to_thread(self._client.delegate.close)


def open_metadata(chosen: settings.Metadata) -> MongoMetadata:
    """The store, not connected yet: `start` is the first call that needs the server."""
    return MongoMetadata(chosen)
