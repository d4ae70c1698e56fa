"""Users who upload, seek, download, list and delete, and who check every byte that they get.

    make load USERS=50 TIME=5m URL=https://files.example.org KEY=mg_…

Everything lies in a bucket made for the run, or under a prefix of `--bucket`, and is deleted at its
end. What a user should find is known from the names, so nothing is kept in memory. Wrong bytes,
wrong sizes and listings that lack or invent an object are failures like any bad status, and one
failure is enough for an exit code of 1.
"""

from __future__ import annotations

import random
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from urllib.parse import quote

import requests
from locust import HttpUser, between, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from tests.load.content import CHUNK_BYTES, Known, difference, parse_size, pieces

KIB, MIB = 1 << 10, 1 << 20
SIZES = (4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB)
"""The largest of each class; each is half as common as the one before."""
KEPT = 12
"""Objects that a user has at a time."""
PAGE = 5
SEEKS = 4
MAX_SEEK_BYTES = MIB
PATIENCE_S = 60
"""Between two bytes, and for what the service still commits when the users are gone."""

NUMBERS = count()


class Place:
    """Where this run may write: a bucket of its own, or a prefix in one that is there."""

    bucket = ""
    prefix = ""
    made = False

    @property
    def path(self) -> str:
        return f"/v1/buckets/{self.bucket}"

    def objects(self, key: str = "") -> str:
        return f"{self.path}/objects" + (f"/{quote(key)}" if key else "")


PLACE = Place()


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--key", env_var="MEDIAGATE_KEY", is_secret=True, help="the API key")
    parser.add_argument("--bucket", default="", help="write here, below a prefix of the run's own")
    parser.add_argument("--max-size", type=parse_size, default=SIZES[-1], help="16MiB, 1GiB, …")


@events.test_start.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, MasterRunner | WorkerRunner):
        sys.exit("this load test is one process; start several for more")
    run = f"load-{secrets.token_hex(4)}"
    bucket = environment.parsed_options.bucket
    try:
        with _session(environment) as session:
            if bucket:
                _sent(session, environment, "GET", f"/v1/buckets/{bucket}", {200})
            else:
                _sent(session, environment, "PUT", f"/v1/buckets/{run}", {201})
    except (requests.RequestException, RuntimeError) as error:
        sys.exit(f"cannot begin: {error}")
    PLACE.bucket, PLACE.prefix, PLACE.made = bucket or run, f"{run}/", not bucket


@events.test_stop.add_listener
def clean_up(environment: Environment, **_: Any) -> None:
    """Delete until nothing is there: what was cut off at the end may still be committed."""
    if not PLACE.bucket:
        return
    deadline, problem = time.monotonic() + PATIENCE_S, "objects come and come"
    while time.monotonic() < deadline:
        try:
            with _session(environment) as session:
                if _emptied(session, environment):
                    return
        except (requests.RequestException, RuntimeError) as error:
            problem = str(error)
        time.sleep(0.5)
    print(f"objects are left in {PLACE.bucket}/{PLACE.prefix}: {problem}", file=sys.stderr)
    environment.process_exit_code = 1


def _emptied(session: requests.Session, environment: Environment) -> bool:
    query = {"prefix": PLACE.prefix, "limit": "1000"}
    items = _sent(session, environment, "GET", PLACE.objects(), {200}, params=query).json()["items"]
    for item in items:
        _sent(session, environment, "DELETE", PLACE.objects(item["key"]), {204})
    if items:
        return False
    if PLACE.made:
        return _sent(session, environment, "DELETE", PLACE.path, {204, 409}).status_code == 204
    return True


@contextmanager
def _session(environment: Environment) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {environment.parsed_options.key}"
        yield session


def _sent(
    session: requests.Session,
    environment: Environment,
    method: str,
    path: str,
    expected: set[int],
    **more: Any,
) -> requests.Response:
    """Apart from the statistics. Raises RuntimeError for another status."""
    host = str(environment.host).rstrip("/")
    response = session.request(method, host + path, timeout=PATIENCE_S, **more)
    if response.status_code not in expected:
        raise RuntimeError(f"{method} {path}: {response.status_code} {response.text[:300]}")
    return response


class MediaUser(HttpUser):
    """One who works through a folder of their own; so each knows what must be there."""

    wait_time = between(0, 0.1)

    def on_start(self) -> None:
        options = self.environment.parsed_options
        # No forward proxy between the users and what is measured, and no key but this one (.netrc).
        self.client.trust_env = False
        self.client.headers["Authorization"] = f"Bearer {options.key}"
        self.client.headers["Accept-Encoding"] = "identity"
        self.sizes = [size for size in SIZES if size <= options.max_size] or [options.max_size]
        self.random = random.Random()
        self.folder = f"{PLACE.prefix}{next(NUMBERS)}/"
        self.kept: dict[str, int] = {}
        self.names = count()

    # --- what users do ---

    @task(4)
    def upload(self) -> None:
        key, size = self._next()
        self._put("known length", key, size, Known(key, size))

    @task(2)
    def upload_of_unknown_length(self) -> None:
        key, size = self._next()
        self._put("unknown length", key, size, pieces(key, 0, size))

    @task(4)
    def download(self) -> None:
        key = self._any()
        if key:
            self._read("whole", key, 0, self.kept[key])

    @task(4)
    def seek(self) -> None:
        """As a player does: the end first, where the index is, then here and there."""
        key = self._any()
        if not key:
            return
        size = self.kept[key]
        self._read("seek", key, max(0, size - 4 * KIB), size, f"bytes=-{4 * KIB}")
        for _ in range(SEEKS):
            start = self.random.randrange(size)
            end = min(size, start + self.random.randint(1, MAX_SEEK_BYTES))
            self._read("seek", key, start, end, f"bytes={start}-{end - 1}")

    @task(2)
    def list_own_folder(self) -> None:
        """By pages to the end: exactly what was stored and not deleted, in order, with its size."""
        found = [
            (item["key"], item["size_bytes"])
            for page in self._pages("prefix", prefix=self.folder)
            for item in page["items"]
        ]
        if found != sorted(self.kept.items()):
            self._fail("LIST", "prefix", f"found {len(found)} objects, stored {len(self.kept)}")

    @task(1)
    def list_folders(self) -> None:
        found = [
            prefix
            for page in self._pages("folders", prefix=PLACE.prefix, delimiter="/")
            for prefix in page["prefixes"]
        ]
        if found != sorted(set(found)) or (self.folder in found) != bool(self.kept):
            self._fail("LIST", "folders", "the folder of this user is missing, or twice there")

    @task(2)
    def delete(self) -> None:
        key = self._any()
        if key:
            self._delete(key)

    # --- how ---

    def _next(self) -> tuple[str, int]:
        """A key and a size: a new key, or one time in five another content for an old one."""
        while len(self.kept) >= KEPT:
            if not self._delete(next(iter(self.kept))):
                break
        weights = [2.0**-place for place in range(len(self.sizes))]
        (largest,) = self.random.choices(self.sizes, weights)
        size = self.random.randint(largest // 2 if largest > SIZES[0] else largest, largest)
        old = self._any() if self.random.random() < 0.2 else None
        return old or f"{self.folder}{next(self.names):06} é.bin", size

    def _any(self) -> str | None:
        return self.random.choice(list(self.kept)) if self.kept else None

    def _put(self, name: str, key: str, size: int, body: Any) -> None:
        with self._request("PUT", PLACE.objects(key), "UPLOAD", name, data=body) as response:
            if response.status_code not in (200, 201):
                # Whether it is there is unknown after a 503: the key is given up.
                self._forget(key)
                response.failure(_told(response))
            elif response.json()["size_bytes"] != size:
                response.failure(f"stored {response.json()['size_bytes']} bytes of {size}")
            else:
                self.kept.pop(key, None)
                self.kept[key] = size

    def _read(self, name: str, key: str, start: int, end: int, asked: str | None = None) -> None:
        headers = {"Range": asked} if asked else {}
        path, began = PLACE.objects(key), time.perf_counter()
        with self._request("GET", path, "DOWNLOAD", name, headers=headers, stream=True) as response:
            try:
                problem = _wrong(response, key, start, end, ranged=asked is not None)
            except requests.RequestException as error:
                problem = f"the body broke off: {type(error).__name__}"
            response.request_meta["response_time"] = (time.perf_counter() - began) * 1000
            if problem:
                response.close()
                response.failure(problem)

    def _delete(self, key: str) -> bool:
        with self._request("DELETE", PLACE.objects(key), "DELETE", "object") as response:
            if response.status_code != 204:
                response.failure(_told(response))
                self._forget(key)
                return False
        self.kept.pop(key, None)
        return True

    def _forget(self, key: str) -> None:
        """Nobody knows what is there now, so this user moves on to a folder where everything is."""
        self.kept.clear()
        self.folder = f"{PLACE.prefix}{next(NUMBERS)}/"

    def _pages(self, name: str, **query: str) -> Iterator[dict[str, Any]]:
        query["limit"] = str(PAGE)
        while True:
            with self._request("GET", PLACE.objects(), "LIST", name, params=query) as response:
                if response.status_code != 200:
                    response.failure(_told(response))
                    return
                page = response.json()
            yield page
            if page["next"] is None:
                return
            query["cursor"] = page["next"]

    def _request(self, method: str, path: str, kind: str, name: str, **more: Any) -> Any:
        """Counted as `kind name`, whatever its path."""
        response = self.client.request(
            method, path, name=name, catch_response=True, timeout=PATIENCE_S, **more
        )
        response.request_meta["request_type"] = kind
        return response

    def _fail(self, kind: str, name: str, problem: str) -> None:
        """A failure of several answers together."""
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=0,
            response_length=0,
            exception=AssertionError(problem),
            context={},
        )


def _wrong(response: Any, key: str, start: int, end: int, *, ranged: bool) -> str | None:
    """What is wrong with an answer that should bring bytes [start, end) of an object."""
    if response.status_code != (206 if ranged else 200):
        return _told(response)
    if ranged:
        told = re.fullmatch(r"bytes (\d+)-(\d+)/\d+", response.headers.get("Content-Range", ""))
        if told is None or (int(told[1]), int(told[2]) + 1) != (start, end):
            return "another range than was asked for"
    position = start
    for chunk in response.iter_content(CHUNK_BYTES):
        if position + len(chunk) > end:
            return "more bytes than there are"
        if difference(key, position, chunk) is not None:
            return "wrong bytes"
        position += len(chunk)
    return None if position == end else "the body is too short"


def _told(response: Any) -> str:
    """The status and the problem's code, so that failures of a kind are counted together."""
    try:
        code = response.json()["code"]
    except (ValueError, KeyError, TypeError):
        code = response.reason or "no answer"
    return f"{response.status_code} {code}"
