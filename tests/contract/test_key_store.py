"""API keys: what every engine promises (service/stores/ports.py, KeyStore)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from metadata_engines import OTHER_TENANT, TENANT, World

from service.model.api_key import ApiKey, Scope
from service.model.ids import KeyId, new_id


async def made(world: World, **changes: Any) -> ApiKey:
    values: dict[str, Any] = {"id": KeyId(new_id()), "tenant": TENANT, "name": "$name"}
    values |= {"secret_sha256": bytes(range(224, 256)), "scopes": frozenset(Scope)}
    key = ApiKey(created_at=await world.store.now(), **(values | changes))
    await world.store.keys.create(key)
    return key


async def test_a_key_is_read_back_as_it_was_created(world: World):
    expires_at = await world.store.now() + timedelta(days=1)
    plain = await made(world, scopes=frozenset())
    limited = await made(
        world, buckets=("films", "$x"), prefixes=("a/", "é"), expires_at=expires_at
    )
    assert await world.store.keys.get(plain.id) == plain
    assert await world.store.keys.get(limited.id) == limited
    assert await world.store.keys.get(KeyId(new_id())) is None


async def test_list_shows_a_tenants_keys_by_id(world: World):
    keys = sorted([await made(world) for _ in range(3)], key=lambda key: key.id)
    await made(world, tenant=OTHER_TENANT)
    assert await world.store.keys.list(TENANT, after="", limit=10) == keys
    assert await world.store.keys.list(TENANT, after=keys[0].id, limit=1) == keys[1:2]
    assert await world.store.keys.list(TENANT, after=keys[2].id, limit=1) == []


async def test_revoke_notes_the_time_once(world: World):
    key = await made(world)
    assert await world.store.keys.revoke(TENANT, key.id)
    revoked = await world.store.keys.get(key.id)
    assert key.created_at <= revoked.revoked_at <= await world.store.now()
    assert revoked == replace(key, revoked_at=revoked.revoked_at)
    await world.pass_time(0.01)
    assert await world.store.keys.revoke(TENANT, key.id)
    assert await world.store.keys.get(key.id) == revoked


async def test_revoke_of_another_tenants_key_is_false_and_changes_nothing(world: World):
    key = await made(world)
    assert not await world.store.keys.revoke(OTHER_TENANT, key.id)
    assert not await world.store.keys.revoke(TENANT, KeyId(new_id()))
    assert await world.store.keys.get(key.id) == key
