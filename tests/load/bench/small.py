"""Small objects: 16 KiB, 16 connections; requests a second, and what each costs in the middle.

`mediagate` has its metadata in the embedded MongoDB server, `on SQLite` in a file on the disk.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable

from tests.load.bench.clients import Way, finished, upload, wrk
from tests.load.bench.meters import figure, metered
from tests.load.bench.report import Report
from tests.load.bench.world import World, disk_folder

SIZE_BYTES = 16 << 10
ON_SQLITE = "on SQLite"
CONNECTIONS = 16


def measure_small(
    world: World, report: Report, *, rounds: int, seconds: int, show: Callable[[str], None]
) -> None:
    disk = disk_folder()
    try:
        with world.service(METADATA__URL=f"sqlite:///{disk}/metadata.sqlite3") as (url, pid):
            world.pids[ON_SQLITE] = pid
            _measure(world, report, url, rounds=rounds, seconds=seconds, show=show)
            del world.pids[ON_SQLITE]
    finally:
        shutil.rmtree(disk)


def _measure(
    world: World,
    report: Report,
    url: str,
    *,
    rounds: int,
    seconds: int,
    show: Callable[[str], None],
) -> None:
    """url: of the service on SQLite."""
    source = world.folder / "small.bin"
    source.write_bytes(b"x" * SIZE_BYTES)
    ways = [*world.ways("small"), world.mediagate("small", url, called=ON_SQLITE)]
    for way in ways:
        finished([upload(way, source)], SIZE_BYTES)
    found: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for number in range(rounds):
        show(f"small objects, round {number + 1} of {rounds}")
        for way in ways:
            _note(found, world, way, "GET", seconds, f"{number}")
        puts = [world.plain(""), world.mediagate(""), world.mediagate("", url, called=ON_SQLITE)]
        if world.anonymous_puts:
            puts = [world.direct("", anonymous=True), world.nginx("", anonymous=True), *puts]
        for way in puts:
            _note(found, world, way, "PUT", seconds, f"small/{number}/")
    for (method, name), rows in found.items():
        for what in rows[0]:
            report.add(f"16 KiB {method}", name, what, figure([row[what] for row in rows]))


def _note(
    found: dict[tuple[str, str], list[dict[str, float]]],
    world: World,
    way: Way,
    method: str,
    seconds: int,
    names: str,
) -> None:
    options = {"connections": CONNECTIONS, "size_bytes": SIZE_BYTES, "names": names}
    watched = {name: world.pids[name] for name in {way.name, "store", "metadata"} & {*world.pids}}
    with metered(watched) as cost:
        rate = wrk(way, method, seconds=seconds, **options)  # type: ignore[arg-type]
    requests = rate * cost.wall_s
    row = {"requests/s": rate, "store CPU ms": cost.cpu_s["store"] * 1000 / requests}
    row["metadata CPU ms"] = cost.cpu_s["metadata"] * 1000 / requests
    if way.name in watched:
        row["CPU ms"] = cost.cpu_s[way.name] * 1000 / requests
    found[method, way.name].append(row)


def measure_workers(world: World, report: Report, *, rounds: int, seconds: int) -> None:
    """Small GETs of one worker and of two, in turns; and how much of the machine is busy then."""
    source = world.folder / "small.bin"
    source.write_bytes(b"x" * SIZE_BYTES)
    with world.service() as one, world.service("--workers", "2") as two:
        ways = {"1 worker": one, "2 workers": two}
        finished([upload(world.mediagate("small", one[0]), source)], SIZE_BYTES)
        found: dict[str, list[dict[str, float]]] = defaultdict(list)
        for number in range(rounds):
            for name, (url, pid) in ways.items():
                way = world.mediagate("small", url)
                watched = {"us": pid, "store": world.pids["store"], "db": world.pids["metadata"]}
                with metered(watched) as cost:
                    rate = wrk(
                        way,
                        "GET",
                        connections=2 * CONNECTIONS,
                        seconds=seconds,
                        size_bytes=SIZE_BYTES,
                        names=f"{number}",
                    )
                busy = {f"cores of {who}": cost.cpu_s[who] / cost.wall_s for who in watched}
                found[name].append({"requests/s": rate} | busy)
    for name, rows in found.items():
        for what in rows[0]:
            report.add("16 KiB GET by workers", name, what, figure([row[what] for row in rows]))
