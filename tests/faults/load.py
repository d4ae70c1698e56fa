"""Load that remembers what it was promised, and the judge who compares that with what is there.

Every body is a header that names it and a slice of one block of random bytes, so that neither
another body's bytes nor parts in another order could pass for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.e2e.installation import AUTHORIZED

MIB = 1 << 20
BUCKET = "/v1/buckets/faults"
PART_BYTES = 5 * MIB
SIZES = (10, 70_000, 300_000, 40_000, 1 * MIB, PART_BYTES + 500_000)
"""The last one is a multipart upload of two parts."""
PIECE_BYTES = 128 << 10
GIVE_UP_S = 120.0
_READS_AT_ONCE = 8
_BLOCK = random.Random(7).randbytes(16 * MIB)


def body_of(name: str, size: int) -> bytes:
    header = f"{name}\n".encode()
    offset = random.Random(name).randrange(len(_BLOCK) - 8 * MIB)
    return (header + _BLOCK[offset : offset + size])[: max(size, len(header))]


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def once(session: ClientSession) -> ClientSession:
    """aiohttp repeats a PUT by itself when its connection breaks; there is no public switch."""
    session._retry_connection = False
    return session


@dataclass
class Load:
    """Uploads from `workers` clients at once until told to stop.

    url: where to, asked for before each request. pause_s: the longest wait between two pieces.
    acknowledged: key -> digest of the last content that was answered 2xx. possible: key -> digests
    of later contents whose answer is not known. repeated: keys sent with an Idempotency-Key, again
    and again until acknowledged.
    """

    url: Callable[[], str]
    name: str = "a"
    workers: int = 16
    sizes: tuple[int, ...] = SIZES
    pause_s: float = 0.02
    acknowledged: dict[str, str] = field(default_factory=dict)
    possible: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    repeated: set[str] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    acks: int = 0
    in_flight: int = 0
    slowest_s: float = 0.0
    last_ack_at: float = 0.0
    stopping: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._work(number)) for number in range(self.workers)]

    async def stop(self) -> None:
        """Let every upload under way get its answer."""
        self.stopping = True
        await asyncio.gather(*self._tasks)

    async def acknowledges(self, more: int, *, within_s: float = 60) -> float:
        """Wait for so many more acknowledged uploads; returns how long that took, in seconds."""
        began, goal = time.monotonic(), self.acks + more
        while self.acks < goal:
            assert time.monotonic() - began < within_s, f"no acknowledgements: {self.answers}"
            await asyncio.sleep(0.01)
        return time.monotonic() - began

    async def _work(self, worker: int) -> None:
        dice = random.Random(f"{self.name}/{worker}")
        async with ClientSession(
            headers=AUTHORIZED, timeout=ClientTimeout(total=GIVE_UP_S)
        ) as http:
            for number in range(1_000_000):
                if self.stopping:
                    return
                size = self.sizes[(worker + number) % len(self.sizes)]
                kind = ("new", "repeated", "new", "hot")[number % 4]
                key = f"{self.name}/w{worker}/{'hot' if kind == 'hot' else number}"
                body = body_of(f"{key}:{number}", size)
                chunked = dice.random() < 0.5
                if kind == "repeated":
                    await self._until_acknowledged(once(http), key, body, chunked=chunked)
                elif not await self._send(once(http), key, body, chunked=chunked):
                    await asyncio.sleep(0.05)

    async def _until_acknowledged(
        self, http: ClientSession, key: str, body: bytes, *, chunked: bool
    ) -> None:
        self.repeated.add(key)
        while not self.stopping:
            if await self._send(http, key, body, chunked=chunked, idempotent=True):
                return
            await asyncio.sleep(0.2)

    async def _send(
        self,
        http: ClientSession,
        key: str,
        body: bytes,
        *,
        chunked: bool,
        idempotent: bool = False,
    ) -> bool:
        headers = {} if chunked else {"Content-Length": str(len(body))}
        if idempotent:
            headers["Idempotency-Key"] = key
        digest, began, answer = digest_of(body), time.monotonic(), "cut"
        self.possible[key].add(digest)
        self.in_flight += 1
        try:
            async with http.put(
                f"{self.url()}{BUCKET}/objects/{key}", data=self._pieces(body), headers=headers
            ) as response:
                answer = str(response.status)
                await response.read()
        except (ClientError, ConnectionError):
            pass
        except TimeoutError:
            answer = "no answer"
        finally:
            self.in_flight -= 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.answers[answer] += 1
        if answer not in ("200", "201"):
            return False
        self.acknowledged[key] = digest
        self.possible[key].clear()
        self.acks += 1
        self.last_ack_at = time.monotonic()
        return True

    async def _pieces(self, body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), PIECE_BYTES):
            yield body[start : start + PIECE_BYTES]
            if self.pause_s:
                await asyncio.sleep(random.uniform(0, self.pause_s))


@dataclass
class Verdict:
    """read_back: acknowledged keys whose bytes are right. lost, wrong, strange: keys that are
    absent, have bytes that nobody acknowledged or sent, or that nobody sent at all."""

    read_back: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    listed: int = 0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.wrong or self.strange)


async def judge(url: str, load: Load) -> Verdict:
    """Read everything back through the service."""
    verdict = Verdict()
    async with ClientSession(url, headers=AUTHORIZED) as http:
        present = set(await listed_keys(http, load.name))
        verdict.listed = len(present)
        verdict.lost = sorted(set(load.acknowledged) - present)
        verdict.strange = sorted(present - set(load.possible))
        gate = asyncio.Semaphore(_READS_AT_ONCE)

        async def check(key: str) -> None:
            async with gate, http.get(f"{BUCKET}/objects/{key}") as response:
                found = digest_of(await response.read()) if response.status == 200 else None
            if found is not None and found == load.acknowledged.get(key):
                verdict.read_back += 1
            elif found not in load.possible[key]:
                verdict.wrong.append(f"{key}: {response.status}")
            elif key in load.acknowledged:
                verdict.read_back += 1  # a later content, sent and not answered

        await asyncio.gather(*(check(key) for key in sorted(present & set(load.possible))))
    return verdict


async def listed_keys(http: ClientSession, prefix: str) -> list[str]:
    keys: list[str] = []
    params = {"limit": "1000", "prefix": f"{prefix}/"}
    while True:
        async with http.get(f"{BUCKET}/objects", params=params) as response:
            page = await response.json()
        keys += [item["key"] for item in page["items"]]
        if page["next"] is None:
            return keys
        params["cursor"] = page["next"]


def duplicates(created: Counter[str], load: Load) -> list[str]:
    """Keys sent under one Idempotency-Key that changed more than once, by their events."""
    return sorted(key for key in load.repeated if created[key] > 1)


async def until(
    holds: Callable[[], Awaitable[bool]], *, within_s: float, every_s: float = 0.1
) -> float:
    """Wait until it holds; returns after how many seconds."""
    began = time.monotonic()
    while not await holds():
        assert time.monotonic() - began < within_s, "it did not come true in time"
        await asyncio.sleep(every_s)
    return time.monotonic() - began


@dataclass
class ReadinessLog:
    """Asks /readyz without a pause and notes when the answer changes."""

    url: str
    changes: list[tuple[float, int]] = field(default_factory=list)
    slowest_s: float = 0.0

    async def run(self) -> None:
        async with ClientSession(self.url, timeout=ClientTimeout(total=30)) as http:
            while True:
                began, status = time.monotonic(), 0
                with suppress(ClientError, TimeoutError):
                    async with http.get("/readyz") as response:
                        status = response.status
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                if not self.changes or self.changes[-1][1] != status:
                    self.changes.append((time.monotonic(), status))
                await asyncio.sleep(0.1)

    def first(self, status: int, *, after: float) -> float | None:
        """Seconds from `after` to the first such answer since then."""
        return next(
            (at - after for at, found in self.changes if at >= after and found == status), None
        )
