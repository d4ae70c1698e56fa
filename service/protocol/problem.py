"""Problem details (RFC 9457): the body of every error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

CONTENT_TYPE = "application/problem+json"


def problem_body(
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    request_id: str | None = None,
    extras: Mapping[str, Any] | None = None,
) -> bytes:
    """code: of `service.errors`; `type` is made from it. extras never replace a standard member."""
    members: dict[str, Any] = {
        "type": problem_type(code),
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if request_id is not None:
        members["request_id"] = request_id
    # Detail and extras may quote the request, broken text included; the answer must still be made.
    return orjson.dumps(_encodable({**(extras or {}), **members}), default=str)


def problem_type(code: str) -> str:
    """`offset_mismatch` -> `/problems/offset-mismatch`, a reference relative to the service."""
    return f"/problems/{code.replace('_', '-')}"


def _encodable(value: Any) -> Any:
    """Lone surrogates, which no JSON encoder takes, become question marks."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_encodable(str(name)): _encodable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_encodable(item) for item in value]
    return value
