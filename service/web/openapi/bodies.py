"""Bodies of requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from service.web.describe import Body, Form, Json, Operation, Raw
from service.web.openapi.schemas import JsonSchema, Schemas

_BYTES: JsonSchema = {"type": "string", "format": "binary"}


def body_of(operation: Operation, schemas: Schemas) -> dict[str, Any] | None:
    """The Request Body Object, None where the operation has none."""
    if not operation.bodies:
        return None
    content = {
        kind: schema for body in operation.bodies for kind, schema in _content(body, schemas)
    }
    optional = any(isinstance(body, Json | Raw) and body.optional for body in operation.bodies)
    return {
        "content": {kind: {"schema": schema} for kind, schema in content.items()},
        "required": not optional,
    }


def _content(body: Body, schemas: Schemas) -> Iterable[tuple[str, JsonSchema]]:
    if isinstance(body, Json):
        schema = schemas.body(body.model)
        yield "application/json", schema
        if body.merge_patch:
            yield "application/merge-patch+json", schema
    elif isinstance(body, Raw):
        for kind in body.media_types or ("application/octet-stream",):
            yield kind, _BYTES
    else:
        yield "multipart/form-data", _form(body)


def _form(form: Form) -> JsonSchema:
    fields: dict[str, JsonSchema] = {
        field.example_name: {**field.schema, "description": field.says} for field in form.fields
    }
    return {
        "type": "object",
        "properties": {
            **fields,
            "file": {"type": "array", "items": _BYTES, "minItems": 1},
        },
        "required": ["file"],
        "additionalProperties": False,
    }
