"""Uploads that were stopped, and go on when the command is typed again; `uploads ls` and `rm`."""

import asyncio
import json
import random
import re
import signal

import pytest

from service.settings import MIB
from tests.cli.test_client_commands import Command, until
from tests.client.breaking_proxy import Cut, breaking_proxy

pytestmark = pytest.mark.timeout(40)  # each test starts several processes
SIZE = 12 * MIB
DATA = random.Random(29).randbytes(SIZE)
SENT = 8 * MIB


@pytest.fixture
async def proxy(service):
    async with breaking_proxy(service.port) as proxy:
        yield proxy


@pytest.fixture
def command(proxy, tmp_path):
    (tmp_path / "film.bin").write_bytes(DATA)
    command = Command(proxy.url, tmp_path)
    command.environment["XDG_STATE_HOME"] = str(tmp_path / "state")
    return command


PUT = ("put", "film.bin", "mg://demo/film", "--resumable")


async def stopped(command, proxy, number, *args):
    """The command, stopped by a signal when 8 MiB have passed; its exit code."""
    proxy.cuts = [Cut(request_bytes=SENT, hold=True)]
    process = await command.start(*args)
    await until(lambda: proxy.passed and proxy.passed[0] >= SENT)
    process.send_signal(number)
    _, err = await asyncio.wait_for(process.communicate(), 10)
    assert err == b""
    return process.returncode


def entries(tmp_path):
    return [path.suffix for path in (tmp_path / "state").rglob("*.*")]


def heads(proxy, name):
    return [int(found) for head in proxy.taken for found in re.findall(name + rb": (\d+)", head)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_a_put_that_was_stopped_goes_on_when_typed_again(command, proxy, tmp_path, number):
    code = await stopped(command, proxy, number, *PUT)
    assert code == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert ".json" in entries(tmp_path)
    proxy.taken[:] = [b""] * len(proxy.taken)
    assert await command.good(*PUT) == f"mg://demo/film  {SIZE} bytes\n"
    (offset,) = heads(proxy, rb"Upload-Offset")
    assert SENT - MIB <= offset <= SENT
    assert await command.good("get", "mg://demo/film", "back") == ""
    assert (tmp_path / "back").read_bytes() == DATA
    assert entries(tmp_path) == []


async def test_uploads_are_listed_and_ended(service, command):
    headers = {"Upload-Complete": "?0", "Upload-Length": "5"}
    begun = service.fetch("POST", "/v1/uploads?bucket=demo&key=film", headers=headers, data=b"abc")
    async with begun as answer:
        id = answer.headers["Location"].rpartition("/")[2]
    (line,) = (await command.good("uploads", "ls")).splitlines()
    assert re.fullmatch(rf"{id} +3/5  [-0-9]+T[:0-9]+Z  mg://demo/film", line)
    upload = json.loads(await command.good("uploads", "ls", "--json"))
    assert (upload["id"], upload["offset"], upload["length_bytes"]) == (id, 3, 5)
    assert json.loads(await command.good("uploads", "rm", id, "--json")) == {"id": id}
    code, out, err = await command("uploads", "rm", id)
    assert (code, out, err.count("\n")) == (1, b"", 1)
