"""Who asks: a token becomes a principal.

Keys are looked up by their public id and kept for at most `auth.cache_s`; the secret is compared by
its hash, in constant time, on every request. A key revoked by this process is refused at once, by
the others within the life of their caches.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime

from service.errors import Unauthenticated
from service.model.api_key import ApiKey, Principal, Scope
from service.model.ids import DEFAULT_TENANT, KeyId
from service.protocol.api_tokens import parse_token
from service.settings import Auth
from service.stores.ports import KeyStore

ROOT = Principal(id="root", tenant=DEFAULT_TENANT, scopes=frozenset(Scope))
_MAX_CACHED = 10_000


class Authenticator:
    """clock: seconds that never go back; wall: the time that `expires_at` is compared with."""

    def __init__(
        self,
        keys: KeyStore,
        settings: Auth,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keys = keys
        self._cache_s = settings.cache_s
        self._clock = clock
        self._wall = wall
        self._root_sha256 = (
            _sha256(settings.root_key.get_secret_value()) if settings.root_key else None
        )
        self._cached: dict[KeyId, tuple[float, ApiKey]] = {}
        self._revoked: set[KeyId] = set()

    async def authenticate(self, token: str) -> Principal:
        """Raises Unauthenticated (which says no more than that), StoreUnavailable."""
        if self._root_sha256 and hmac.compare_digest(_sha256(token), self._root_sha256):
            return ROOT
        parsed = parse_token(token)
        key = await self._find(parsed.key_id) if parsed else None
        if key is None or parsed is None:
            raise Unauthenticated
        if not hmac.compare_digest(parsed.secret_sha256, key.secret_sha256):
            raise Unauthenticated
        if key.revoked_at is not None or (key.expires_at and key.expires_at <= self._wall()):
            raise Unauthenticated
        return Principal(key.id, key.tenant, key.scopes, key.buckets, key.prefixes)

    def revoked(self, key: KeyId) -> None:
        """Refuse this key from now on, whatever a lookup under way may still bring back."""
        self._revoked.add(key)
        self._cached.pop(key, None)

    async def _find(self, key_id: KeyId) -> ApiKey | None:
        if key_id in self._revoked:
            return None
        until, cached = self._cached.get(key_id, (0.0, None))
        if cached is not None and self._clock() < until:
            return cached
        asked_at = self._clock()
        key = await self._keys.get(key_id)
        if key is None or key_id in self._revoked:
            return None
        if len(self._cached) >= _MAX_CACHED:
            self._cached.clear()
        # Counted from the question, not the answer: a slow store must not stretch the promise.
        self._cached[key_id] = (asked_at + self._cache_s, key)
        return key


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
