"""API tokens: `mg_<id>_<secret>`. The id is public, the secret has 256 bits and is kept hashed."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field

from service.model.ids import KeyId

# The secret of `token_urlsafe(32)`: 43 characters, underscores among them; an id has none.
_TOKEN = re.compile(r"mg_([0-9A-HJKMNP-TV-Z]{26})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class ApiToken:
    """key_id: a ULID. secret: never printed, compared by its hash in constant time."""

    key_id: KeyId
    secret: str = field(repr=False)

    @property
    def secret_sha256(self) -> bytes:
        """32 bytes; one round is enough for 256 random bits."""
        return hashlib.sha256(self.secret.encode("ascii")).digest()

    def __str__(self) -> str:
        return f"mg_{self.key_id}_<secret>"


def new_token(key_id: KeyId) -> ApiToken:
    """A token with a fresh random secret."""
    return ApiToken(key_id, secrets.token_urlsafe(32))


def format_token(token: ApiToken) -> str:
    """What the client keeps; shown once."""
    return f"mg_{token.key_id}_{token.secret}"


def parse_token(text: str) -> ApiToken | None:
    """None for what is no token of this form."""
    match = _TOKEN.fullmatch(text)
    return ApiToken(KeyId(match[1]), match[2]) if match else None


def parse_bearer(authorization: str | None) -> str | None:
    """The token of `Authorization: Bearer …`; None where there is none (RFC 6750 §2.1)."""
    scheme, _, token = (authorization or "").strip(" \t").partition(" ")
    token = token.strip(" ")
    return token if scheme.lower() == "bearer" and token else None
