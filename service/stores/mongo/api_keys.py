"""API keys: found by their public id, listed by tenant."""

from __future__ import annotations

import builtins

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from service.errors import Conflict
from service.model.api_key import ApiKey
from service.model.ids import KeyId, TenantId
from service.stores.mongo.clock import NOW
from service.stores.mongo.documents import api_key_in, api_key_out
from service.stores.mongo.driver import Database
from service.stores.mongo.errors import Guard


class MongoKeyStore:
    def __init__(self, database: Database, guard: Guard) -> None:
        self._keys = database["api_keys"]
        self._guard = guard

    async def create(self, key: ApiKey) -> None:
        with self._guard.writing():
            try:
                await self._keys.insert_one(api_key_in(key))
            except DuplicateKeyError as exc:
                raise Conflict("there is such an API key already") from exc

    async def get(self, key: KeyId) -> ApiKey | None:
        with self._guard.reading():
            found = await self._keys.find_one({"_id": key})
        return api_key_out(found) if found else None

    async def list(self, tenant: TenantId, *, after: str, limit: int) -> builtins.list[ApiKey]:
        with self._guard.reading():
            cursor = self._keys.find(
                {"tenant": tenant, "_id": {"$gt": after}}, sort=[("_id", ASCENDING)], limit=limit
            )
            return [api_key_out(document) for document in await cursor.to_list(limit)]

    async def revoke(self, tenant: TenantId, key: KeyId) -> bool:
        """The first revocation's time stays."""
        with self._guard.writing():
            done = await self._keys.update_one(
                {"_id": key, "tenant": tenant},
                [{"$set": {"revoked_at": {"$ifNull": ["$revoked_at", NOW]}}}],
            )
        return bool(done.matched_count)
