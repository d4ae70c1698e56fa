"""The clients: curl for bytes, wrk for requests. Both raise BenchError where an answer is wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_CURL = ["curl", "-sS", "--fail", "--noproxy", "*", "-H", "Expect:"]
_PATIENCE_S = 1800
_WRK_SCRIPT = Path(__file__).with_name("small.lua")


class BenchError(Exception):
    """What was measured did not do what it should; there is no figure then."""


@dataclass(frozen=True)
class Way:
    """One way to the bytes. url: of the object `name`; `put_url`, where a PUT has another."""

    name: str
    url: str
    put_url: str
    headers: Mapping[str, str]

    @property
    def fields(self) -> list[str]:
        return [word for name, value in self.headers.items() for word in ("-H", f"{name}: {value}")]


def upload(way: Way, source: Path, *, known_length: bool = True) -> subprocess.Popen[str]:
    """A PUT under way; `finished` waits for it."""
    if known_length:
        return _started([*_CURL, *way.fields, "-T", str(source), "-o", "/dev/null", way.put_url])
    with source.open("rb") as body:
        command = [*_CURL, *way.fields, "-T", "-", "-o", "/dev/null", way.put_url]
        return _started(command, stdin=body)


def download(way: Way) -> subprocess.Popen[str]:
    return _started([*_CURL, *way.fields, "-o", "/dev/null", way.url])


def finished(running: Sequence[subprocess.Popen[str]], size_bytes: int) -> None:
    """Wait for transfers; each must have moved exactly that many bytes."""
    for process in running:
        told, complaint = process.communicate(timeout=_PATIENCE_S)
        if process.returncode != 0:
            raise BenchError(f"{process.args[-3]}: {complaint.strip() or process.returncode}")
        moved = json.loads(told)
        if max(moved["size_download"], moved["size_upload"]) < size_bytes:
            raise BenchError(f"{moved} instead of {size_bytes} bytes")


def first_bytes_s(way: Way, count: int) -> list[float]:
    """From the request to the first byte of a 1-byte range, on one connection, `count` times."""
    urls = [word for _ in range(count + 1) for word in ("-o", "/dev/null", way.url)]
    shown = ["-w", "%{time_starttransfer} %{time_pretransfer}\\n", "-r", "0-0"]
    done = subprocess.run(
        [*_CURL, *way.fields, *shown, *urls], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"curl: {done.stderr.strip()}")
    times = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
    return [first - ready for first, ready in times][1:]


def wrk(
    way: Way, method: str, *, connections: int, seconds: int, size_bytes: int, names: str
) -> float:
    """Requests a second. A GET asks for `way.url` again and again, a PUT makes names of its own.

    names: what the names of this run begin with. Any answer but 2xx is an error.
    """
    wanted = [way.url if method == "GET" else way.put_url, method, str(size_bytes), names]
    fields = [f"{name}: {value}" for name, value in way.headers.items()]
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s"]
    done = subprocess.run(
        ["wrk", *options, "-s", str(_WRK_SCRIPT), wanted[0], "--", *wanted[1:], *fields],
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.search(r"^RESULT (\d+) (\d+) (\d+)$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or told is None:
        raise BenchError(f"wrk: {done.stdout}{done.stderr}")
    requests, duration_us, errors = map(int, told.groups())
    if errors or not requests:
        raise BenchError(f"{way.name} {method}: {errors} errors in {requests} requests")
    return requests / (duration_us / 1e6)


def missing_tools() -> list[str]:
    return [tool for tool in ("curl", "wrk", "nginx") if shutil.which(tool) is None]


def _started(command: list[str], **options: object) -> subprocess.Popen[str]:
    told = ["-w", '{"size_download": %{size_download}, "size_upload": %{size_upload}}']
    return subprocess.Popen(
        [*command, *told],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,  # type: ignore[call-overload]
    )
