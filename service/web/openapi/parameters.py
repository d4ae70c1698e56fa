"""What stands in the path, the query and the header fields of a request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from service.protocol.names import BUCKET_PATTERN, KEY_PATTERN, MAX_KEY_BYTES
from service.web import page
from service.web.describe import Operation
from service.web.fields import HeaderField
from service.web.openapi.schemas import JsonSchema, Schemas

_PATH: dict[str, tuple[str, JsonSchema]] = {
    "bucket": ("The name of the bucket.", {"pattern": BUCKET_PATTERN, "maxLength": 63}),
    "key": (
        "The object's key, percent-encoded; a slash may stand as it is. "
        f"At most {MAX_KEY_BYTES} bytes of UTF-8.",
        {"pattern": KEY_PATTERN, "maxLength": MAX_KEY_BYTES},
    ),
    "file": ("Its name.", {"enum": sorted(page.FILES)}),
    "id": ("The id, as its making told it.", {"minLength": 1}),
}


def parameters_of(path: str, operation: Operation, schemas: Schemas) -> list[dict[str, Any]]:
    return [
        *(_in_path(name) for name in re.findall(r"\{(\w+)\}", path)),
        *_in_query(operation, schemas),
        *(_in_header(header) for header in operation.headers),
    ]


def _in_path(name: str) -> dict[str, Any]:
    says, schema = _PATH.get(name, ("", {"minLength": 1}))
    told = {"description": says} if says else {}
    return {
        "name": name,
        "in": "path",
        "required": True,
        **told,
        "schema": {"type": "string", **schema},
    }


def _in_query(operation: Operation, schemas: Schemas) -> Iterable[dict[str, Any]]:
    model = operation.query
    if model is None or not model.model_fields:
        return
    families = {field: prefix for prefix, field in model.families.items()}
    described = schemas.query(model)
    for field, schema in described["properties"].items():
        told = {"in": "query", "description": schema.get("description", "")}
        if field in families:
            yield _family(families[field], told)
        else:
            required = {"required": True} if field in described.get("required", ()) else {}
            yield {"name": field, **told, **required, "schema": _as_text(schema)}


def _family(prefix: str, told: dict[str, Any]) -> dict[str, Any]:
    """Parameters of any name behind a prefix: an exploded object whose names have it in them."""
    schema = {
        "type": "object",
        "propertyNames": {"pattern": f"^{re.escape(prefix)}."},
        "additionalProperties": {"type": "string"},
    }
    return {"name": f"{prefix}*", **told, "style": "form", "explode": True, "schema": schema}


def _as_text(schema: JsonSchema) -> JsonSchema:
    """Without what no query can say: null, and what the parameter tells already."""
    kept = {
        name: value
        for name, value in schema.items()
        if name not in ("title", "description") and (name, value) != ("default", None)
    }
    given = [choice for choice in kept.pop("anyOf", ()) if choice != {"type": "null"}]
    if len(given) == 1:
        return {**given[0], **kept}
    return {"anyOf": given, **kept} if given else kept


def _in_header(header: HeaderField) -> dict[str, Any]:
    return {
        "name": header.example_name,
        "in": "header",
        "description": header.says,
        "schema": header.schema,
    }
