"""Real processes, really killed, frozen, filled up and lied to, under load.

`make test` runs short forms; `make faults N=300` runs as many rounds as it says (and freezes for
60 s) and writes a report. What "nothing lost, nothing leaked" means is the same in all of them, in
`World.settle_and_judge`: every acknowledged upload is read back by digest, nothing stands there
that nobody sent, and after the sweeps the store's data folder holds exactly the blobs of the
versions in the database.
"""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.e2e.installation import AUTHORIZED, Process
from tests.faults.chaos import Cut, DropAnswer, Refuse, chaos_proxy, request_line, saying
from tests.faults.engines import InMongo
from tests.faults.load import (
    BUCKET,
    MIB,
    PART_BYTES,
    Load,
    ReadinessLog,
    body_of,
    until,
)
from tests.faults.real_world import LONG, ROUNDS, World, rounds
from tests.faults.report import Report
from tests.faults.servers import Servers, running_servers

MIN_IN_FLIGHT = 8
EXIT_S = 0.3
"""What the system needs to start a signal's handler and to take a process down."""
ENGINES = ("mongo", "sqlite")
ONLY_ON_MONGO = {
    "test_f7_lost_answers_of_complete_and_commit_lose_and_double_nothing": (
        "no answer is lost between a process and its file; lost answers of the store are in "
        "test_broken_networks_on_both_sides_lose_and_leak_nothing"
    ),
    "test_f8_failovers_lose_nothing": "a file has no primary that steps down",
}
"""What is not run on SQLite, and why. To kill or freeze the database is to kill or freeze the
service there, which F1 and F9 do."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200 if LONG else 150)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test on both engines, and those that name a server on each that there is."""
    if "engine" not in metafunc.fixturenames:
        return
    engines = ENGINES[:1] if metafunc.function.__name__ in ONLY_ON_MONGO else ENGINES
    if server := {"killed", "frozen"} & {*metafunc.fixturenames}:
        cases = [(engine, each) for engine in engines for each in ("s3", "mongo")]
        pairs = [case for case in cases if case != ("sqlite", "mongo")]
        metafunc.parametrize(("engine", server.pop()), pairs)
    else:
        metafunc.parametrize("engine", engines)


def test_the_table_of_what_is_left_out_names_tests() -> None:
    assert all(callable(globals()[name]) and reason for name, reason in ONLY_ON_MONGO.items())


async def test_f1_a_killed_service_loses_and_leaks_nothing(world: World) -> None:
    kills, in_flight = rounds(3), []
    by_state: Counter[str] = Counter()
    await world.serve()
    await world.make_bucket()
    load = Load(lambda: world.url)
    dice = random.Random(11)
    load.start()
    for number in range(kills):
        since = datetime.now(UTC)
        standby = asyncio.create_task(asyncio.to_thread(world.installation.start))
        await load.acknowledges(10)
        if number % 2:
            await _seen_completing(world, since)
        else:
            await asyncio.sleep(dice.uniform(0, 0.5))
        await until(lambda: _reached(load), within_s=30, every_s=0.001)
        in_flight.append(load.in_flight)
        assert world.current is not None
        world.current.kill()
        by_state.update(set(await world.kept.unfinished(since)) or {"none"})
        world.current = await standby
    await load.acknowledges(5)
    await load.stop()
    world.report.add(
        "F1",
        kills=kills,
        least_in_flight=min(in_flight),
        kills_by_ledger_state=dict(by_state),
    )
    await world.settle_and_judge(load, bar="F1")
    assert min(in_flight) >= MIN_IN_FLIGHT
    assert by_state["open"] + by_state["completing"] > 0


async def _reached(load: Load) -> bool:
    return load.in_flight >= MIN_IN_FLIGHT


async def _seen_completing(world: World, since: datetime, patience_s: float = 3) -> None:
    give_up = time.monotonic() + patience_s
    while time.monotonic() < give_up:
        if (await world.kept.unfinished(since))["completing"]:
            return


async def test_f2_a_killed_store_loses_nothing_and_is_back_at_once(
    world: World, killed: str
) -> None:
    kills, recovered = rounds(1, 5), []
    server = getattr(world.servers, killed)
    await world.serve()
    await world.make_bucket()
    load = Load(lambda: world.url)
    load.start()
    for _ in range(kills):
        await load.acknowledges(15)
        await until(lambda: _reached(load), within_s=30, every_s=0.001)
        server.kill()
        await asyncio.sleep(0.2)
        await server.come_back()
        recovered.append(await load.acknowledges(1, within_s=60))
    await load.acknowledges(5)
    await load.stop()
    world.report.add(
        f"F2 {killed}", kills=kills, slowest_recovery_s=max(recovered), slowest_s=load.slowest_s
    )
    await world.settle_and_judge(load, bar=f"F2 {killed}")
    assert max(recovered) <= 10


async def test_f3_a_frozen_store_gives_bounded_503s_and_shows_in_readiness(
    world: World, frozen: str
) -> None:
    seconds = 60.0 if LONG else 6.0
    s3_s, metadata_s, commit_s = (30, 10, 20) if LONG else (2, 2, 3)
    deadlines = {
        "S3__REQUEST_TIMEOUT_S": s3_s,
        "METADATA__TIMEOUT_S": metadata_s,
        "METADATA__COMMIT_TIMEOUT_S": commit_s,
    }
    # The longest way through one frozen store: a call, with a second for each MiB of its body, and
    # the question what came of it.
    part_s = PART_BYTES / MIB
    longest_s = 2 * s3_s + part_s if frozen == "s3" else commit_s + 2 * metadata_s
    await world.serve(**deadlines)
    await world.make_bucket()
    load = Load(lambda: world.url)
    readiness = ReadinessLog(world.url)
    watching = asyncio.create_task(readiness.run())
    load.start()
    await load.acknowledges(10)
    answers, load.slowest_s = Counter(load.answers), 0.0
    with getattr(world.servers, frozen).frozen():
        froze_at = time.monotonic()
        opened_s = await until(lambda: _shedding(world.url), within_s=seconds)
        shed_s = [await _shed_s(world.url, number) for number in range(10)]
        await asyncio.sleep(max(froze_at + seconds - time.monotonic(), 0))
    thawed_at = time.monotonic()
    acknowledged_s = await load.acknowledges(1)
    await load.acknowledges(5)

    async def ready_again() -> bool:
        return readiness.first(200, after=thawed_at) is not None

    await until(ready_again, within_s=10)  # its answer is cached for a moment: uploads are quicker
    down_s, up_s = readiness.first(503, after=froze_at), readiness.first(200, after=thawed_at)
    await load.stop()
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    during = load.answers - answers
    world.report.add(
        f"F3 {frozen}",
        frozen_s=seconds,
        unready_after_s=down_s,
        ready_again_after_s=up_s,
        slowest_readiness_answer_s=readiness.slowest_s,
        breaker_opened_after_s=opened_s,
        slowest_answer_when_open_s=max(shed_s),
        acknowledged_again_after_s=acknowledged_s,
        slowest_request_s=load.slowest_s,
        longest_deadline_s=longest_s,
        answers_meanwhile=dict(during),
    )
    await world.settle_and_judge(load, bar=f"F3 {frozen}")
    assert down_s is not None
    assert down_s <= 5
    assert up_s is not None
    assert up_s <= 5
    assert max(shed_s) < 1
    assert acknowledged_s <= 5
    assert during["503"] > 0
    assert set(during) <= {"200", "201", "409", "503"}
    assert load.slowest_s <= longest_s + 3


async def _shedding(url: str) -> bool:
    """Whether a breaker is open, by the metrics."""
    async with ClientSession(url) as http, http.get("/metrics") as response:
        return re.search(r"^mediagate_breaker_open{.*} 1", await response.text(), re.M) is not None


async def _shed_s(url: str, number: int) -> float:
    """An upload that arrives while a breaker is open; how long its answer took, in seconds."""
    began = time.monotonic()
    async with (
        ClientSession(url, headers=AUTHORIZED) as http,
        http.put(f"{BUCKET}/objects/shed/{number}", data=BytesIO(b"x" * MIB)) as response,
    ):
        assert response.status == 503
        assert int(response.headers["Retry-After"]) >= 1
        assert "does not answer" in (await response.json())["detail"]
    return time.monotonic() - began


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs that is soon full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tmpfs cannot be mounted here: {error}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_f4_a_full_disk_is_told_and_heals(
    small_disk: Path, tmp_path: Path, report: Report, engine: str
) -> None:
    with running_servers(tmp_path / "servers", s3_folder=small_disk / "s3") as servers:
        world = World(servers, tmp_path, report, engine)
        full = {507} if servers.kind == "minio" else {503, 507}
        try:
            # One PutObject each: by parts, one run of eight ended in a 503, never seen again.
            process = await world.serve(UPLOADS__LARGE_PART_BYTES=8 * MIB)
            await world.make_bucket()
            async with ClientSession(world.url, headers=AUTHORIZED) as http:
                kept, answers = await _fill(http)
                assert answers[-1] in full, process.events("store_trouble")
                for key in kept:
                    async with http.get(f"{BUCKET}/objects/{key}") as response:
                        assert await response.read() == body_of(key, 7 * MIB)
                deleted = kept[::2]
                for key in deleted:
                    async with http.delete(f"{BUCKET}/objects/{key}") as response:
                        assert response.status == 204
                await asyncio.sleep(0.5)
                swept = await asyncio.to_thread(world._sweep)
                healed_s = await until(lambda: _put(http, "after", MIB), within_s=30, every_s=0.5)
            load = Load(lambda: world.url)
            load.name = "full"
            world.report.add(
                "F4",
                store=servers.kind,
                answer_when_full=answers[-1],
                kept_and_readable=len(kept),
                blobs_deleted=swept["blobs_deleted"],
                healed_after_s=healed_s,
            )
            load.acknowledged = {}
            async with ClientSession(world.url, headers=AUTHORIZED) as http:
                for key in kept[1::2]:
                    async with http.get(f"{BUCKET}/objects/{key}") as response:
                        assert await response.read() == body_of(key, 7 * MIB)
            await world.settle_and_judge(load, bar="F4")
        finally:
            world.installation.kill_all()


async def test_f4_a_full_disk_of_the_metadata_is_told_and_heals(
    small_disk: Path, servers: Servers, tmp_path: Path, report: Report
) -> None:
    world = World(servers, tmp_path, report, "sqlite")
    try:
        process = await world.serve(METADATA__URL=f"sqlite:///{small_disk}/metadata.sqlite3")
        await world.make_bucket()
        ballast = small_disk / "ballast"
        await asyncio.to_thread(_leave, small_disk, ballast, 1 << 20)
        kept: list[str] = []
        async with ClientSession(world.url, headers=AUTHORIZED) as http:
            for number in range(3000):
                key = f"small/{number}"
                data = body_of(key, 100)
                async with http.put(f"{BUCKET}/objects/{key}", data=data) as response:
                    if response.status != 201:
                        break
                    kept.append(key)
            assert response.status == 507, process.events("store_trouble")
            for key in kept:
                async with http.get(f"{BUCKET}/objects/{key}") as response:
                    assert await response.read() == body_of(key, 100)
            ballast.unlink()
            healed_s = await until(lambda: _put(http, "after", 100), within_s=10)
            async with http.get(f"{BUCKET}/objects?limit=1000") as response:
                listed = [item["key"] for item in (await response.json())["items"]]
            assert {*listed} <= {*kept, "after"}
            assert len(listed) == min(len(kept) + 1, 1000)
        report.add("F4 metadata", kept_and_readable=len(kept), healed_after_s=healed_s)
    finally:
        world.installation.kill_all()


def _leave(disk: Path, ballast: Path, room: int) -> None:
    """Fill the disk up to so many bytes."""
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - room))


async def _fill(http: ClientSession) -> tuple[list[str], list[int]]:
    """Upload until the store has no room; what was kept, and every status.

    MinIO now and then cuts the connection of the one that meets the full disk, and of its retries:
    that is an outcome which nobody knows, and the next one is told 507.
    """
    kept, answers = [], []
    for number in range(60):
        key = f"filling/{number}"
        async with http.put(
            f"{BUCKET}/objects/{key}", data=BytesIO(body_of(key, 7 * MIB))
        ) as response:
            answers.append(response.status)
        if answers[-1] == 507 or answers.count(503) > 3:
            return kept, answers
        if answers[-1] == 201:
            kept.append(key)
    raise AssertionError("the disk does not get full")


async def _put(http: ClientSession, key: str, size: int) -> bool:
    async with http.put(f"{BUCKET}/objects/{key}", data=BytesIO(body_of(key, size))) as response:
        return response.status in (200, 201)


async def test_f6_slow_down_corrupts_nothing_and_is_not_answered_by_a_storm(world: World) -> None:
    async with chaos_proxy(world.servers.s3.plan.port) as proxy:
        await world.serve(S3__ENDPOINT=proxy.url)
        await world.make_bucket()
        proxy.requests.clear()
        proxy.faults.append(Refuse(share=0.3))
        load = Load(lambda: world.url, pause_s=0.005)
        load.start()
        await asyncio.sleep(60 if LONG else 4)
        await load.stop()
        sent, retries = sum(proxy.requests.values()), proxy.retries
        asked = sum(load.answers.values())
        world.report.add(
            "F6",
            s3_requests=sent,
            refused=proxy.faults[0].met,
            retries=retries,
            requests_for_each_wanted=sent / (sent - retries),
            uploads_refused_share=load.answers["503"] / asked,
        )
        proxy.faults.clear()
        await world.settle_and_judge(load, bar="F6")
    assert sent <= 2 * (sent - retries)
    assert set(load.answers) <= {"200", "201", "409", "503"}
    assert load.answers["503"] <= 0.1 * asked


async def test_f7_lost_answers_of_complete_and_commit_lose_and_double_nothing(
    world: World,
) -> None:
    servers = world.servers
    async with (
        chaos_proxy(servers.s3.plan.port) as s3,
        chaos_proxy(servers.mongo.plan.port, http=False) as mongo,
    ):
        await world.serve(S3__ENDPOINT=s3.url, METADATA__URL=servers.mongo_url(mongo.port))
        await world.make_bucket()
        s3.faults.append(DropAnswer(picks=request_line("POST", "uploadId="), share=0.5))
        mongo.faults.append(DropAnswer(picks=saying(b"commitTransaction"), share=0.3))
        load = Load(lambda: world.url, workers=8, pause_s=0, sizes=(10, 70_000, 5_500_000))
        load.start()
        await load.acknowledges(rounds(40), within_s=max(60, ROUNDS * 2))
        await load.stop()
        world.report.add(
            "F7",
            completes_unanswered=s3.faults[0].met,
            commits_unanswered=mongo.faults[0].met,
            slowest_s=load.slowest_s,
        )
        assert s3.faults[0].met > 3
        assert mongo.faults[0].met > 3
        s3.faults.clear()
        mongo.faults.clear()
        await world.settle_and_judge(load, bar="F7")


FAIL_POINT = {"configureFailPoint": "failCommand"}
FAILOVERS: tuple[dict[str, Any], ...] = (
    {
        "failCommands": ["commitTransaction"],
        "errorCode": 10107,
        "errorLabels": ["RetryableWriteError"],
    },
    {"failCommands": ["commitTransaction"], "closeConnection": True},
    {"failCommands": ["find", "update", "findAndModify", "insert"], "closeConnection": True},
    {
        "failCommands": ["find", "update", "findAndModify", "insert"],
        "errorCode": 189,
        "errorLabels": ["TransientTransactionError", "RetryableWriteError"],
    },
    {"failCommands": ["findAndModify", "update", "commitTransaction"], "errorCode": 91},
)
"""What a driver sees of a primary that steps down: an error by its code, or a closed connection."""


async def test_f8_failovers_lose_nothing(world: World) -> None:
    # A real primary tells the driver at once when it is one again; one that only says so to failing
    # commands does not, so the driver has to ask.
    polled = f"{world.servers.mongo_url()}&serverMonitoringMode=poll&heartbeatFrequencyMS=500"
    deadlines = {} if LONG else {"METADATA__TIMEOUT_S": 3, "METADATA__COMMIT_TIMEOUT_S": 3}
    await world.serve(METADATA__URL=polled, **deadlines)
    await world.make_bucket()
    load = Load(lambda: world.url, pause_s=0.005, sizes=(10, 70_000, 300_000, 10, 5_500_000))
    load.start()
    failovers = rounds(5, 5)
    assert isinstance(world.kept, InMongo)
    async with world.kept.database() as database:
        try:
            for number in range(failovers):
                await load.acknowledges(5)
                failing = {"mode": {"times": 25}, "data": FAILOVERS[number % len(FAILOVERS)]}
                await database.client.admin.command(FAIL_POINT | failing)
                await asyncio.sleep(5 if LONG else 0.5)
        finally:
            await database.client.admin.command(FAIL_POINT | {"mode": "off"})
    await load.acknowledges(5)
    await load.stop()
    world.report.add("F8", failovers=failovers, slowest_s=load.slowest_s)
    await world.settle_and_judge(load, bar="F8")
    assert set(load.answers) <= {"200", "201", "409", "503"}


async def test_f9_sigterm_ends_within_its_grace_and_loses_no_201(world: World) -> None:
    grace_s, stops, unfinished = 10 if LONG else 4, rounds(1, 30), 0
    drained: list[float] = []
    gone: list[float] = []
    for number in range(stops):
        first = await world.serve(HTTP__SHUTDOWN_GRACE_S=grace_s, SWEEP__ENABLED="false")
        if number == 0:
            await world.make_bucket()
            load = Load(lambda: world.url)
        load.stopping = False
        load.start()
        slow = [asyncio.create_task(_trickle(first.url, each)) for each in range(4)]
        await load.acknowledges(10)
        began = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(first.terminate))
        await asyncio.sleep(0.5)
        load.stopping = True
        assert await stopping == 0
        gone.append(time.monotonic() - began)
        drained.append(_drained_s(first))
        await load.stop()
        assert await asyncio.gather(*slow) == [None] * 4
        unfinished += sum((await world.kept.unfinished()).values())
    world.report.add(
        "F9",
        grace_s=grace_s,
        stops=stops,
        slowest_drain_s=max(drained),
        slowest_exit_s=max(gone),
        uploads_left_to_the_sweeper=unfinished,
    )
    await world.settle_and_judge(load, bar="F9")
    assert max(drained) <= grace_s
    assert max(gone) <= grace_s + EXIT_S
    assert unfinished == 0


async def test_f9_sigterm_ends_within_its_grace_though_a_store_is_frozen(
    world: World, frozen: str
) -> None:
    """With the deadlines of a real installation, all of them longer than the grace."""
    grace_s = 10 if LONG else 4
    first = await world.serve(HTTP__SHUTDOWN_GRACE_S=grace_s)
    await world.make_bucket()
    load = Load(lambda: first.url)
    load.start()
    await load.acknowledges(10)
    with getattr(world.servers, frozen).frozen():
        await asyncio.sleep(0.5)
        began = time.monotonic()
        load.stopping = True
        await asyncio.to_thread(first.terminate)
        gone_s = time.monotonic() - began
        await load.stop()
    world.report.add(f"F9 {frozen} frozen", grace_s=grace_s, exit_s=gone_s)
    await world.settle_and_judge(load, bar=f"F9 {frozen} frozen")
    assert gone_s <= grace_s + EXIT_S


def _drained_s(process: Process) -> float:
    """From SIGTERM to the last thing that the service does, by its log."""
    first, last = (
        datetime.fromisoformat(process.events(name)[0]["timestamp"])
        for name in ("draining", "stopped")
    )
    return (last - first).total_seconds()


async def _trickle(url: str, number: int) -> int | None:
    """An upload that would never end; its status, or None where the connection was cut."""

    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.2)

    async with ClientSession(url, headers=AUTHORIZED, timeout=ClientTimeout(total=60)) as http:
        with suppress(ClientError, ConnectionError):
            async with http.put(f"{BUCKET}/objects/slow/{number}", data=drops()) as response:
                return response.status
    return None


CLIENT_FAULTS: tuple[Callable[[], Any], ...] = (
    lambda: Cut(how="close", after_bytes=200_000, picks=request_line("PUT"), share=0.1),
    lambda: Cut(how="reset", after_bytes=5_300_000, picks=request_line("PUT"), share=0.1),
    lambda: Cut(how="half", after_bytes=100_000, picks=request_line("PUT"), share=0.1),
    lambda: Cut(how="hold", after_bytes=150_000, picks=request_line("PUT"), share=0.1),
    lambda: DropAnswer(picks=request_line("PUT"), share=0.1),
)
STORE_FAULTS: tuple[Callable[[], Any], ...] = (
    lambda: Cut(how="reset", after_bytes=50_000, picks=request_line("PUT"), share=0.1),
    lambda: Cut(how="close", way="answer", after_bytes=20, share=0.05),
    lambda: DropAnswer(share=0.1),
)


async def test_broken_networks_on_both_sides_lose_and_leak_nothing(world: World) -> None:
    async with chaos_proxy(world.servers.s3.plan.port, seed=3) as s3:
        process = await world.serve(S3__ENDPOINT=s3.url, S3__REQUEST_TIMEOUT_S=5)
        await world.make_bucket()
        async with chaos_proxy(process.port, seed=4) as client:
            client.faults += [make() for make in CLIENT_FAULTS]
            s3.faults += [make() for make in STORE_FAULTS]
            load = Load(lambda: client.url, pause_s=0)
            load.start()
            await load.acknowledges(rounds(40), within_s=max(60, ROUNDS * 2))
            client.faults.clear()
            await load.stop()
        world.report.add("network", slowest_s=load.slowest_s)
        s3.faults.clear()
        await world.settle_and_judge(load, bar="network")
