"""`python -m tests.load.bench [--only transfers,small,…] [--rounds N]`; `make bench` runs it."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.load.bench.clients import BenchError, missing_tools
from tests.load.bench.meters import MIB
from tests.load.bench.report import Report
from tests.load.bench.small import measure_small
from tests.load.bench.transfers import measure_transfers
from tests.load.bench.world import World, free_folder, running_world

PARTS = ("transfers", "small")


def main() -> int:
    options = _options()
    if missing := missing_tools():
        print(f"needs {', '.join(missing)} (Debian: apt install curl wrk nginx-light)")
        return 2
    chosen = options.only.split(",")
    folder, in_memory = free_folder(12 * options.mib * MIB)
    report = Report(memory_backed=in_memory, rounds=options.rounds, file_mib=options.mib)
    try:
        with running_world(folder) as world:
            report.machine["store"] = world.s3_kind
            if world.s3_kind != "minio":
                report.notes.append("On SeaweedFS: these figures mean nothing. `make minio` first.")
            if "transfers" in chosen:
                with _source(world, "big", options.mib) as big:
                    with _source(world, "middling", options.mib // 4) as middling:
                        measure_transfers(
                            world,
                            report,
                            rounds=options.rounds,
                            big=big,
                            middling=middling,
                            show=_show,
                        )
            if "small" in chosen:
                measure_small(
                    world, report, rounds=options.rounds, seconds=options.seconds, show=_show
                )
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.write(Path(options.out))
    print(report.as_text())
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load.bench", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024, help="size of the big file")
    parser.add_argument("--seconds", type=float, default=5, help="of each burst of small requests")
    parser.add_argument("--out", default=".dev/bench", help="where JSON and text go, no ending")
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
