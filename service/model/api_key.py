"""API keys: who asks, for which tenant, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.model.ids import KeyId, TenantId


class Scope(StrEnum):
    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    LIST = "list"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """secret_sha256: 32 bytes; the secret itself is shown once and never kept.

    buckets: names the key is limited to, empty for all. prefixes: likewise for object keys.
    """

    id: KeyId
    tenant: TenantId
    name: str
    secret_sha256: bytes
    scopes: frozenset[Scope]
    created_at: datetime
    buckets: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request acts for, once its key is accepted. id: the key's id, or `root`."""

    id: str
    tenant: TenantId
    scopes: frozenset[Scope]
    buckets: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
