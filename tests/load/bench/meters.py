"""What processes cost, from /proc: CPU seconds, resident memory; and medians with their noise."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.load import watch
from tests.processes import family

_SAMPLE_S = 0.1
MIB = 1 << 20


def cpu_s(pid: int) -> float:
    """User and system time of a process and its living descendants, in seconds."""
    return _summed(watch.cpu_s, pid)


def rss_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants; shared pages count in each."""
    return round(_summed(watch.resident_bytes, pid))


def _summed(measure: Callable[[int], float], pid: int) -> float:
    """Over the family; who is gone meanwhile counts nothing."""
    total = 0.0
    for each in (pid, *family(pid)):
        with suppress(OSError):
            total += measure(each)
    return total


@dataclass
class Cost:
    """Of a stretch of work: wall and CPU seconds of each process by name, its peak RSS."""

    wall_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_rss_bytes: dict[str, int] = field(default_factory=dict)


@contextmanager
def metered(pids: dict[str, int]) -> Iterator[Cost]:
    """Fills in the cost of what is done inside. RSS is sampled ten times a second."""
    cost, stop = Cost(), threading.Event()
    cost.peak_rss_bytes = {name: rss_bytes(pid) for name, pid in pids.items()}

    def sample() -> None:
        while not stop.wait(_SAMPLE_S):
            for name, pid in pids.items():
                cost.peak_rss_bytes[name] = max(cost.peak_rss_bytes[name], rss_bytes(pid))

    sampler = threading.Thread(target=sample)
    before, began = {name: cpu_s(pid) for name, pid in pids.items()}, time.monotonic()
    sampler.start()
    try:
        yield cost
    finally:
        cost.wall_s = time.monotonic() - began
        cost.cpu_s = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
        stop.set()
        sampler.join()


@dataclass(frozen=True)
class Figure:
    """Several measurements of one thing."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def as_dict(self) -> dict[str, float | list[float]]:
        return {
            "min": min(self.values),
            "median": self.median,
            "max": max(self.values),
            "values": list(self.values),
        }


def figure(values: Sequence[float]) -> Figure:
    return Figure(tuple(values))
