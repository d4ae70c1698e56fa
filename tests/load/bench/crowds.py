"""Many at once, and very large: memory, the loop's lag, and what others notice of a crowd."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.load.bench.clients import BenchError, Way, download, finished, upload
from tests.load.bench.meters import MIB, figure, metered, rss_bytes
from tests.load.bench.report import Report
from tests.load.bench.world import ROOT_KEY, World

READERS, UPLOADERS, RATE_BYTES_S = 500, 200, 10 << 10
_LAG = "mediagate_event_loop_lag_seconds_bucket"
_ROUNDS = 3


def measure_flood(world: World, report: Report, *, count: int, mib: int) -> None:
    """`count` uploads at once, each read back and compared byte by byte and by digest."""
    with world.service() as (url, pid), _lag(url) as lag:
        told = _tool(
            "flood", url, "--count", str(count), "--size", str(mib * MIB), "--pid", str(pid)
        )
    kind = f"{count} uploads of {mib} MiB at once"
    report.add(kind, "mediagate", "MB/s up", figure([told["upload_bytes_s"] / 1e6]))
    report.add(kind, "mediagate", "MB/s down", figure([told["download_bytes_s"] / 1e6]))
    report.add(kind, "mediagate", "mismatches", figure([told["mismatches"]]))
    report.add(kind, "mediagate", "peak RSS MiB", figure([_peak_mib(told["uploading"])]))
    report.add(kind, "mediagate", "loop lag p99 ms", figure([lag[0] * 1000]))


def measure_long(world: World, report: Report, *, gib: int) -> None:
    """One very large object up and down: how far memory grows after the first GiB."""
    source = world.folder / "long.bin"
    with source.open("wb") as file:
        file.truncate(gib << 30)
    with world.service() as (url, pid):
        way = world.mediagate("long", url)
        for kind, start in (("up", upload(way, source)), ("down", None)):
            running = start or download(way)
            with _growth(pid, share=1 / gib) as grown, metered({"mediagate": pid}) as cost:
                finished([running], source.stat().st_size)
            name = f"{gib} GiB {kind}"
            rate = figure([(gib << 30) / 1e6 / cost.wall_s])
            report.add(name, "mediagate", "MB/s", rate)
            report.add(name, "mediagate", "CPU s/GiB", figure([cost.cpu_s["mediagate"] / gib]))
            report.add(name, "mediagate", "peak RSS MiB", figure([grown["peak"] / MIB]))
            report.add(name, "mediagate", "RSS growth MiB", figure([grown["growth"] / MIB]))
    world.clean_up("long")


def measure_readers(world: World, report: Report, *, seconds: float) -> None:
    with world.service() as (url, pid):
        told = _tool("crowd", url, "readers", *_crowd(READERS, seconds), "--pid", str(pid))
    kind = f"{READERS} readers at 10 KiB/s"
    before, during = (told[f"first_byte_{when}"]["p99_ms"] for when in ("before", "during"))
    report.add(kind, "mediagate", "peak RSS MiB", figure([_peak_mib(told["processes"])]))
    report.add(kind, "mediagate", "others' p99 first byte ms, before", figure([before]))
    report.add(kind, "mediagate", "others' p99 first byte ms, during", figure([during]))
    report.add(kind, "mediagate", "errors", figure([sum(told["errors"].values())]))


def measure_uploaders(world: World, report: Report, source: Path) -> None:
    """How much of its rate one fast upload keeps beside a crowd that hardly sends."""
    with world.service() as (url, pid):
        way = world.mediagate("fast", url)
        alone = [_rate(way, source) for _ in range(_ROUNDS)]
        with _crowd_around(url, pid) as crowd:
            beside = [_rate(way, source) for _ in range(_ROUNDS)]
            assert crowd.poll() is None, "the crowd left before the fast upload was done"
    kind = f"1 upload beside {UPLOADERS} at 10 KiB/s"
    report.add(kind, "mediagate", "MB/s alone", figure(alone))
    report.add(kind, "mediagate", "MB/s beside them", figure(beside))
    kept = figure([b / a for a, b in zip(sorted(alone), sorted(beside), strict=True)])
    report.add(kind, "mediagate", "kept", kept)
    world.clean_up("fast")


def _rate(way: Way, source: Path) -> float:
    began = time.monotonic()
    finished([upload(way, source)], source.stat().st_size)
    return source.stat().st_size / 1e6 / (time.monotonic() - began)


@contextmanager
def _crowd_around(url: str, pid: int) -> Iterator[subprocess.Popen[str]]:
    command = _command("crowd", url, "uploaders", *_crowd(UPLOADERS, 120), "--pid", str(pid))
    crowd = subprocess.Popen(command, text=True, stdout=subprocess.PIPE)
    try:
        while _metric(url, "mediagate_requests_in_flight") < UPLOADERS:
            time.sleep(0.5)  # until everybody has arrived
        yield crowd
    finally:
        crowd.kill()
        crowd.wait()


def _crowd(count: int, seconds: float) -> list[str]:
    return ["--count", str(count), "--rate", str(RATE_BYTES_S), "--seconds", f"{seconds:g}"]


def _command(tool: str, url: str, *arguments: str) -> list[str]:
    module = [sys.executable, "-m", f"tests.load.{tool}"]
    return [*module, *arguments, "--url", url, "--key", ROOT_KEY]


def _tool(tool: str, url: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        _command(tool, url, *arguments), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"{tool}: {done.stdout}{done.stderr}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _peak_mib(processes: list[dict[str, Any]]) -> float:
    return max(process["rss_peak_bytes"] for process in processes) / MIB


@contextmanager
def _growth(pid: int, *, share: float) -> Iterator[dict[str, float]]:
    """peak: of resident memory. growth: beyond what it was at most in the first `share`."""
    samples: list[tuple[float, int]] = []
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(0.2):
            samples.append((time.monotonic(), rss_bytes(pid)))

    sampler, found = threading.Thread(target=sample), {"peak": 0.0, "growth": 0.0}
    sampler.start()
    try:
        yield found
    finally:
        stop.set()
        sampler.join()
        began, ended = samples[0][0], samples[-1][0]
        settled = began + share * (ended - began)
        early = max(rss for at, rss in samples if at <= settled)
        late = max(rss for at, rss in samples if at >= settled)
        found |= {"peak": float(max(early, late)), "growth": float(max(0, late - early))}


@contextmanager
def _lag(url: str) -> Iterator[list[float]]:
    """The event loop's lag meanwhile: its 99th percentile in seconds, the end of its bucket."""
    before, found = _buckets(url), [0.0]
    yield found
    after = _buckets(url)
    counts = {end: after[end] - before.get(end, 0) for end in after}
    total = counts[float("inf")]
    found[0] = min(end for end, count in counts.items() if count >= 0.99 * total)


def _metric(url: str, name: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def _buckets(url: str) -> dict[float, float]:
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    marked = [line for line in lines if line.startswith(_LAG)]
    return {float(line.split('"')[1]): float(line.split()[-1]) for line in marked}
