"""The installed command on real servers: processes, their logs, and what they left in the store."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sysconfig
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymongo
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from service.devstack import Stack

COMMAND = str(Path(sysconfig.get_path("scripts")) / "mediagate")
ROOT_KEY = "mg_root_for_the_e2e_tests"
AUTHORIZED = {"Authorization": f"Bearer {ROOT_KEY}"}
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 20
LEASE_S = 2


@dataclass
class Process:
    """A running `mediagate serve`."""

    popen: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait_serving(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            for event in self.events("serving"):
                self.url = event["url"]
                return
            assert self.popen.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(f"not serving: {self.log.read_text()}")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Lines of the log with this event, whole ones only."""
        found = []
        for line in self.log.read_text().splitlines():
            with suppress(json.JSONDecodeError):
                event = json.loads(line)
                if event.get("event") == name:
                    found.append(event)
        return found

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(STOP_TIMEOUT_S)

    def terminate(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(STOP_TIMEOUT_S)


@dataclass
class Installation:
    """An S3 bucket and a database of their own; any number of processes on them.

    settings: of every process, as MEDIAGATE_* variables.
    """

    stack: Stack
    logs: Path
    settings: dict[str, str]
    s3_bucket: str
    others_multipart_files: set[Path]
    _processes: list[Process] = field(default_factory=list)

    def environment(self, **settings: object) -> dict[str, str]:
        """settings: HTTP__PORT=0 and the like, over those of the installation."""
        given = {f"MEDIAGATE_{name}": str(value) for name, value in settings.items()}
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MEDIAGATE_")}
        return clean | self.stack.env | self.settings | given

    def end_transactions(self) -> None:
        """Those that a killed process left open: MongoDB lets them hold their documents for a
        minute, and an operator need not wait. SQLite's locks go with the process."""
        if self.stack.metadata is not None:
            with pymongo.MongoClient(self.stack.metadata_url) as client:
                client.admin.command("killAllSessions", [])

    def drop_metadata(self) -> None:
        """All of them, as if the database had been lost."""
        if self.stack.metadata is None:
            for file in self.logs.glob("metadata.sqlite3*"):
                file.unlink()
            return
        with pymongo.MongoClient(self.stack.metadata_url) as client:
            client.drop_database(self.s3_bucket)

    def start(self, **settings: object) -> Process:
        log = self.logs / f"serve-{len(self._processes)}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [COMMAND, "serve", "--port", "0"],
                env=self.environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        process = Process(popen, log)
        self._processes.append(process)
        process.wait_serving()
        return process

    @contextmanager
    def serving(self, **settings: object) -> Iterator[Process]:
        process = self.start(**settings)
        try:
            yield process
        finally:
            if process.popen.poll() is None:
                process.terminate()

    def kill_all(self) -> None:
        for process in self._processes:
            if process.popen.poll() is None:
                process.kill()

    def run(
        self, *arguments: str, exit_code: int = 0, timeout_s: float = 110, **settings: object
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [COMMAND, *arguments],
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done

    def sweep(self, **settings: object) -> dict[str, int]:
        """`mediagate sweep --once`, with deadlines that have passed."""
        soon = {"HTTP__MAX_DOWNLOAD_S": 0.1, "SWEEP__GRACE_S": 0.2}
        report: dict[str, int] = json.loads(self.run("sweep", "--once", **(soon | settings)).stdout)
        return report

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Any]:
        """A client of the S3 store, behind the service's back."""
        async with get_session().create_client(
            "s3",
            endpoint_url=self.stack.s3_endpoint,
            aws_access_key_id=self.stack.access_key,
            aws_secret_access_key=self.stack.secret_key,
            region_name="us-east-1",
            config=AioConfig(s3={"addressing_style": "path"}),
        ) as s3:
            yield s3

    async def store_keys(self) -> list[str]:
        """Every object in the S3 bucket but the journal; each open multipart's key with a `?`."""
        async with self.store() as s3:
            keys = []
            async for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.s3_bucket):
                keys += [item["Key"] for item in page.get("Contents", ())]
            # On MinIO this shows only what it remembers; `multipart_files` looks for the rest.
            open_ones = await s3.list_multipart_uploads(Bucket=self.s3_bucket)
            keys += [f"{item['Key']}?" for item in open_ones.get("Uploads", ())]
            return [key for key in keys if not key.startswith("journal/")]

    def multipart_files(self) -> set[Path]:
        """What is left of multipart uploads in MinIO's own folder since this was installed."""
        return all_multipart_files(self.stack) - self.others_multipart_files


def all_multipart_files(stack: Stack) -> set[Path]:
    """MinIO names them by a hash, so whose they are cannot be told."""
    folder = stack.env_file.parent / "minio" / ".minio.sys" / "multipart"
    return {path for path in folder.rglob("*") if path.is_file()}


def install(stack: Stack, folder: Path) -> Installation:
    """A fresh bucket and database, with short deadlines."""
    name = f"e2e-{secrets.token_hex(4)}"
    settings = {
        "S3__BUCKET": name,
        "METADATA__DATABASE": name,
        "AUTH__ROOT_KEY": ROOT_KEY,
        "HTTP__IDLE_TIMEOUT_S": "2",
        "HTTP__HEADER_TIMEOUT_S": "2",
        "HTTP__MAX_DOWNLOAD_S": "60",
        "HTTP__SHUTDOWN_GRACE_S": "5",
        "LIMITS__MAX_OBJECT_BYTES": str(64 << 20),
        "UPLOADS__LEASE_S": str(LEASE_S),
        "UPLOADS__LARGE_PART_BYTES": str(8 << 20),  # more multiparts than a roomy budget makes
        "UPLOADS__TOMBSTONE_S": "0",
        "SWEEP__GRACE_S": "61",
        "SWEEP__ENABLED": "false",
        "TELEMETRY__LOG_FORMAT": "json",
    }
    if stack.metadata is None:
        settings["METADATA__URL"] = f"sqlite:///{folder}/metadata.sqlite3"
    named = {f"MEDIAGATE_{key}": value for key, value in settings.items()}
    return Installation(stack, folder, named, name, all_multipart_files(stack))


async def eventually(holds: Callable[[], Any], *, within_s: float = 10) -> None:
    """Wait until `holds()` (awaited where it is async) is true."""
    deadline = time.monotonic() + within_s
    while True:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.1)
