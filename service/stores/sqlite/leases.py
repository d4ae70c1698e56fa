"""Named locks with an end."""

from __future__ import annotations

from service.stores.sqlite.clock import in_future, now_ms
from service.stores.sqlite.driver import Db
from service.stores.sqlite.engine import Engine
from service.stores.sqlite.statements import change

_ACQUIRE = """
    INSERT INTO leases (name, owner, until_ms) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until_ms = excluded.until_ms
    WHERE leases.owner = excluded.owner OR leases.until_ms < ?
"""
_RELEASE = "DELETE FROM leases WHERE name = ? AND owner = ?"


class SqliteLeaseStore:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def acquire(self, name: str, owner: str, ttl_s: float) -> bool:
        def work(db: Db) -> bool:
            return bool(change(db, _ACQUIRE, name, owner, in_future(ttl_s), now_ms()))

        return await self._engine.write(work)

    async def release(self, name: str, owner: str) -> None:
        await self._engine.write(lambda db: change(db, _RELEASE, name, owner))
