"""One HTTP session with the service: paths, the key, time limits, errors in our words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from json import dumps
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientHandlerType,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    InvalidURL,
    ServerDisconnectedError,
    TCPConnector,
)
from multidict import MultiMapping
from pydantic import BaseModel, ValidationError
from yarl import URL

from service.client.patience import Notice, Patience
from service.client.problems import UnexpectedAnswer, error_of, unreachable
from service.errors import Invalid, StoreUnavailable
from service.protocol.names import validate_bucket_name, validate_key

_PATH_SAFE = "/!$&'()*+,;=:@~"
_MAX_JSON_BYTES = 64 << 20
A = TypeVar("A", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """connect_s: until there is a connection. idle_s: the longest silence in a transfer.

    request_s: a small request as a whole. work_s: one that the service works at: a copy, a move, a
    restore, the deletion of many keys. patience_s: how long it is tried again without progress,
    longer than an upload whose service was killed takes to be settled (lease and sweeper, 90 s).
    """

    connect_s: float = 10
    idle_s: float = 60
    request_s: float = 60
    work_s: float = 3600
    patience_s: float = 120


class Reply(NamedTuple):
    body: bytes
    headers: MultiMapping[str]


class Connection:
    """Made inside a running loop; `close` it. on_retry: told before each pause."""

    def __init__(
        self, url: str, key: str, timeouts: Timeouts, on_retry: Notice | None = None
    ) -> None:
        self.base = _base(url)
        self.timeouts = timeouts
        self._on_retry = on_retry
        # Bytes come as they are stored: nothing may be decoded on the way.
        headers = {"Accept-Encoding": "identity", "User-Agent": "mediagate"}
        # No header of the session: that would go to wherever a redirect leads.
        self._key = {"Authorization": f"Bearer {key}"} if key else {}
        self._session = ClientSession(
            connector=TCPConnector(limit=0),
            headers=headers,
            auto_decompress=False,
            timeout=ClientTimeout(total=None, sock_connect=timeouts.connect_s),
            middlewares=(_once,),
        )

    @property
    def transfer_timeout(self) -> ClientTimeout:
        """For a body of any length: no end, but no long silence either."""
        return ClientTimeout(
            total=None,
            sock_connect=self.timeouts.connect_s,
            sock_read=self.timeouts.idle_s,
        )

    async def close(self) -> None:
        await self._session.close()

    def patience(self) -> Patience:
        return Patience(self.timeouts.patience_s, self._on_retry)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        redirects: bool = False,
        **more: Any,
    ) -> AsyncIterator[ClientResponse]:
        """A response of status 2xx. path: from the root, encoded. more: `data`, `expect100`, ….

        redirects: a 307 of the service is an answer too, and is not followed here.

        Raises the error that the service tells, or Unreachable, also from inside the block.
        """
        url = URL(self.base + path + (f"?{urlencode(query)}" if query else ""), encoded=True)
        with self.translated():
            async with self._session.request(
                method,
                url,
                headers={**self._key, **(headers or {})},
                allow_redirects=False,
                **more,
            ) as response:
                if response.status >= 300 and not (redirects and _is_ours(response)):
                    raise await error_of(response)
                yield response

    @asynccontextmanager
    async def follow(
        self, redirect: ClientResponse, headers: Mapping[str, str]
    ) -> AsyncIterator[ClientResponse]:
        """GET what a redirect points to, without the key: it is none of the target's business.

        Raises as `request` does; no message tells the URL, which may be signed.
        """
        try:
            target = redirect.url.join(URL(redirect.headers["Location"], encoded=True))
        except (KeyError, ValueError) as error:
            raise UnexpectedAnswer("the answer is a redirect to nowhere") from error
        if target.scheme not in ("http", "https"):
            raise UnexpectedAnswer("the answer is a redirect to no web server")
        with self.translated(str(target.origin())):
            async with self._session.get(
                target, headers=headers, allow_redirects=False, timeout=self.transfer_timeout
            ) as response:
                if response.status == HTTPStatus.INTERNAL_SERVER_ERROR:  # S3's "try again"
                    raise StoreUnavailable("the store answers 500")
                if response.status >= 300:
                    raise await error_of(response)
                yield response

    @contextmanager
    def translated(self, url: str | None = None) -> Iterator[None]:
        """aiohttp's errors, and a TimeoutError, become Unreachable. url: None for the service's."""
        url = url or self.base
        try:
            yield
        except InvalidURL as error:
            raise Invalid(f"{url!r} is no URL of a service") from error
        except (ClientConnectorError, ConnectionTimeoutError) as error:
            raise unreachable(error, url, connected=False) from error
        except (ClientError, TimeoutError) as error:
            raise unreachable(error, url, connected=True) from error

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        long: bool = False,
        **more: Any,
    ) -> Reply:
        """A small request, once; its whole answer. json: its body. long: it may take `work_s`."""
        total_s = self.timeouts.work_s if long else self.timeouts.request_s
        timeout = ClientTimeout(total=total_s, sock_connect=self.timeouts.connect_s)
        if json is not None:
            more["data"] = dumps(json).encode()
            headers = {"Content-Type": "application/json", **(headers or {})}
        async with self.request(method, path, headers=headers, timeout=timeout, **more) as response:
            body = await response.content.read(_MAX_JSON_BYTES)
            while chunk := await response.content.read(_MAX_JSON_BYTES - len(body)):
                body += chunk
            return Reply(body, response.headers)

    async def read(self, path: str, model: type[A], **more: Any) -> A:
        """GET of JSON, tried again while the service is out of reach."""
        patience = self.patience()
        while True:
            try:
                return parse((await self.send("GET", path, **more)).body, model)
            except patience.errors as error:
                await patience.wait(error)


async def _once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from sending a PUT or a DELETE again by itself: when that is safe is known here
    only. It does so after these two errors."""
    try:
        return await handler(request)
    except ClientConnectorError:
        raise
    except (ClientOSError, ServerDisconnectedError) as error:
        raise unreachable(error, str(request.url.origin()), connected=True) from error


def _is_ours(response: ClientResponse) -> bool:
    """A redirect of a download tells the version; one of a proxy in between does not."""
    return response.status == 307 and "ETag" in response.headers


def parse(body: bytes, model: type[A]) -> A:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UnexpectedAnswer(
            f"that is no answer of a Mediagate service: {where} {first['msg']}".strip()
        ) from error


def bucket_path(bucket: str) -> str:
    return f"/v1/buckets/{validate_bucket_name(bucket)}"


def object_path(bucket: str, key: str, resource: str = "objects") -> str:
    """resource: `objects` for the bytes, `metadata` for the facts."""
    return f"{bucket_path(bucket)}/{resource}/{quote(validate_key(key), safe=_PATH_SAFE)}"


def _base(url: str) -> str:
    parsed = URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Invalid(f"{url!r} is no http or https URL")
    return url.rstrip("/")
