"""Everything that a benchmark needs, as processes on loopback: stores, nginx, plain, Mediagate."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from service.devstack import Stack, running_stack
from service.devstack.ports import HOST, choose_ports
from service.devstack.servers import find_binary
from tests.e2e.installation import COMMAND
from tests.e2e.test_nginx import listens, running
from tests.load.bench.clients import Way

ROOT_KEY = "mg_root_for_the_benchmark"
BUCKET = "bench"
STORE_BUCKET = "direct"
LINK_S = 24 * 3600
_SETTINGS = {
    "AUTH__ROOT_KEY": ROOT_KEY,
    "SWEEP__ENABLED": "false",
    "AUDIT__ENABLED": "false",
    "SCRUB__ENABLED": "false",
    "TELEMETRY__LOG_LEVEL": "warning",
    "TELEMETRY__LOG_FORMAT": "json",
    "UPLOADS__TOMBSTONE_S": "0",
    "S3__BUCKET": "mediagate",
}


@dataclass
class World:
    """pids: of what stands in the middle, by the name of its way, and of the stores."""

    stack: Stack
    folder: Path
    s3_kind: str
    ports: dict[str, int]
    pids: dict[str, int] = field(default_factory=dict)
    anonymous_puts: bool = False
    services: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self, **settings: object) -> dict[str, str]:
        given = {
            f"MEDIAGATE_{name}": str(value) for name, value in {**_SETTINGS, **settings}.items()
        }
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MEDIAGATE_")}
        return clean | self.stack.env | given

    @contextmanager
    def service(self, *options: str, **settings: object) -> Iterator[tuple[str, int]]:
        """`mediagate serve` with a bucket in it: its URL and pid."""
        (port,) = choose_ports(1)
        log = self.folder / f"serve-{port}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [COMMAND, "serve", "--port", str(port), *options],
                env=self.environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            _wait(lambda: listens(port), process, log)
            url = f"http://{HOST}:{port}"
            _curl(
                "-X", "PUT", "-H", f"Authorization: Bearer {ROOT_KEY}", f"{url}/v1/buckets/{BUCKET}"
            )
            yield url, process.pid
        finally:
            process.terminate()
            process.wait(30)

    def mediagate(self, name: str, url: str | None = None, *, called: str = "mediagate") -> Way:
        there = f"{url or self._url('mediagate')}/v1/buckets/{BUCKET}/objects/{name}"
        return Way(called, there, there, {"Authorization": f"Bearer {ROOT_KEY}"})

    def resumable(self, name: str) -> Way:
        """A PUT that may be resumed: the bytes take the way of `/v1/uploads`."""
        way = self.mediagate(name, called="resumable")
        return replace(way, headers={**way.headers, "Upload-Complete": "?1"})

    def plain(self, name: str) -> Way:
        there = f"{self._url('plain')}/{name}"
        return Way("plain", there, there, {})

    def direct(self, name: str, *, anonymous: bool = False) -> Way:
        return self._at_store("direct", self.stack.s3_endpoint, name, anonymous=anonymous)

    def nginx(self, name: str, *, anonymous: bool = False) -> Way:
        return self._at_store("nginx", self._url("nginx"), name, anonymous=anonymous)

    def ways(self, name: str) -> list[Way]:
        return [self.direct(name), self.nginx(name), self.plain(name), self.mediagate(name)]

    def clean_up(self, *names: str) -> None:
        """Delete those objects, all ways, and give the store its room back."""
        asyncio.run(self._delete(names))
        for name in names:
            _curl("-X", "DELETE", *self.mediagate(name).fields, self.mediagate(name).url)
        time.sleep(0.3)
        deadlines = {"HTTP__MAX_DOWNLOAD_S": 0.1, "SWEEP__GRACE_S": 0.2}
        done = subprocess.run(
            [COMMAND, "sweep", "--once"],
            env=self.environment(**deadlines),
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout)["failed"] == 0, done.stdout
        # MinIO empties its trash every five minutes, which would fill the memory long before.
        trash = self.folder / "minio" / ".minio.sys" / "tmp" / ".trash"
        for entry in trash.iterdir() if trash.is_dir() else ():
            shutil.rmtree(entry, ignore_errors=True)

    async def _delete(self, names: tuple[str, ...]) -> None:
        async with store_client(self.stack) as s3:
            for bucket in (STORE_BUCKET, "plain"):
                for name in names:
                    await s3.delete_object(Bucket=bucket, Key=name)

    def _at_store(self, way: str, base: str, name: str, *, anonymous: bool) -> Way:
        if anonymous:
            there = f"{base}/{STORE_BUCKET}/{name}"
            return Way(way, there, there, {})
        return Way(way, *asyncio.run(_links(self.stack, base, name)), {})

    def _url(self, what: str) -> str:
        return f"http://{HOST}:{self.ports[what]}"


@contextmanager
def running_world(folder: Path, **settings: object) -> Iterator[World]:
    """All of it, until the end. folder: for all data, memory-backed where there is room."""
    s3_kind = "minio" if find_binary("minio") else "seaweedfs"
    with ExitStack() as stack:
        servers = stack.enter_context(running_stack(folder, s3_kind, "mongo", stop_grace_s=5))
        names = ("nginx", "plain", "mediagate")
        ports = dict(zip(names, choose_ports(len(names)), strict=True))
        world = World(servers, folder, s3_kind, ports)
        assert servers.metadata is not None
        world.pids = {"store": servers.s3.pid, "metadata": servers.metadata.pid}
        world.anonymous_puts = asyncio.run(_prepare_store(servers))
        stack.enter_context(_nginx(world))
        stack.enter_context(_plain(world))
        url, world.pids["mediagate"] = stack.enter_context(world.service(**settings))
        world.ports["mediagate"] = int(url.rpartition(":")[2])
        world.pids["resumable"] = world.pids["mediagate"]
        yield world


def store_client(stack: Stack) -> Any:
    return get_session().create_client(
        "s3",
        endpoint_url=stack.s3_endpoint,
        aws_access_key_id=stack.access_key,
        aws_secret_access_key=stack.secret_key,
        region_name="us-east-1",
        config=AioConfig(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


async def _prepare_store(stack: Stack) -> bool:
    """Buckets for what goes past the service; whether one of them takes unsigned requests."""
    async with store_client(stack) as s3:
        for bucket in (STORE_BUCKET, "plain"):
            await s3.create_bucket(Bucket=bucket)
        anyone = {
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:PutObject"],
            "Resource": [f"arn:aws:s3:::{STORE_BUCKET}/*"],
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [anyone]})
        try:
            await s3.put_bucket_policy(Bucket=STORE_BUCKET, Policy=policy)
        except ClientError:
            return False
        return True


async def _links(stack: Stack, base: str, name: str) -> tuple[str, str]:
    """Presigned GET and PUT, signed for the host that the client will name."""
    async with get_session().create_client(
        "s3",
        endpoint_url=base,
        aws_access_key_id=stack.access_key,
        aws_secret_access_key=stack.secret_key,
        region_name="us-east-1",
        config=AioConfig(signature_version="s3v4", s3={"addressing_style": "path"}),
    ) as s3:
        where = {"Bucket": STORE_BUCKET, "Key": name}
        get = await s3.generate_presigned_url("get_object", where, ExpiresIn=LINK_S)
        put = await s3.generate_presigned_url("put_object", where, ExpiresIn=LINK_S)
        return get, put


@contextmanager
def _nginx(world: World) -> Iterator[None]:
    folder, port = world.folder / "nginx", world.ports["nginx"]
    (folder / "temp").mkdir(parents=True)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/temp/{kind};\n" for kind in kinds)
    store = world.stack.s3_endpoint.removeprefix("http://")
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"""{user}pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
daemon off;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    {temporary}
    client_max_body_size 0;
    upstream store {{ server {store}; keepalive 64; }}
    server {{
        listen {HOST}:{port};
        location / {{
            proxy_pass http://store;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_buffers 16 64k;
            proxy_buffer_size 64k;
            proxy_busy_buffers_size 256k;
            proxy_max_temp_file_size 0;
            proxy_read_timeout 600s;
            proxy_send_timeout 600s;
        }}
    }}
}}
"""
    )
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
    command = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running(command, folder / "out.log", lambda: listens(port)):
        pid_file = folder / "nginx.pid"
        world.pids["nginx"] = int(pid_file.read_text())
        yield


@contextmanager
def _plain(world: World) -> Iterator[None]:
    port = world.ports["plain"]
    log = world.folder / "plain.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.load.bench.plain", str(port)],
            env=world.environment(S3__BUCKET="plain"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _wait(lambda: listens(port), process, log)
        world.pids["plain"] = process.pid
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + 60
    while not ready():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < give_up, log.read_text()
        time.sleep(0.05)


def _curl(*arguments: str) -> None:
    subprocess.run(
        ["curl", "-sS", "--fail", "--noproxy", "*", "-o", "/dev/null", *arguments], check=True
    )


def memory_folder(needed_bytes: int) -> tuple[Path, bool]:
    """A folder that is memory where there is room for so much, else the disk; which it is."""
    memory = Path("/dev/shm")
    room = shutil.disk_usage(memory).free if memory.is_dir() else 0
    if min(room, _available_bytes()) >= needed_bytes:
        return _made(memory), True
    return disk_folder(), False


def disk_folder() -> Path:
    return _made(Path.cwd() / ".dev")


def _made(parent: Path) -> Path:
    folder = parent / f"mediagate-bench-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    return folder


def _available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0
