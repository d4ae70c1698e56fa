"""Real servers that may be killed, frozen and started again on the same ports and data."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pymongo

from service.devstack import Stack
from service.devstack.data_folder import Credentials
from service.devstack.ports import HOST, choose_ports
from service.devstack.process import Child, ServerPlan
from service.devstack.servers import (
    MINIO_PORTS,
    SEAWEEDFS_PORTS,
    SECANTUSDB_PORTS,
    find_binary,
    minio,
    seaweedfs,
    secantusdb,
)

CREDENTIALS = Credentials("faults", "faults-secret")
START_TIMEOUT_S = 60.0


class Server:
    """One child process after another, all with the same plan."""

    def __init__(self, plan: ServerPlan, log: Path) -> None:
        self.plan = plan
        self._log = log
        self._child: Child | None = None

    def start(self) -> None:
        """Does not wait; in the main thread."""
        self._child = Child(self.plan, self._log)

    def wait_healthy(self) -> None:
        assert self._child is not None
        self._child.wait_healthy(time.monotonic() + START_TIMEOUT_S)

    async def come_back(self) -> None:
        self.start()
        await asyncio.to_thread(self.wait_healthy)

    def kill(self) -> None:
        """SIGKILL, and what it leaves in /tmp removed."""
        if self._child is not None:
            self._child.kill()
            self._child.wait_stopped(time.monotonic() + START_TIMEOUT_S)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._child.pid, signal.SIGCONT)


class Servers:
    """MinIO, or SeaweedFS where there is no `minio` binary, and SecantusDB; all data is kept.

    s3_folder: where the S3 server's data lies, if not below `folder`.
    """

    def __init__(self, folder: Path, s3_folder: Path | None = None) -> None:
        self.folder = folder
        self.kind = "minio" if find_binary("minio") else "seaweedfs"
        plan, ports = {
            "minio": (minio, MINIO_PORTS),
            "seaweedfs": (seaweedfs, SEAWEEDFS_PORTS),
        }[self.kind]
        self.s3_folder = s3_folder or folder / self.kind
        self.s3 = Server(plan(self.s3_folder, CREDENTIALS, choose_ports(ports)), folder / "s3.log")
        mongo = secantusdb(folder / "mongo", choose_ports(SECANTUSDB_PORTS), in_memory=False)
        command = [*mongo.command, "--enable-test-commands"]
        self.mongo = Server(replace(mongo, command=command), folder / "mongo.log")

    def start(self) -> None:
        for server in (self.s3, self.mongo):
            server.start()
        for server in (self.s3, self.mongo):
            server.wait_healthy()

    def kill(self) -> None:
        for server in (self.s3, self.mongo):
            with suppress(ProcessLookupError):
                server.kill()

    def mongo_url(self, port: int | None = None) -> str:
        """directConnection: or the driver would go round a proxy, to where the server says it is.
        Nothing but the address differs from what the service is told otherwise."""
        options = urlencode({"directConnection": "true"})
        return f"mongodb://{HOST}:{port or self.mongo.plan.port}/?{options}"

    def stack(self, *, metadata: bool = True) -> Stack:
        """As the devstack describes itself, for what was written for it.

        metadata: with the MongoDB server; else they are kept in a file.
        """
        return Stack(
            s3=self.s3._child,
            metadata=self.mongo._child if metadata else None,
            env={
                "MEDIAGATE_S3__ENDPOINT": f"http://{HOST}:{self.s3.plan.port}",
                "MEDIAGATE_S3__ACCESS_KEY": CREDENTIALS.access_key,
                "MEDIAGATE_S3__SECRET_KEY": CREDENTIALS.secret_key,
                "MEDIAGATE_METADATA__URL": self.mongo_url(),
            },
            env_file=self.folder / "env",
        )

    def database(self, name: str) -> pymongo.AsyncMongoClient:
        return pymongo.AsyncMongoClient(self.mongo_url())[name]

    def blobs_in_folder(self, bucket: str) -> list[str] | None:
        """Keys as they lie in MinIO's folder; None on SeaweedFS, which has volumes.

        Each object is a folder that holds an `xl.meta`. The journal is left out.
        """
        if self.kind != "minio":
            return None
        root = self.s3_folder / bucket
        keys = sorted(str(path.parent.relative_to(root)) for path in root.rglob("xl.meta"))
        return [key for key in keys if not key.startswith("journal/")]

    def unfinished_files(self) -> list[Path]:
        """What is left of multipart uploads in MinIO's folder, whoever made them."""
        folder = self.s3_folder / ".minio.sys" / "multipart"
        return [path for path in folder.rglob("*") if path.is_file()]


@contextmanager
def running_servers(folder: Path, s3_folder: Path | None = None) -> Iterator[Servers]:
    folder.mkdir(exist_ok=True)
    servers = Servers(folder, s3_folder)
    try:
        servers.start()
        yield servers
    finally:
        servers.kill()
        shutil.rmtree(folder, ignore_errors=True)
