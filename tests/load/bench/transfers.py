"""Whole files: one of 1 GiB, and eight at once, up and down, every way in turn.

Each way's objects are gone before the next one begins: on a virtual machine, memory that nobody has
touched before costs the store twice the CPU, and whoever comes last would pay for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from subprocess import Popen
from typing import TypeVar

from tests.load.bench.clients import Way, download, finished, first_bytes_s, upload
from tests.load.bench.meters import MIB, figure, metered
from tests.load.bench.report import Report
from tests.load.bench.world import World

PARALLEL = 8
T = TypeVar("T")
Found = dict[tuple[str, str], list[dict[str, float]]]
_FIRST_BYTES = 30


def measure_transfers(
    world: World,
    report: Report,
    *,
    rounds: int,
    big: Path,
    middling: Path,
    show: Callable[[str], None],
) -> None:
    """big: the source of single transfers; middling: of eight at once. Adds all figures."""
    found: Found = defaultdict(list)
    for number in range(rounds):
        show(f"round {number + 1} of {rounds}")
        for way in _rotated(world.ways("big"), number):
            _note(found, world, way, "upload", [_up(way, big)], big)
            _note(found, world, way, "download", [_down(way)], big)
            times = figure(first_bytes_s(way, _FIRST_BYTES))
            found["first byte", way.name].append({"ms": times.median * 1000})
            world.clean_up("big")
        # Presigned PUTs need a length.
        for way in _rotated([world.plain("big"), world.mediagate("big")], number):
            start = _up(way, big, known_length=False)
            _note(found, world, way, "upload, unknown length", [start], big)
            world.clean_up("big")
        for way in _rotated([world.mediagate("big"), world.resumable("big")], number):
            _note(found, world, way, "upload, resumable or not", [_up(way, big)], big)
            world.clean_up("big")
        names = [f"part-{each}" for each in range(PARALLEL)]
        together = list(zip(*(world.ways(name) for name in names), strict=True))
        for ways in _rotated(together, number):
            _note(found, world, ways[0], "8 uploads", [_up(w, middling) for w in ways], middling)
            _note(found, world, ways[0], "8 downloads", [_down(w) for w in ways], middling)
            world.clean_up(*names)
    for (kind, way), rows in found.items():
        for name in rows[0]:
            report.add(kind, way, name, figure([row[name] for row in rows]))


def _rotated(ways: list[T], number: int) -> list[T]:
    """Each round begins with another, so that none always comes first or last."""
    first = number % len(ways)
    return ways[first:] + ways[:first]


def _up(way: Way, source: Path, *, known_length: bool = True) -> Callable[[], Popen[str]]:
    return lambda: upload(way, source, known_length=known_length)


def _down(way: Way) -> Callable[[], Popen[str]]:
    return lambda: download(way)


def _note(
    found: Found,
    world: World,
    way: Way,
    kind: str,
    starts: Iterable[Callable[[], Popen[str]]],
    source: Path,
) -> None:
    size = source.stat().st_size
    names = {way.name, "store", "metadata"} & {*world.pids}
    watched = {name: world.pids[name] for name in names}
    with metered(watched) as cost:
        running = [start() for start in starts]
        finished(running, size)
    total_mib = len(running) * size / MIB
    row = {"MB/s": total_mib * MIB / 1e6 / cost.wall_s}
    row["store CPU s/GiB"] = cost.cpu_s["store"] * 1024 / total_mib
    if way.name in watched:
        row["CPU s/GiB"] = cost.cpu_s[way.name] * 1024 / total_mib
        row["peak RSS MiB"] = cost.peak_rss_bytes[way.name] / MIB
    found[kind, way.name].append(row)
