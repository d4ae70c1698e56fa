"""The key cache never outlives its promise."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from service.errors import Unauthenticated
from service.model.api_key import ApiKey, Scope
from service.model.ids import DEFAULT_TENANT, KeyId, TenantId, new_id
from service.protocol.api_tokens import ApiToken, format_token, new_token
from service.settings import Auth
from service.usecases.authenticate import Authenticator

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class SlowKeys:
    """A key store whose answers can be held back."""

    def __init__(self) -> None:
        self.keys: dict[KeyId, ApiKey] = {}
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def create(self, key: ApiKey) -> None:
        self.keys[key.id] = key

    async def get(self, key: KeyId) -> ApiKey | None:
        self.asked += 1
        found = self.keys.get(key)
        await self.may_answer.wait()
        return found

    async def list(self, tenant: TenantId, *, after: str, limit: int) -> list[ApiKey]:
        raise NotImplementedError

    async def revoke(self, tenant: TenantId, key: KeyId) -> bool:
        raise NotImplementedError


def a_key(token: ApiToken, expires_at: datetime | None = None) -> ApiKey:
    return ApiKey(
        token.key_id,
        DEFAULT_TENANT,
        "test",
        token.secret_sha256,
        frozenset({Scope.READ}),
        NOW,
        expires_at=expires_at,
    )


class World:
    def __init__(self) -> None:
        self.keys = SlowKeys()
        self.seconds = 0.0
        self.token = new_token(KeyId(new_id()))
        self.text = format_token(self.token)
        self.keys.keys[self.token.key_id] = a_key(self.token, NOW + timedelta(seconds=10))
        self.authenticator = Authenticator(
            self.keys,
            Auth(root_key=SecretStr("root"), cache_s=1),
            clock=lambda: self.seconds,
            wall=lambda: NOW + timedelta(seconds=self.seconds),
        )

    async def accepted(self) -> bool:
        try:
            await self.authenticator.authenticate(self.text)
        except Unauthenticated:
            return False
        return True


@pytest.fixture
async def world() -> World:
    return World()


async def test_a_key_is_looked_up_once_a_second(world: World) -> None:
    for world.seconds in (0.0, 0.5, 0.99):
        assert await world.accepted()
    assert world.keys.asked == 1
    world.seconds = 1.0
    assert await world.accepted()
    assert world.keys.asked == 2


async def test_a_key_gone_from_the_store_is_refused_within_the_cache_time(world: World) -> None:
    assert await world.accepted()
    world.keys.keys.clear()
    world.seconds = 1.0
    assert not await world.accepted()


async def test_expiry_holds_within_the_cache_time_too(world: World) -> None:
    world.seconds = 9.5
    assert await world.accepted()
    world.seconds = 10.0
    assert not await world.accepted()


async def test_a_lookup_under_way_does_not_bring_a_revoked_key_back(world: World) -> None:
    world.keys.may_answer.clear()
    asking = asyncio.create_task(world.accepted())
    await asyncio.sleep(0)
    world.authenticator.revoked(world.token.key_id)
    world.keys.may_answer.set()
    assert not await asking
    assert not await world.accepted()


async def test_a_slow_store_does_not_stretch_the_cache_time(world: World) -> None:
    world.keys.may_answer.clear()
    asking = asyncio.create_task(world.accepted())
    await asyncio.sleep(0)
    world.seconds = 5.0
    world.keys.may_answer.set()
    assert await asking
    assert await world.accepted()
    assert world.keys.asked == 2


async def test_a_cached_key_still_needs_its_secret(world: World) -> None:
    assert await world.accepted()
    other = ApiToken(world.token.key_id, new_token(world.token.key_id).secret)
    with pytest.raises(Unauthenticated):
        await world.authenticator.authenticate(format_token(other))


async def test_the_root_key_may_everything(world: World) -> None:
    principal = await world.authenticator.authenticate("root")
    assert principal.scopes == frozenset(Scope)
    assert principal.tenant == DEFAULT_TENANT
    assert world.keys.asked == 0
