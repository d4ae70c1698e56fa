"""The one table of routes. What is not here does not exist, and what is here is guarded.

A row with a scope is reached with a key that has it, for the bucket and key in the path (or for the
prefix in the query); a row without one is open to everybody on purpose. Handlers find the principal
and the decoded, valid names in the request (`state.PRINCIPAL`, `state.TARGET`). Every GET is a HEAD
too. Names are decoded from the raw path, once: the framework's own match keeps `%2F` apart and
leaves broken UTF-8 as it is, so it only chooses the row.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import hdrs, web

from service.errors import StoreUnavailable
from service.model.api_key import Scope
from service.protocol.names import decode_path, validate_bucket_name, validate_key
from service.usecases.authorize import authorize
from service.web import (
    archive,
    buckets,
    copies,
    deletions,
    downloads,
    expand,
    keys,
    listing,
    metadata,
    metadata_patch,
    operations,
    reference,
    uploads,
    versions,
)
from service.web.auth import authenticated
from service.web.expect import later
from service.web.middleware import Handler
from service.web.query import read_query
from service.web.resumable import resource
from service.web.route import Route
from service.web.state import QUERY, TARGET, Target, runtime_of

_PATTERNS = {"{bucket}": "{bucket:[^/]+}", "{key}": "{key:(?s:.*)}", "{id}": "{id:[^/]+}"}


BUCKET = "/v1/buckets/{bucket}"
OBJECTS = BUCKET + "/objects"
OBJECT = OBJECTS + "/{key}"
DELETIONS = BUCKET + "/deletions"
METADATA = BUCKET + "/metadata/{key}"
ARCHIVE = BUCKET + "/archive"
VERSIONS = BUCKET + "/versions/{key}"
COPIES = BUCKET + "/copies"
MOVES = BUCKET + "/moves"
UPLOADS = "/v1/uploads"
UPLOAD = UPLOADS + "/{id}"

ROUTES: tuple[Route, ...] = (
    Route("GET", "/healthz", operations.get_health, None),
    Route("GET", "/readyz", operations.get_readiness, None),
    Route("GET", "/metrics", operations.get_metrics, None),
    Route("GET", "/openapi.json", reference.get_openapi, None),
    Route("GET", "/docs", reference.get_docs, None),
    Route("GET", "/docs/{file}", reference.get_docs_file, None),
    Route("GET", "/v1/buckets", buckets.get_buckets, Scope.LIST),
    Route("PUT", BUCKET, buckets.put_bucket, Scope.ADMIN),
    Route("GET", BUCKET, buckets.get_one_bucket, Scope.LIST),
    Route("PATCH", BUCKET, buckets.patch_bucket, Scope.ADMIN),
    Route("DELETE", BUCKET, buckets.delete_one_bucket, Scope.ADMIN),
    Route("GET", OBJECTS, listing.get_objects, Scope.LIST, prefix="prefix"),
    Route("GET", OBJECT, downloads.get_object, Scope.READ, bytes=True),
    Route("PUT", OBJECT, uploads.put_object, Scope.WRITE, bytes=True),
    Route("POST", OBJECTS, expand.post_objects, Scope.WRITE, bytes=True),
    Route("DELETE", OBJECT, uploads.delete_object, Scope.DELETE),
    Route("POST", DELETIONS, deletions.post_deletions, Scope.DELETE),
    Route("GET", DELETIONS + "/{id}", deletions.get_deletion, Scope.DELETE),
    Route("DELETE", DELETIONS + "/{id}", deletions.delete_deletion, Scope.DELETE),
    Route("GET", METADATA, metadata.get_metadata, Scope.READ),
    Route("PATCH", METADATA, metadata_patch.patch_metadata, Scope.WRITE),
    Route("GET", ARCHIVE, archive.get_archive, Scope.LIST, prefix="prefix", bytes=True),
    Route("GET", VERSIONS, versions.get_versions, Scope.READ),
    Route("POST", VERSIONS, copies.post_restore, Scope.WRITE, bytes=True),
    Route("POST", COPIES, copies.post_copy, Scope.READ, bytes=True),
    Route("POST", MOVES, copies.post_move, Scope.READ, bytes=True),
    Route("POST", UPLOADS, resource.post_upload, Scope.WRITE, bytes=True),
    Route("GET", UPLOADS, resource.get_uploads, Scope.WRITE),
    Route("OPTIONS", UPLOADS, resource.OPTIONS(resource.options_uploads), None),
    Route("GET", UPLOAD, resource.get_upload, Scope.WRITE),
    Route("PATCH", UPLOAD, resource.patch_upload, Scope.WRITE, bytes=True),
    Route("POST", UPLOAD, resource.post_to_upload, Scope.WRITE, bytes=True),
    Route("DELETE", UPLOAD, resource.delete_upload, Scope.WRITE),
    Route("OPTIONS", UPLOAD, resource.OPTIONS(resource.options_upload), None),
    Route("OPTIONS", OBJECT, resource.OPTIONS(resource.options_object), None),
    Route("POST", "/v1/keys", keys.post_key, Scope.ADMIN),
    Route("GET", "/v1/keys", keys.get_keys, Scope.ADMIN),
    Route("DELETE", "/v1/keys/{id}", keys.delete_key, Scope.ADMIN),
)


def add_routes(app: web.Application, routes: Iterable[Route]) -> None:
    for route in routes:
        path = route.path
        for name, pattern in _PATTERNS.items():
            path = path.replace(name, pattern)
        endpoint = _guarded(route) if route.scope else _open(route)
        for method in route.methods:
            app.router.add_route(method, path, endpoint, expect_handler=later)


def _open(route: Route) -> Handler:
    """The framework wants to see a coroutine function."""
    return route.operation.handler if route.operation else route.handler


def _guarded(route: Route) -> Handler:
    scope, operation = route.scope, route.operation
    assert scope is not None

    async def endpoint(request: web.Request) -> web.StreamResponse:
        _shed(request, route)
        principal = await authenticated(request)
        target = _target(request, route)
        prefix = request.query.get(route.prefix, "") if route.prefix else None
        authorize(
            principal,
            scope,
            bucket=target.bucket or None,
            key=target.key or None,
            prefix=prefix,
        )
        request[TARGET] = target
        if operation is not None and operation.query is not None:
            request[QUERY] = read_query(request, operation.query)
        return await route.handler(request)

    return endpoint


def _shed(request: web.Request, route: Route) -> None:
    """Refuse at once what a store that is silent would only let wait; before anything is written.

    Raises StoreUnavailable.
    """
    runtime = runtime_of(request)
    breakers = {"metadata": runtime.breakers.metadata}
    if route.bytes and request.method != hdrs.METH_HEAD:
        breakers["blobs"] = runtime.breakers.blobs
    for store, breaker in breakers.items():
        try:
            breaker.check()
        except StoreUnavailable:
            runtime.metrics.requests_shed.labels(store).inc()
            raise


def _target(request: web.Request, route: Route) -> Target:
    """Raises InvalidBucketName, InvalidKey."""
    template = route.path.split("/")
    given = dict(zip(template, request.rel_url.raw_path.split("/", len(template) - 1), strict=True))
    target = Target()
    if "{bucket}" in given:
        target = Target(bucket=validate_bucket_name(decode_path(given["{bucket}"])))
    if "{key}" in given:
        target = Target(target.bucket, validate_key(decode_path(given["{key}"])))
    if "{id}" in given:
        target = Target(target.bucket, target.key, decode_path(given["{id}"]))
    return target
