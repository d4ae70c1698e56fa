"""The whole of the SQLite engine: one file and its stores."""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from pathlib import Path

import structlog

from service import settings
from service.errors import StoreRefused
from service.stores.sqlite import schema
from service.stores.sqlite.api_keys import SqliteKeyStore
from service.stores.sqlite.audits import SqliteAuditStore
from service.stores.sqlite.buckets import SqliteBucketStore
from service.stores.sqlite.clock import moment, now_ms
from service.stores.sqlite.driver import Db
from service.stores.sqlite.engine import Engine
from service.stores.sqlite.health import check_integrity, warn_of_network
from service.stores.sqlite.jobs import SqliteJobStore
from service.stores.sqlite.leases import SqliteLeaseStore
from service.stores.sqlite.outbox import SqliteOutbox
from service.stores.sqlite.records import SqliteRecords
from service.stores.sqlite.restoring import SqliteRestoring
from service.stores.sqlite.resumables import SqliteResumableLedger
from service.stores.sqlite.statements import one
from service.stores.sqlite.uploads import SqliteUploadLedger
from service.stores.sqlite.versions import SqliteVersionIndex

log = structlog.get_logger()

SCHEME = "sqlite:///"
MIGRATION_S = 3600.0
"""A migration takes as long as the data is large."""


class SqliteMetadata:
    """`MetadataStore` over a file; made by `open_metadata`."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._engine = engine = Engine(path, timeout_s)
        self.versions = SqliteVersionIndex(engine)
        self.uploads = SqliteUploadLedger(engine)
        self.resumables = SqliteResumableLedger(engine)
        self.buckets = SqliteBucketStore(engine)
        self.keys = SqliteKeyStore(engine)
        self.leases = SqliteLeaseStore(engine)
        self.jobs = SqliteJobStore(engine)
        self.audits = SqliteAuditStore(engine)
        self.outbox = SqliteOutbox(engine)
        self.restoring = SqliteRestoring(engine)

    async def start(self, *, rebuilding: bool = False, checking: bool = True) -> None:
        """Raises StoreRefused also for a file that is damaged or cannot be opened."""
        await self._engine.open()
        try:
            if checking:
                await self._check()
            await self._prepare(rebuilding=rebuilding)
        except BaseException:
            await self._engine.close()
            raise

    async def _check(self) -> None:
        path = self._engine.path
        await asyncio.to_thread(warn_of_network, path)
        if not await self._engine.read(partial(check_integrity, path=path)):
            log.info("metadata_check_unfinished", path=str(path), check="mediagate metadata check")

    async def _prepare(self, *, rebuilding: bool) -> None:
        await self._engine.write(schema.prepare)
        if not rebuilding:
            await self._engine.read(schema.refuse_unfinished)

    async def migrate(self) -> int:
        await self._engine.open()
        return await self._engine.write(schema.migrate, deadline_s=MIGRATION_S)

    async def ping(self) -> None:
        await self._engine.read(_look)

    async def now(self) -> datetime:
        return moment(now_ms())

    async def close(self) -> None:
        """Wait for transactions under way, then close the file."""
        await self._engine.close()


def _look(db: Db) -> None:
    one(db, "SELECT 1 FROM marks LIMIT 1")


def open_metadata(chosen: settings.Metadata) -> SqliteMetadata:
    """The store, not open yet: `start` is the first call that needs the file.

    Raises StoreRefused for a URL that names none.
    """
    return SqliteMetadata(path_of(chosen), chosen.timeout_s)


def open_records(chosen: settings.Metadata) -> SqliteRecords:
    return SqliteRecords(Engine(path_of(chosen), chosen.timeout_s))


def path_of(chosen: settings.Metadata) -> Path:
    """Raises StoreRefused."""
    url = chosen.url.get_secret_value()
    path = url.removeprefix(SCHEME)
    if not url.startswith(SCHEME) or not path or path.startswith("?"):
        raise StoreRefused(f"metadata.url must be {SCHEME} and a path; it is {url!r}")
    return Path(path)
