"""The embedded stack on real servers: what it keeps, what it leaves, what it refuses."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pymongo
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from service.devstack import Stack, StackError, ports, running_stack
from service.devstack.process import Check, Child, ServerPlan
from service.devstack.servers import find_binary
from tests.processes import is_running, until

pytestmark = [pytest.mark.timeout(90), pytest.mark.slow]

HOLD_A_STACK = """
import sys, time
from pathlib import Path
from service.devstack import running_stack
with running_stack(Path(sys.argv[1]), metadata="mongo", in_memory=True) as stack:
    print(stack.s3.pid, stack.metadata.pid, flush=True)
    time.sleep(600)
"""


async def in_s3(stack: Stack, call: Callable) -> object:
    config = AioConfig(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    async with get_session().create_client(
        "s3",
        endpoint_url=stack.s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id=stack.access_key,
        aws_secret_access_key=stack.secret_key,
        config=config,
    ) as client:
        return await call(client)


async def put(client) -> None:
    await client.create_bucket(Bucket="kept")
    await client.put_object(Bucket="kept", Key="key", Body=b"content")


async def get(client) -> bytes:
    answer = await client.get_object(Bucket="kept", Key="key")
    async with answer["Body"] as body:
        return await body.read()


async def test_data_credentials_and_ports_are_kept_from_run_to_run(tmp_path: Path) -> None:
    with running_stack(tmp_path / "data", metadata="mongo") as first:
        await in_s3(first, put)
        insert_a_document(first)
        s3_pid, metadata_pid = first.s3.pid, first.metadata.pid
    assert not is_running(s3_pid)
    assert not is_running(metadata_pid)
    started = time.monotonic()
    with running_stack(tmp_path / "data", metadata="mongo") as second:
        assert time.monotonic() - started < 10, "a second start must be quick"
        assert await in_s3(second, get) == b"content"
        assert count_documents(second) == 1
        assert second.env == first.env


def test_metadata_are_a_file_beside_one_server_unless_asked_otherwise(tmp_path: Path) -> None:
    with running_stack(tmp_path, stop_grace_s=0) as stack:
        assert stack.metadata is None
        assert stack.metadata_url == f"sqlite:///{tmp_path}/sqlite/seaweedfs.sqlite3"
        assert stack.servers == [stack.s3]
        stack.check()


def test_metadata_may_be_somewhere_else(tmp_path: Path) -> None:
    url = "mongodb://there.example:27017/?replicaSet=rs0"
    with running_stack(tmp_path, metadata=url, stop_grace_s=0) as stack:
        assert (stack.metadata, stack.metadata_url) == (None, url)
    refusal = pytest.raises(StackError, match="sqlite, mongo or a URL, not 'postgres'")
    with refusal, running_stack(tmp_path, metadata="postgres"):
        pass


def test_metadata_of_the_other_engine_are_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "secantusdb" / "seaweedfs").mkdir(parents=True)
    (tmp_path / "secantusdb" / "seaweedfs" / "WiredTiger").touch()
    refusal = pytest.raises(StackError, match="keeps its metadata in MongoDB: go on with METADATA")
    with refusal, running_stack(tmp_path):
        pass
    (tmp_path / "sqlite").mkdir()
    (tmp_path / "sqlite" / "seaweedfs.sqlite3").touch()
    with running_stack(tmp_path, stop_grace_s=0) as stack:
        stack.check()


def insert_a_document(stack: Stack) -> None:
    with pymongo.MongoClient(stack.metadata_url) as client:
        client["kept"]["things"].insert_one({"a": 1})


def count_documents(stack: Stack) -> int:
    with pymongo.MongoClient(stack.metadata_url) as client:
        return client["kept"]["things"].count_documents({})


async def test_data_is_readable_after_the_ports_had_to_change(tmp_path: Path) -> None:
    with running_stack(tmp_path) as first:
        await in_s3(first, put)
        port = first.s3.plan.port
    with socket.create_server(("127.0.0.1", port)), running_stack(tmp_path) as second:
        assert second.s3.plan.port != port
        assert await in_s3(second, get) == b"content"


def test_env_file_holds_four_names_and_is_private(devstack: Stack) -> None:
    names = dict(line.split("=", 1) for line in devstack.env_file.read_text().splitlines())
    assert names == devstack.env
    assert list(names) == [
        "MEDIAGATE_S3__ENDPOINT",
        "MEDIAGATE_S3__ACCESS_KEY",
        "MEDIAGATE_S3__SECRET_KEY",
        "MEDIAGATE_METADATA__URL",
    ]
    for name in ("env", "stack.json", "seaweedfs/identities.json"):
        mode = stat.S_IMODE((devstack.env_file.parent / name).stat().st_mode)
        assert mode == 0o600, name


def test_killed_parent_takes_the_servers_with_it_and_frees_the_folder(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_STACK, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_running(pid) for pid in pids)
        parent.kill()
    assert until(lambda: not any(is_running(pid) for pid in pids))
    with running_stack(tmp_path, metadata="mongo", in_memory=True, stop_grace_s=0):
        pass


def test_second_run_on_the_same_folder_is_refused_and_another_folder_is_not(
    devstack: Stack, tmp_path: Path
) -> None:
    folder = devstack.env_file.parent
    refusal = pytest.raises(StackError, match=f"in use by another run .process {os.getpid()}")
    with refusal, running_stack(folder):
        pass
    with running_stack(tmp_path, stop_grace_s=0) as beside:
        beside.check()
        assert beside.env != devstack.env
    devstack.check()


def test_dead_server_is_reported_with_its_log(tmp_path: Path) -> None:
    with running_stack(tmp_path, stop_grace_s=0) as stack:
        stack.s3.kill()
        stack.s3.wait_stopped(time.monotonic() + 5)
        with pytest.raises(StackError, match=r"SeaweedFS died with code -9; the end of .*log"):
            stack.check()


def test_damaged_memory_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{")
    with pytest.raises(StackError, match="damaged; remove"), running_stack(tmp_path):
        pass


def sleeper(tmp_path: Path, *, script: str = "import time; time.sleep(60)") -> ServerPlan:
    (port,) = ports.choose_ports(1)
    return ServerPlan("Sleeper", [sys.executable, "-c", script], port, tmp_path, [Check(port)])


def test_server_that_ends_or_never_answers_is_a_clear_error(tmp_path: Path) -> None:
    ended = Child(sleeper(tmp_path, script="print('no luck')"), tmp_path / "log")
    with pytest.raises(StackError, match=r"Sleeper ended with code 0 .*(?s:\n.*no luck)"):
        ended.wait_healthy(time.monotonic() + 20)
    silent = Child(sleeper(tmp_path), tmp_path / "log")
    try:
        with pytest.raises(StackError, match="Sleeper was not ready in time"):
            silent.wait_healthy(time.monotonic() + 0.2)
    finally:
        silent.wait_stopped(time.monotonic())
    assert silent.exit_code == -9


def test_child_of_another_thread_is_refused(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def start() -> None:
        try:
            Child(sleeper(tmp_path), tmp_path / "log")
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])


def test_ports_of_the_last_run_are_kept_only_while_free() -> None:
    first = ports.choose_ports(3)
    assert len(set(first)) == 3
    assert ports.choose_ports(3, first) == first
    with socket.create_server(("127.0.0.1", first[1])):
        again = ports.choose_ports(3, first)
    assert first[1] not in again


def test_start_is_tried_again_when_a_port_is_taken_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.devstack import stack as stack_module

    taken = socket.create_server(("127.0.0.1", 0))
    chosen = []

    def choose(count: int, preferred=()) -> list[int]:
        result = ports.choose_ports(count, preferred)
        if len(chosen) < 2:
            result[-1 if count == 1 else 4] = taken.getsockname()[1]
        chosen.append(result)
        return result

    monkeypatch.setattr(stack_module, "choose_ports", choose)
    given = {"metadata": "mongo", "in_memory": True, "stop_grace_s": 0}
    with taken, running_stack(tmp_path, **given) as stack:
        stack.check()
    assert len(chosen) == 4


@pytest.mark.minio
async def test_minio_keeps_its_data_under_its_own_folder(minio_stack: Stack) -> None:
    await in_s3(minio_stack, put)
    assert await in_s3(minio_stack, get) == b"content"
    assert (minio_stack.env_file.parent / "minio" / "kept" / "key").exists()


def test_missing_binary_is_named_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary("minio") is None
    refusal = pytest.raises(StackError, match="no `minio` command; install it with: make minio")
    with refusal, running_stack(tmp_path, "minio"):
        pass
