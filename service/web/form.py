"""`POST /v1/buckets/{bucket}/objects`: a browser's form, `multipart/form-data`, streamed.

Fields come before the files that they speak of: `key` (the whole key of the next file), `prefix`
(put before the name of each file that has no `key`), and any of `cache-control`,
`content-language`, `x-meta-<name>` and `x-tags`, which mean what the header fields of a PUT mean. A
file without `key` is named by its filename. A file input in which nothing was chosen (no filename,
no bytes) is no file. `Content-Encoding` of a part says nothing in a form (RFC 7578 §4.8): the bytes
are kept as they come; a `Content-Transfer-Encoding` that would have to be decoded is refused.

Files are stored one after the other, each a PUT of its own with its own version, under the
request's preconditions. The first that fails ends the request with its problem and status, so that
no client takes a half for the whole: `failed` says which file (`ordinal` from 0), `stored` lists
what was committed before it and stays, what comes after it was not read. The same form sent again
with the same Idempotency-Key gets the stored ones from the ledger and goes on with the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

from aiohttp import hdrs, web
from aiohttp.helpers import parse_mimetype
from multidict import CIMultiDict
from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from service.errors import Invalid, MediagateError, TooLarge, UnsupportedMedia
from service.model.api_key import Scope
from service.protocol.conditionals import parse_preconditions
from service.protocol.content_disposition import parse_filename
from service.protocol.digests import wanted_digests
from service.protocol.names import validate_key, validate_prefix
from service.usecases.authorize import authorize
from service.usecases.put_object import PutRequest, PutResult, put_object
from service.web.body import RequestBody
from service.web.describe import Form as FormBody
from service.web.fields import FORM_FIELDS
from service.web.files_answer import FilesAnswer
from service.web.json import answer
from service.web.state import PRINCIPAL, TARGET, runtime_of
from service.web.version_answer import VersionAnswer, shown
from service.web.writes import facts_of, idempotency_of, named_file

_FORWARDED = ("cache-control", "content-language", "x-tags")
_MAX_FIELDS = 100
_MAX_HEADERS = 16
_ENCODINGS = ("binary", "8bit", "7bit")
_MAX_AROUND_BYTES = 64 << 10
_DIGESTS = (hdrs.CONTENT_MD5, "Content-Digest", "Repr-Digest")


FORM = FormBody(FORM_FIELDS)


async def post_form(request: web.Request) -> web.Response:
    """201 where at least one name is new, else 200."""
    for name in _DIGESTS:
        if name in request.headers:
            raise Invalid(f"{name} of a form is not verified: send the files by PUT", field=name)
    form = Form(request)
    try:
        await form.store_all()
    except MediagateError as error:
        error.extras["stored"] = [item.model_dump(mode="json") for item in form.items()]
        raise
    if not form.results:
        raise Invalid("the form has no file in it")
    status = 201 if any(result.created for result in form.results) else 200
    items = form.items()
    return answer(FilesAnswer(items=items, created=len(items), failed=0), status=status)


class Form:
    """One form while it streams: the fields so far, and what was stored."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._limits = runtime_of(request).settings.limits
        self._parts = Parts(request, self._limits.max_form_files + _MAX_FIELDS)
        self._fields: CIMultiDict[str] = CIMultiDict()
        self._key: str | None = None
        self._prefix = ""
        self.results: list[PutResult] = []

    def items(self) -> list[VersionAnswer]:
        bucket = self._request[TARGET].bucket
        return [shown(bucket, result.version) for result in self.results]

    async def store_all(self) -> None:
        """Raises Invalid for a malformed form, and whatever the PUT of a file raises."""
        while (part := await self._parts.next()) is not None:
            disposition = part.header(hdrs.CONTENT_DISPOSITION, "")
            if not {"filename", "filename*"} & parse_options_header(disposition)[1].keys():
                await self._note(part)
                continue
            filename = parse_filename(disposition, form=True)
            if filename is None and self._key is None and await self._parts.is_empty():
                continue
            await self._store_or_tell(part, filename)

    async def _note(self, part: MultipartSegment) -> None:
        name = (part.name or "").lower()
        value = await self._text(name)
        if name == "key":
            self._key = validate_key(value)
        elif name == "prefix":
            self._prefix = validate_prefix(value)
        elif name in _FORWARDED or name.startswith("x-meta-"):
            self._fields[name] = value
        else:
            raise Invalid(f"a form has no field {name!r}", field=name)

    async def _text(self, name: str) -> str:
        limit = self._limits.max_form_field_bytes
        value = bytearray()
        async for chunk in self._parts.chunks():
            value += chunk
            if len(value) > limit:
                raise TooLarge(f"a form field has at most {limit} bytes", limit_bytes=limit)
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise Invalid("a form field is not UTF-8", field=name) from error

    async def _store_or_tell(self, part: MultipartSegment, filename: str | None) -> None:
        try:
            await self._store(part, filename)
        except MediagateError as error:
            error.extras["failed"] = {"ordinal": len(self.results), "filename": filename}
            raise

    async def _store(self, part: MultipartSegment, filename: str | None) -> None:
        request, ordinal = self._request, len(self.results)
        if ordinal >= self._limits.max_form_files:
            limit = self._limits.max_form_files
            raise TooLarge(f"a form has at most {limit} files", limit=limit)
        key = self._key_for(filename)
        principal, bucket = request[PRINCIPAL], request[TARGET].bucket
        authorize(principal, Scope.WRITE, bucket=bucket, key=key)
        fields = self._fields.copy()
        fields[hdrs.CONTENT_TYPE] = part.header(hdrs.CONTENT_TYPE, "")
        facts = facts_of(fields, self._limits)
        wanted = PutRequest(
            tenant=principal.tenant,
            bucket=bucket,
            key=key,
            facts=named_file(facts, filename) if filename else facts,
            preconditions=parse_preconditions(request.headers),
            wanted_digests=wanted_digests(request.headers),
            idempotency=idempotency_of(request, bucket, key, ordinal=ordinal),
        )
        result = await put_object(runtime_of(request), wanted, self._parts.chunks())
        if result.replayed:
            async for _ in self._parts.chunks():
                pass
        self.results.append(result)

    def _key_for(self, filename: str | None) -> str:
        key, self._key = self._key, None
        if key is not None:
            return key
        if filename is None:
            raise Invalid("a file needs a filename, or a `key` field before it")
        return validate_key(self._prefix + filename)


class Parts:
    """The parts of a form, one at a time, read no further than asked for.

    Strict about delimiters: a body that ends without the last one is Invalid, never a shorter file.
    """

    def __init__(self, request: web.Request, max_parts: int) -> None:
        try:
            self._parser = PushMultipartParser(
                _boundary_of(request),
                max_header_size=runtime_of(request).settings.limits.max_header_bytes,
                max_header_count=_MAX_HEADERS,
                max_segment_count=max_parts,
            )
        except MultipartError as error:
            raise Invalid("the boundary of the form is not valid") from error
        self._body = RequestBody(request)
        self._events: deque[MultipartSegment | bytes | None] = deque()
        self._around_bytes = 0

    async def next(self) -> MultipartSegment | None:
        """The next part's head, None at the end of the form; the part before must be read."""
        if not await self._fill():
            return None
        part = self._events.popleft()
        assert isinstance(part, MultipartSegment)
        encoding = part.header("Content-Transfer-Encoding", "binary").lower()
        if encoding not in _ENCODINGS:
            raise Invalid(f"Content-Transfer-Encoding {encoding!r} is not taken")
        return part

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the part at hand, as they are; nothing is decoded."""
        while await self._fill():
            event = self._events.popleft()
            if event is None:
                return
            assert not isinstance(event, MultipartSegment)
            yield event

    async def is_empty(self) -> bool:
        """Whether the part at hand has no bytes; it is passed over then."""
        await self._fill()
        empty = self._events[0] is None
        if empty:
            self._events.popleft()
        return empty

    async def _fill(self) -> bool:
        """Whether there is an event to take; False only after the last delimiter."""
        while not self._events:
            if self._parser.closed:
                return False
            chunk = await anext(self._body, b"")
            self._around_bytes += len(chunk)
            try:
                self._events.extend(self._parser.parse(chunk))
            except ParserLimitReached as error:
                raise TooLarge(f"the form is over a limit: {error}") from error
            except (MultipartError, UnicodeDecodeError) as error:
                raise Invalid(f"the form is not well-formed: {error}") from error
            if self._around_bytes > _MAX_AROUND_BYTES and not self._events:
                raise TooLarge("there is too much before or after the parts of the form")
        self._around_bytes = 0
        return True


def _boundary_of(request: web.Request) -> str:
    if request.content_type != "multipart/form-data":
        raise UnsupportedMedia("send multipart/form-data")
    mimetype = parse_mimetype(request.headers[hdrs.CONTENT_TYPE])
    boundary = mimetype.parameters.get("boundary", "")
    if not 1 <= len(boundary) <= 70:
        raise Invalid("the form has no boundary", field=hdrs.CONTENT_TYPE)
    return boundary
