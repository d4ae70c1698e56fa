"""`/v1/buckets/{bucket}/deletions`: up to 1,000 keys at once, or a prefix as a job."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from aiohttp import web
from pydantic import ConfigDict, Field, model_validator

from service.errors import BucketNotFound, Invalid, InvalidKey, JobNotFound, OutcomeUnknown
from service.model.api_key import Scope
from service.model.ids import JobId
from service.model.job import Job, JobState
from service.protocol.names import KEY_PATTERN, validate_key, validate_prefix
from service.usecases.authorize import authorize
from service.usecases.delete_objects import KeyDeletion, delete_objects
from service.usecases.delete_prefix import begin_deletion, find_deletion
from service.web.describe import Json, Reply, describe
from service.web.fields import LOCATION
from service.web.json import Answer, Body, Timestamp, answer, read_body
from service.web.problems import problem_of
from service.web.query import Prefix
from service.web.state import PRINCIPAL, TARGET, runtime_of
from service.web.urls import absolute_url

MAX_KEYS = 1000
Key = Annotated[str, Field(json_schema_extra={"pattern": KEY_PATTERN})]


def _without_default(schema: dict[str, Any]) -> None:
    """What is not sent is not meant; the default is none that could be sent either."""
    del schema["default"]


class DeletionsBody(Body):
    """Either of them. keys: one that is there twice is deleted once, where it comes first.

    prefix: "" is all that is in the bucket.
    """

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["keys"]}, {"required": ["prefix"]}]}
    )
    max_body_bytes: ClassVar[int] = 4 << 20
    keys: Annotated[tuple[Key, ...], Field(min_length=1, max_length=MAX_KEYS)] = Field(
        (), json_schema_extra=_without_default
    )
    prefix: Prefix = Field("", json_schema_extra=_without_default)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("send either `keys` or `prefix`")
        return self


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


class DeletionJob(Answer):
    """deleted, failed: how many objects so far."""

    id: str
    prefix: str
    state: JobState
    deleted: int
    failed: int
    created_at: Timestamp
    finished_at: Timestamp | None


@describe(
    "Delete up to 1,000 objects, or all with a prefix.",
    body=Json(DeletionsBody),
    answers={
        200: Reply(DeletionsAnswer, says="What became of each key, in the order asked."),
        202: Reply(DeletionJob, LOCATION, says="A prefix: the job that began."),
    },
    problems=(BucketNotFound, InvalidKey, OutcomeUnknown),
)
async def post_deletions(request: web.Request) -> web.Response:
    """200 even where some, or all, of the keys could not be deleted: each says so itself."""
    body = await read_body(request, DeletionsBody)
    if not body.keys:
        return await _begin(request, validate_prefix(body.prefix))
    keys = list(dict.fromkeys(_valid(number, key) for number, key in enumerate(body.keys)))
    outcomes = await delete_objects(
        runtime_of(request), request[PRINCIPAL], request[TARGET].bucket, keys
    )
    return answer(DeletionsAnswer(results=tuple(map(_shown, outcomes))))


async def _begin(request: web.Request, prefix: str) -> web.Response:
    principal, bucket = request[PRINCIPAL], request[TARGET].bucket
    authorize(principal, Scope.DELETE, bucket=bucket, prefix=prefix)
    job = await begin_deletion(runtime_of(request), principal.tenant, bucket, prefix)
    location = absolute_url(request, f"/v1/buckets/{bucket}/deletions/{job.id}")
    return answer(_told(job), status=202, headers={"Location": location})


@describe(
    "How far the deletion of a prefix is.",
    answers={200: Reply(DeletionJob)},
    problems=(BucketNotFound, JobNotFound),
)
async def get_deletion(request: web.Request) -> web.Response:
    return answer(_told(await _job_of(request)))


@describe(
    "Stop the deletion of a prefix; what is deleted stays so.",
    answers={204: Reply()},
    problems=(BucketNotFound, JobNotFound, OutcomeUnknown),
)
async def delete_deletion(request: web.Request) -> web.Response:
    job = await _job_of(request)
    await runtime_of(request).metadata.jobs.cancel(job.tenant, job.bucket_id, job.id)
    return web.Response(status=204)


async def _job_of(request: web.Request) -> Job:
    """Raises BucketNotFound, JobNotFound, Forbidden."""
    principal, target = request[PRINCIPAL], request[TARGET]
    job = await find_deletion(
        runtime_of(request), principal.tenant, target.bucket, JobId(target.id)
    )
    authorize(principal, Scope.DELETE, bucket=target.bucket, prefix=job.prefix)
    return job


def _told(job: Job) -> DeletionJob:
    return DeletionJob(
        id=job.id,
        prefix=job.prefix,
        state=job.state,
        deleted=job.deleted,
        failed=job.failed,
        created_at=job.created_at,
        finished_at=job.finished_at,
    )


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
