"""`/v1/buckets`: make, read, change, list, delete."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field, StringConstraints

from service.errors import (
    BucketDeleting,
    BucketExists,
    BucketNotEmpty,
    BucketNotFound,
    Conflict,
    InvalidCursor,
    PreconditionFailed,
)
from service.model.bucket import Bucket, BucketSettings, Delivery
from service.protocol.conditionals import format_etag, parse_preconditions
from service.usecases.create_bucket import create_bucket
from service.usecases.delete_bucket import delete_bucket
from service.usecases.read_buckets import get_bucket, list_buckets
from service.usecases.update_bucket import update_bucket
from service.web.describe import Json, Reply, describe
from service.web.fields import ETAG, IF_MATCH, LINK, LOCATION
from service.web.json import Answer, Body, Timestamp, answer, read_body
from service.web.pages import next_of, read_after
from service.web.query import PageQuery, query_of
from service.web.state import PRINCIPAL, TARGET, runtime_of
from service.web.urls import absolute_url

LISTING = "buckets"
MediaRange = Annotated[str, StringConstraints(pattern=r"^[\w!#$&^.+-]+/(\*|[\w!#$&^.+-]+)$")]
HeaderText = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e][\x20-\x7e]*$", max_length=256)]


class BucketBody(Body):
    """The settings of a bucket; in a PATCH, null brings a default back."""

    max_object_size_bytes: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    allowed_content_types: Annotated[tuple[MediaRange, ...], Field(max_length=100)] | None = None
    cache_control: HeaderText | None = None
    delivery: Delivery | None = None
    versioning: bool | None = None

    def changes(self) -> dict[str, object]:
        """The fields that were sent, as BucketSettings wants them."""
        sent = {name: getattr(self, name) for name in self.model_fields_set}
        if "allowed_content_types" in sent:
            sent["allowed_content_types"] = tuple(
                kind.lower() for kind in sent["allowed_content_types"] or ()
            )
        if "delivery" in sent:
            sent["delivery"] = sent["delivery"] or Delivery.PROXY
        if "versioning" in sent:
            sent["versioning"] = bool(sent["versioning"])
        return sent


class BucketAnswer(Answer):
    id: str
    name: str
    created_at: Timestamp
    revision: int
    max_object_size_bytes: int | None
    allowed_content_types: tuple[str, ...]
    cache_control: str | None
    delivery: Delivery
    versioning: bool


class BucketPage(Answer):
    items: tuple[BucketAnswer, ...]
    next: str | None


@describe(
    "Make a bucket.",
    body=Json(BucketBody, optional=True),
    answers={
        201: Reply(BucketAnswer, ETAG, LOCATION),
        200: Reply(BucketAnswer, ETAG, LOCATION, says="It was there with these very settings."),
    },
    problems=(BucketExists, BucketDeleting, Conflict),
)
async def put_bucket(request: web.Request) -> web.Response:
    """201; 200 where it is there with these very settings."""
    body = await read_body(request, BucketBody, optional=True)
    settings = BucketSettings(**body.changes())  # type: ignore[arg-type]
    name = request[TARGET].bucket
    bucket, created = await create_bucket(
        runtime_of(request), request[PRINCIPAL].tenant, name, settings
    )
    location = {"Location": absolute_url(request, f"/v1/buckets/{name}")}
    return _told(bucket, 201 if created else 200, location)


@describe(
    "A bucket and its settings.",
    answers={200: Reply(BucketAnswer, ETAG)},
    problems=(BucketNotFound,),
)
async def get_one_bucket(request: web.Request) -> web.Response:
    bucket = await get_bucket(
        runtime_of(request), request[PRINCIPAL].tenant, request[TARGET].bucket
    )
    return _told(bucket)


@describe(
    "Buckets that the key may see, by pages.",
    query=PageQuery,
    answers={200: Reply(BucketPage, LINK)},
    problems=(InvalidCursor,),
)
async def get_buckets(request: web.Request) -> web.Response:
    query = query_of(request, PageQuery)
    found, last = await list_buckets(
        runtime_of(request),
        request[PRINCIPAL],
        after=read_after(query.cursor, LISTING),
        limit=query.limit,
    )
    cursor, headers = next_of(request, LISTING, last)
    return answer(BucketPage(items=tuple(map(_shown, found)), next=cursor), headers=headers)


@describe(
    "Change the settings of a bucket.",
    headers=IF_MATCH,
    body=Json(BucketBody, merge_patch=True),
    answers={200: Reply(BucketAnswer, ETAG)},
    problems=(BucketNotFound, BucketDeleting, Conflict, PreconditionFailed),
)
async def patch_bucket(request: web.Request) -> web.Response:
    body = await read_body(request, BucketBody)
    bucket = await update_bucket(
        runtime_of(request),
        request[PRINCIPAL].tenant,
        request[TARGET].bucket,
        body.changes(),
        parse_preconditions(request.headers).if_match,
    )
    return _told(bucket)


@describe(
    "Delete a bucket that is empty.",
    answers={204: Reply()},
    problems=(BucketNotFound, BucketNotEmpty, BucketDeleting, Conflict),
)
async def delete_one_bucket(request: web.Request) -> web.Response:
    await delete_bucket(runtime_of(request), request[PRINCIPAL].tenant, request[TARGET].bucket)
    return web.Response(status=204)


def _told(bucket: Bucket, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    etag = {"ETag": format_etag(bucket.etag)}
    return answer(_shown(bucket), status=status, headers={**etag, **(headers or {})})


def _shown(bucket: Bucket) -> BucketAnswer:
    return BucketAnswer(
        id=bucket.id,
        name=bucket.name,
        created_at=bucket.created_at,
        revision=bucket.revision,
        max_object_size_bytes=bucket.settings.max_object_size_bytes,
        allowed_content_types=bucket.settings.allowed_content_types,
        cache_control=bucket.settings.cache_control,
        delivery=bucket.settings.delivery,
        versioning=bucket.settings.versioning,
    )
