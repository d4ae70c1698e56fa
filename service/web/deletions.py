"""`POST /v1/buckets/{bucket}/deletions`: up to 1,000 keys in one request."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from aiohttp import web
from pydantic import Field

from service.errors import BucketNotFound, Invalid, InvalidKey
from service.protocol.names import KEY_PATTERN, validate_key
from service.usecases.delete_objects import KeyDeletion, delete_objects
from service.web.describe import Json, Reply, describe
from service.web.json import Answer, Body, answer, read_body
from service.web.problems import problem_of
from service.web.state import PRINCIPAL, TARGET, runtime_of

MAX_KEYS = 1000
Key = Annotated[str, Field(json_schema_extra={"pattern": KEY_PATTERN})]


class DeletionsBody(Body):
    """keys: one that is there twice is deleted once, where it comes first."""

    max_body_bytes: ClassVar[int] = 4 << 20
    keys: Annotated[tuple[Key, ...], Field(min_length=1, max_length=MAX_KEYS)]


class DeletionProblem(Answer):
    """code, title, detail: as those of a problem."""

    status: int
    code: str
    title: str
    detail: str


class DeletionResult(Answer):
    """status: `absent` where the key named nothing. problem: only where it failed."""

    key: str
    status: Literal["deleted", "absent", "failed"]
    problem: DeletionProblem | None


class DeletionsAnswer(Answer):
    results: tuple[DeletionResult, ...]


@describe(
    "Delete up to 1,000 objects.",
    body=Json(DeletionsBody),
    answers={200: Reply(DeletionsAnswer, says="What became of each key, in the order asked.")},
    problems=(BucketNotFound, InvalidKey),
)
async def post_deletions(request: web.Request) -> web.Response:
    """200 even where some, or all, of the keys could not be deleted: each says so itself."""
    body = await read_body(request, DeletionsBody)
    keys = list(dict.fromkeys(_valid(number, key) for number, key in enumerate(body.keys)))
    outcomes = await delete_objects(
        runtime_of(request), request[PRINCIPAL], request[TARGET].bucket, keys
    )
    return answer(DeletionsAnswer(results=tuple(map(_shown, outcomes))))


def _valid(number: int, key: str) -> str:
    """Raises InvalidKey: a request that is wrong in one place deletes nothing."""
    try:
        return validate_key(key)
    except Invalid as error:
        field = f"keys.{number}"
        problem = {"field": field, "problem": error.detail}
        raise InvalidKey(f"field `{field}`: {error.detail}", errors=[problem]) from error


def _shown(outcome: KeyDeletion) -> DeletionResult:
    if outcome.problem is None:
        status: Literal["deleted", "absent"] = "deleted" if outcome.deleted else "absent"
        return DeletionResult(key=outcome.key, status=status, problem=None)
    told = problem_of(outcome.problem)
    problem = DeletionProblem(
        status=told.status, code=told.code, title=told.title, detail=told.detail
    )
    return DeletionResult(key=outcome.key, status="failed", problem=problem)
