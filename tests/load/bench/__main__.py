"""`make bench`: all parts, or `ARGS="--only transfers,small"`. Twenty minutes for all of them.

    transfers   1 GiB up and down, eight files at once, the time to the first byte; every way
    small       16 KiB GET and PUT at 16 connections; every way
    workers     16 KiB GET with one worker and with two
    readers     500 readers at 10 KiB/s: memory, and what others notice
    uploaders   one fast upload beside 200 at 10 KiB/s
    flood       64 uploads of 1 GiB at once, each read back (of 256 MiB where the disk is small)
    long        20 GiB up and down

The first five run on a memory-backed folder where there is room, the last two on the disk.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.load.bench.clients import BenchError, missing_tools
from tests.load.bench.crowds import (
    measure_flood,
    measure_long,
    measure_readers,
    measure_uploaders,
)
from tests.load.bench.meters import MIB
from tests.load.bench.plot import draw
from tests.load.bench.report import Report
from tests.load.bench.small import measure_small, measure_workers
from tests.load.bench.transfers import measure_transfers
from tests.load.bench.world import World, disk_folder, memory_folder, running_world

IN_MEMORY = ("transfers", "small", "workers", "readers", "uploaders")
ON_DISK = ("flood", "long")
FLOOD, FLOOD_MIB, FLOOD_DISK_BYTES = 64, 1024, 80 << 30
LONG_GIB = 20


def main() -> int:
    options = _options()
    if missing := missing_tools():
        print(f"needs {', '.join(missing)} (Debian: apt install curl wrk nginx-light)")
        return 2
    chosen = options.only.split(",")
    if unknown := {*chosen} - {*IN_MEMORY, *ON_DISK}:
        print(f"there is no part {', '.join(sorted(unknown))}")
        return 2
    report = Report(rounds=options.rounds, file_mib=options.mib)
    try:
        if {*chosen} & {*IN_MEMORY}:
            _in_memory(options, chosen, report)
        if {*chosen} & {*ON_DISK}:
            _on_disk(chosen, report)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        report.write(Path(options.out))
    if {*chosen} & {"transfers", "small"}:
        draw(report.as_dict(), Path(options.out).with_suffix(".png"))
    print(report.as_text())
    return 0


def _in_memory(options: argparse.Namespace, chosen: list[str], report: Report) -> None:
    folder, is_memory = memory_folder(12 * options.mib * MIB)
    report.machine["memory_backed"] = is_memory
    with _world(folder, report) as world:
        if "transfers" in chosen:
            with (
                _source(world, "big", options.mib) as big,
                _source(world, "middling", options.mib // 4) as middling,
            ):
                sources = {"big": big, "middling": middling}
                measure_transfers(world, report, rounds=options.rounds, show=_show, **sources)
        if "small" in chosen:
            measure_small(world, report, rounds=options.rounds, seconds=options.seconds, show=_show)
        if "workers" in chosen:
            _show("workers")
            measure_workers(world, report, rounds=options.rounds, seconds=options.seconds)
        if "readers" in chosen:
            _show("readers")
            measure_readers(world, report, seconds=30)
        if "uploaders" in chosen:
            _show("uploaders")
            with _source(world, "fast", options.mib) as fast:
                measure_uploaders(world, report, fast)


def _on_disk(chosen: list[str], report: Report) -> None:
    folder = disk_folder()
    with _world(folder, report) as world:
        if "flood" in chosen:
            _show("flood")
            room = shutil.disk_usage(folder).free
            mib = FLOOD_MIB if room >= FLOOD_DISK_BYTES else FLOOD_MIB // 4
            if mib != FLOOD_MIB:
                report.notes.append(f"Less than 80 GiB are free: {mib} MiB each, not {FLOOD_MIB}.")
            measure_flood(world, report, count=FLOOD, mib=mib)
        if "long" in chosen:
            _show("long")
            measure_long(world, report, gib=LONG_GIB)


@contextmanager
def _world(folder: Path, report: Report) -> Iterator[World]:
    try:
        with running_world(folder) as world:
            report.machine["store"] = world.s3_kind
            if world.s3_kind != "minio":
                report.notes.append("On SeaweedFS: these figures mean nothing. `make minio` first.")
            yield world
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default=",".join((*IN_MEMORY, *ON_DISK)), help="a,b,c")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024, help="size of the big file")
    parser.add_argument("--seconds", type=int, default=5, help="of each burst of small requests")
    parser.add_argument("--out", default=".dev/bench", help="where JSON, text and plot go")
    return parser.parse_args()


@contextmanager
def _source(world: World, name: str, mib: int) -> Iterator[Path]:
    """A file of random bytes: what no store can compress."""
    path = world.folder / f"{name}.bin"
    with path.open("wb") as file, Path("/dev/urandom").open("rb") as source:
        for _ in range(mib):
            file.write(source.read(MIB))
    yield path
    path.unlink()


def _show(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
