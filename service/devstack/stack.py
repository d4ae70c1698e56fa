"""Start the servers beside each other, and stop them again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.devstack.data_folder import (
    Credentials,
    Memory,
    locked,
    refuse_to_hide,
    sqlite_url,
    write_env,
)
from service.devstack.errors import StackError
from service.devstack.ports import HOST, choose_ports
from service.devstack.process import Child, ServerPlan
from service.devstack.servers import (
    MINIO_PORTS,
    SEAWEEDFS_PORTS,
    SECANTUSDB_PORTS,
    minio,
    seaweedfs,
    secantusdb,
)

S3Kind = Literal["seaweedfs", "minio"]

START_TIMEOUT_S = 60.0
# SeaweedFS waits 15 s for streams that never end before it closes; what it has acknowledged is
# with the kernel by then, so it is given a moment for deletions and then killed.
STOP_GRACE_S = 5.0
START_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack. env: what the service needs to know, as MEDIAGATE_* variables.

    metadata: None where they need no server of the stack's: a file of SQLite, or somewhere else.
    """

    s3: Child
    metadata: Child | None
    env: dict[str, str]
    env_file: Path

    @property
    def servers(self) -> list[Child]:
        return [child for child in (self.s3, self.metadata) if child is not None]

    @property
    def s3_endpoint(self) -> str:
        return self.env["MEDIAGATE_S3__ENDPOINT"]

    @property
    def access_key(self) -> str:
        return self.env["MEDIAGATE_S3__ACCESS_KEY"]

    @property
    def secret_key(self) -> str:
        return self.env["MEDIAGATE_S3__SECRET_KEY"]

    @property
    def metadata_url(self) -> str:
        return self.env["MEDIAGATE_METADATA__URL"]

    def check(self) -> None:
        """Raise StackError where a server has died."""
        for child in self.servers:
            if child.exit_code is not None:
                raise child.failure(f"died with code {child.exit_code}")

    def kill(self) -> None:
        """End all at once, for an impatient user; leaving the context still reaps them."""
        for child in self.servers:
            child.kill()


@contextmanager
def running_stack(
    data: Path,
    s3: S3Kind = "seaweedfs",
    metadata: str = "sqlite",
    *,
    in_memory: bool = False,
    stop_grace_s: float = STOP_GRACE_S,
) -> Iterator[Stack]:
    """Run a stack on a data folder, made where it is absent, and stop it at the end.

    metadata: `sqlite`, `mongo`, or the URL of metadata that are somebody else's care.
    in_memory: what MongoDB has is not kept (for tests). Must be entered in the main thread.
    Raises StackError where the folder is in use, a binary is missing or a server does not start,
    and where the metadata of that folder are kept by the other engine.
    """
    data = data.absolute()
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(f"cannot use {data}: {error.strerror}") from error
    with locked(data) as lock, ExitStack() as cleanup:
        memory = Memory(data)
        servers = [_Server(data, memory, lock, _S3_RECIPES[s3])]
        if metadata == "mongo":
            recipe = _metadata_recipe(s3, in_memory=in_memory)
            servers.append(_Server(data, memory, lock, recipe))
        elif metadata == "sqlite":
            refuse_to_hide(data, s3)
        elif "://" not in metadata:
            raise StackError(f"metadata must be sqlite, mongo or a URL, not {metadata!r}")
        cleanup.callback(_stop, servers, stop_grace_s)
        for server in servers:
            server.launch()
        deadline = time.monotonic() + START_TIMEOUT_S
        s3_child, *metadata_children = [server.wait_healthy(deadline) for server in servers]
        metadata_url = sqlite_url(data, s3) if metadata == "sqlite" else metadata
        if metadata_children:
            port = metadata_children[0].plan.port
            metadata_url = f"mongodb://{HOST}:{port}/?replicaSet=secantus"
        stack = Stack(
            s3=s3_child,
            metadata=metadata_children[0] if metadata_children else None,
            env={
                "MEDIAGATE_S3__ENDPOINT": f"http://{HOST}:{s3_child.plan.port}",
                "MEDIAGATE_S3__ACCESS_KEY": memory.credentials.access_key,
                "MEDIAGATE_S3__SECRET_KEY": memory.credentials.secret_key,
                "MEDIAGATE_METADATA__URL": metadata_url,
            },
            env_file=data / "env",
        )
        write_env(stack.env_file, stack.env)
        yield stack


@dataclass(frozen=True, slots=True)
class _Recipe:
    """folder: below the data folder. plan: the command line for a folder and `port_count` ports."""

    name: str
    folder: str
    port_count: int
    plan: Callable[[Path, Credentials, Sequence[int]], ServerPlan]


_S3_RECIPES: dict[S3Kind, _Recipe] = {
    "seaweedfs": _Recipe("seaweedfs", "seaweedfs", SEAWEEDFS_PORTS, seaweedfs),
    "minio": _Recipe("minio", "minio", MINIO_PORTS, minio),
}


def _metadata_recipe(s3: S3Kind, *, in_memory: bool) -> _Recipe:
    def plan(folder: Path, _: Credentials, ports: Sequence[int]) -> ServerPlan:
        return secantusdb(folder, ports, in_memory=in_memory)

    return _Recipe("secantusdb", f"secantusdb/{s3}", SECANTUSDB_PORTS, plan)


class _Server:
    """A server on its way up; where another program takes one of its ports, it starts again."""

    def __init__(self, data: Path, memory: Memory, lock: int, recipe: _Recipe) -> None:
        self.child: Child | None = None
        self._data = data
        self._memory = memory
        self._lock = lock
        self._recipe = recipe
        self._ports = memory.ports(recipe.name)

    def launch(self) -> Child:
        recipe = self._recipe
        self._ports = choose_ports(recipe.port_count, preferred=self._ports)
        log = self._data / "log" / f"{recipe.name}.log"
        log.parent.mkdir(exist_ok=True)
        plan = recipe.plan(self._data / recipe.folder, self._memory.credentials, self._ports)
        self.child = Child(plan, log, keep_open=[self._lock])
        return self.child

    def wait_healthy(self, deadline: float) -> Child:
        """deadline: on the monotonic clock. Raises StackError."""
        child = self.child or self.launch()
        for _ in range(START_ATTEMPTS - 1):
            try:
                child.wait_healthy(deadline)
                break
            except StackError:
                if child.exit_code is None or "in use" not in child.log_tail().lower():
                    raise
            self._ports = []
            child = self.launch()
        else:
            child.wait_healthy(deadline)
        self._memory.keep_ports(self._recipe.name, self._ports)
        return child


def _stop(servers: Sequence[_Server], grace_s: float) -> None:
    """SIGTERM to all, then wait for each, SIGKILL for those that stay."""
    children = [server.child for server in servers if server.child is not None]
    for child in children:
        child.terminate()
    deadline = time.monotonic() + grace_s
    for child in children:
        child.wait_stopped(deadline)
