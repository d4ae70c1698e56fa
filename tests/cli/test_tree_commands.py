"""sync, cp, find and the others as the installed command, against the application on fakes."""

import asyncio
import json
import signal

import pytest

from tests.cli.test_client_commands import Command
from tests.client.breaking_proxy import Cut, breaking_proxy

pytestmark = pytest.mark.timeout(60)  # each test starts several processes


@pytest.fixture
def command(service, tmp_path):
    command = Command(service.url, tmp_path)
    command.environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    return command


@pytest.fixture
def folder(tmp_path):
    for number in range(30):
        path = tmp_path / "in" / str(number % 3) / f"{number:02}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * number)
    return tmp_path / "in"


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def sums(out):
    """The last line of --json, without what is 0."""
    return {name: value for name, value in json.loads(out.splitlines()[-1]).items() if value}


async def test_sync_goes_up_and_down_and_a_second_run_moves_nothing(command, folder, tmp_path):
    total = sum(range(30))
    out = await command.good("sync", "in", "mg://demo/x", "--json")
    assert sums(out) == {"put": 30, "moved_bytes": total}
    first = json.loads(out.splitlines()[0])
    assert (first["action"], first["name"] in files_of(folder)) == ("put", True)
    out = await command.good("sync", "in", "mg://demo/x", "--delete")
    assert out == "30 same; 0 bytes moved\n"
    await command.good("sync", "mg://demo/x", "out")
    assert files_of(tmp_path / "out") == files_of(folder)
    code, out, err = await command("sync", "in", "out")
    assert (code, out) == (2, b"")
    assert "one side is a folder" in err


async def test_a_sync_that_was_killed_is_completed_by_the_next(service, command, folder, tmp_path):
    """Its requests come to hang: the kill comes in the middle of files."""
    async with breaking_proxy(service.port) as proxy:
        proxy.cuts = [Cut(request_bytes=4000, hold=True)] * 2
        slow = Command(proxy.url, tmp_path)
        process = await slow.start("sync", "in", "mg://demo/x", "--parallel", "2")
        assert process.stdout is not None
        for _ in range(5):
            await process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    done = sums(await command.good("sync", "in", "mg://demo/x", "--json"))
    assert 0 < done["put"] < 30
    assert done["put"] + done["same"] == 30
    assert sums(await command.good("sync", "in", "mg://demo/x", "--json")) == {"same": 30}


async def test_cp_copies_there_and_back_and_trees(command, folder, tmp_path):
    assert await command.good("cp", "in/0/03", "mg://demo/one/") == "put     mg://demo/one/03\n"
    await command.good("cp", "mg://demo/one/03", "back")
    assert (tmp_path / "back").read_bytes() == b"\3\3\3"
    await command.good("cp", "-r", "in", "mg://demo/tree")
    out = await command.good("cp", "-r", "mg://demo/tree", "again", "--json")
    assert sums(out)["get"] == 30
    assert files_of(tmp_path / "again") == files_of(folder)


async def test_one_failure_is_told_and_is_exit_code_1(command, folder):
    (folder / "bad\\name").write_bytes(b"x")
    code, out, err = await command("sync", "in", "mg://demo/x")
    assert code == 1
    assert out.endswith(b"30 put, 1 failed; 435 bytes moved\n") or b"1 failed, 30 put" in out
    assert err.startswith("mediagate: bad\\name: ")


@pytest.mark.parametrize(
    "args",
    [
        ("find", "mg://demo", "--size-min", "10 apples"),
        ("find", "mg://demo", "--since", "yesterday"),
        ("archive", "mg://demo", "file.rar"),
        ("cp", "a", "b"),
        ("mv", "a", "mg://demo/b"),
        ("rm", "-r", "mg://demo"),
    ],
)
async def test_wrong_usage_exits_with_2(command, args):
    code, out, _ = await command(*args)
    assert (code, out) == (2, b"")


async def test_get_and_rm_tell_json(command, tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    await command.good("put", "f", "mg://demo/f")
    told = json.loads(await command.good("get", "mg://demo/f", "back", "--json"))
    assert (told["file"], told["size_bytes"]) == ("back", 3)
    told = json.loads(await command.good("rm", "mg://demo/f", "--json"))
    assert told == {"name": "mg://demo/f", "marker": None}
    assert await asyncio.to_thread((tmp_path / "back").read_bytes) == b"abc"
