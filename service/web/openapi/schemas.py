"""Models as JSON Schema 2020-12: those of bodies and answers as components, queries inline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.web.describe import Json, Operation
from service.web.query import Query

JsonSchema = dict[str, Any]
_Mode = Literal["validation", "serialization"]
_TEMPLATE = "#/components/schemas/{model}"


class Schemas:
    """Of all the models that the operations name. components: name -> schema."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        wanted = list(dict.fromkeys(pair for item in operations for pair in _models_of(item)))
        references, definitions = models_json_schema(wanted, ref_template=_TEMPLATE)
        self._references = references
        self.components: dict[str, JsonSchema] = definitions.get("$defs", {})
        self._queries: dict[type[BaseModel], JsonSchema] = {}
        for model, mode in wanted:
            if issubclass(model, Query):
                name = references[model, mode]["$ref"].rpartition("/")[2]
                self._queries[model] = self.components.pop(name)

    def body(self, model: type[BaseModel]) -> JsonSchema:
        return self._references[model, "validation"]

    def answer(self, model: type[BaseModel]) -> JsonSchema:
        return self._references[model, "serialization"]

    def query(self, model: type[Query]) -> JsonSchema:
        """The model itself: its `properties` are the parameters."""
        return self._queries[model]


def _models_of(operation: Operation) -> Iterable[tuple[type[BaseModel], _Mode]]:
    if operation.query is not None and operation.query.model_fields:
        yield operation.query, "validation"
    for body in operation.bodies:
        if isinstance(body, Json):
            yield body.model, "validation"
    for reply in operation.answers.values():
        if isinstance(reply.content, type):
            yield reply.content, "serialization"
