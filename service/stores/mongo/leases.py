"""Named locks with an end, by the database's clock."""

from __future__ import annotations

from pymongo.errors import DuplicateKeyError

from service.stores.mongo.clock import in_future, literal, read_clock
from service.stores.mongo.driver import Database
from service.stores.mongo.errors import Guard


class MongoLeaseStore:
    def __init__(self, database: Database, guard: Guard) -> None:
        self._database = database
        self._leases = database["leases"]
        self._guard = guard

    async def acquire(self, name: str, owner: str, ttl_s: float) -> bool:
        held = [{"$set": {"owner": literal(owner), "lease_until": in_future(ttl_s)}}]
        with self._guard.writing():
            extended = await self._leases.update_one({"_id": name, "owner": owner}, held)
            if extended.matched_count:
                return True
            now = await read_clock(self._database)
            free = {"_id": name, "lease_until": {"$lt": now}}
            try:
                taken = await self._leases.update_one(free, held, upsert=True)
            except DuplicateKeyError:
                return False  # it is there and has not run out
        return bool(taken.matched_count) or taken.upserted_id is not None

    async def release(self, name: str, owner: str) -> None:
        with self._guard.writing():
            await self._leases.delete_one({"_id": name, "owner": owner})
