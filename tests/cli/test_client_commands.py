"""put, get, ls, stat and rm as the installed command, against the application on fake stores."""

import asyncio
import json
import os
import pty
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import MIB
from tests.client.breaking_proxy import Cut, breaking_proxy
from tests.web.serving import ROOT_KEY, make_settings, running

MEDIAGATE = Path(sys.executable).with_name("mediagate")
pytestmark = pytest.mark.timeout(40)  # each test starts several processes
DATA = random.Random(17).randbytes(5 * MIB)


class Command:
    """`await command("ls", …)` gives its exit code, stdout and stderr."""

    def __init__(self, url, folder):
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "MEDIAGATE_URL": url,
            "MEDIAGATE_KEY": ROOT_KEY,
            "XDG_STATE_HOME": str(folder.with_name(folder.name + "-state")),
        }
        if "PYTHONPATH" in os.environ:  # the service that is tested, not the one installed
            self.environment["PYTHONPATH"] = os.environ["PYTHONPATH"]

    async def start(self, *args, **pipes):
        defaults = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return await asyncio.create_subprocess_exec(
            MEDIAGATE, *args, cwd=self.folder, env=self.environment, **(defaults | pipes)
        )

    async def __call__(self, *args, stdin=b""):
        process = await self.start(*args)
        out, err = await process.communicate(stdin)
        return process.returncode, out, err.decode()

    async def good(self, *args, stdin=b""):
        code, out, err = await self(*args, stdin=stdin)
        assert (code, err) == (0, "")
        return out.decode()


@pytest.fixture
async def service():
    async with running(make_settings()) as service:
        yield service


@pytest.fixture
def command(service, tmp_path):
    return Command(service.url, tmp_path)


@pytest.fixture
def film(tmp_path):
    (tmp_path / "film.bin").write_bytes(DATA)
    return tmp_path / "film.bin"


async def test_a_file_goes_there_and_back(command, film, tmp_path):
    out = await command.good("put", "film.bin", "mg://demo/a/film", "--make-bucket")
    assert out == f"mg://demo/a/film  {len(DATA)} bytes\n"
    assert await command.good("get", "mg://demo/a/film", "back") == ""
    assert (tmp_path / "back").read_bytes() == DATA
    await command.good("rm", "mg://demo/a/film")
    await command.good("rm", "mg://demo")
    assert await command.good("ls") == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "film.bin"]


async def test_get_names_the_file_after_the_object(command, film, tmp_path):
    await command.good("put", "film.bin", "mg://demo/a/b", "--make-bucket")
    (tmp_path / "folder").mkdir()
    await command.good("get", "mg://demo/a/b")
    await command.good("get", "mg://demo/a/b", "folder")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "folder" / "b").read_bytes() == DATA


async def test_pipes_at_both_ends(command):
    await command.good("put", "-", "mg://demo/piped", "--make-bucket", stdin=DATA)
    code, out, err = await command("get", "mg://demo/piped", "-")
    assert (code, out == DATA, err) == (0, True, "")


async def test_several_files_go_under_a_prefix(command, tmp_path):
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text(name)
    await command.good("put", "one.txt", "two.txt", "mg://demo/all/", "--make-bucket")
    await command.good("put", "one.txt", "mg://demo")
    assert await command.good("ls", "mg://demo") == "all/\none.txt\n"
    assert await command.good("ls", "mg://demo/all/") == "all/one.txt\nall/two.txt\n"
    assert await command.good("ls", "-r", "mg://demo") == "all/one.txt\nall/two.txt\none.txt\n"
    assert await command.good("ls") == "mg://demo\n"


async def test_facts_are_set_and_told(command, tmp_path):
    (tmp_path / "a.html").write_text("<p>")
    told = await command.good(
        "put", "a.html", "mg://demo/a", "--make-bucket", "--json", "--cache-control", "no-store",
        "--meta", "who=Zoë", "--tag", "a=b=c", "--tag", "d=",
    )  # fmt: skip
    facts = json.loads(told)
    assert facts["content_type"] == "text/html"
    assert facts["user_metadata"] == {"who": "Zoë"}
    assert facts["tags"] == {"a": "b=c", "d": ""}
    assert json.loads(await command.good("stat", "--json", "mg://demo/a")) == facts
    stated = (await command.good("stat", "mg://demo/a")).splitlines()
    lines = dict((*line.split(None, 1), "")[:2] for line in stated)
    assert lines["size_bytes"] == "3"
    assert lines["user_metadata.who"] == "Zoë"
    assert lines["digests.crc64nvme"] == facts["digests"]["crc64nvme"]
    (listed,) = (await command.good("ls", "--json", "mg://demo")).splitlines()
    assert json.loads(listed) == facts
    assert "text/html" in await command.good("ls", "-l", "mg://demo")


async def test_create_only_leaves_what_is_there(command, film):
    await command.good("put", "film.bin", "mg://demo/a", "--make-bucket", "--create-only")
    code, _, err = await command("put", "-", "mg://demo/a", "--create-only", stdin=b"other")
    assert code == 1
    assert err.count("\n") == 1
    assert (await command("get", "mg://demo/a", "-"))[1] == DATA


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("get", "mg://demo/absent"), 1, "no such object|no object"),
        (("ls", "mg://absent-bucket"), 1, "bucket"),
        (("put", "absent.bin", "mg://demo/a"), 1, "absent.bin"),
        (("put", ".", "mg://demo/a"), 1, "directory"),
        (("get", "mg://demo/a", "nowhere/at/all"), 1, "nowhere"),
        (("ls", "--url", "http://127.0.0.1:1"), 3, "no connection"),
        (("ls", "--url", "nonsense"), 1, "nonsense"),
        (("rm", "mg://B/x"), 1, "bucket name"),
    ],
)
async def test_an_error_is_one_line_and_an_exit_code(command, args, code, told):
    await command.good("put", "-", "mg://demo/other", "--make-bucket")
    found, out, err = await command(*args)
    assert (found, out) == (code, b"")
    assert err.startswith("mediagate: ")
    assert err.count("\n") == 1
    assert any(word in err for word in told.split("|"))


@pytest.mark.parametrize(
    "args",
    [
        ("put", "one"),
        ("put", "one", "two"),
        ("put", "one", "two", "mg://demo/file"),
        ("put", "-", "mg://demo/"),
        ("put", "a", "mg://demo/a", "--meta", "nonsense"),
        ("get", "mg://demo"),
        ("get", "mg://demo/folder/"),
        ("stat", "demo/a"),
        ("rm", "mg://demo/folder/"),
    ],
)
async def test_wrong_usage_exits_with_2(command, args):
    code, out, err = await command(*args)
    assert (code, out) == (2, b"")
    assert "Traceback" not in err


async def test_without_a_key_nothing_is_asked(command):
    del command.environment["MEDIAGATE_KEY"]
    assert await command("ls") == (
        2, b"", "mediagate: set MEDIAGATE_KEY to an API key of the service\n",
    )  # fmt: skip


async def test_a_broken_get_goes_on_by_itself_and_tells(service, command, film, tmp_path):
    await command.good("put", "film.bin", "mg://demo/a", "--make-bucket")
    async with breaking_proxy(service.port) as proxy:
        proxy.cuts = [Cut(answer_bytes=MIB), Cut(answer_bytes=2 * MIB)]
        code, _, err = await command("get", "--url", proxy.url, "mg://demo/a", "back")
    assert code == 0
    assert err.count("trying again") == 2
    assert (tmp_path / "back").read_bytes() == DATA


async def test_a_broken_get_goes_on_when_typed_again(service, command, film, tmp_path):
    await command.good("put", "film.bin", "mg://demo/a", "--make-bucket")
    async with breaking_proxy(service.port) as proxy:
        proxy.cuts = [Cut(answer_bytes=3 * MIB)]
        again = ("get", "--url", proxy.url, "--patience", "0", "mg://demo/a", "back")
        code, _, _ = await command(*again)
        assert code == 3
        assert not (tmp_path / "back").exists()
        await command.good(*again)
        assert b"Range: bytes=" in proxy.taken[-1]
    assert (tmp_path / "back").read_bytes() == DATA
    assert list(tmp_path.glob("*.part")) == []


async def test_ctrl_c_stops_a_get_and_keeps_what_came(service, command, film, tmp_path):
    await command.good("put", "film.bin", "mg://demo/a", "--make-bucket")
    async with breaking_proxy(service.port) as proxy:
        proxy.cuts = [Cut(answer_bytes=3 * MIB, hold=True)]
        process = await command.start("get", "--url", proxy.url, "mg://demo/a", "back")
        await until(lambda: any(part.stat().st_size >= MIB for part in tmp_path.glob("*.part")))
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 5)
    assert (process.returncode, err) == (130, b"")
    (part,) = tmp_path.glob("back.*.part")
    assert DATA.startswith(part.read_bytes())


async def test_ctrl_c_stops_a_put_that_waits_for_stdin(service, command):
    await command.good("put", "-", "mg://demo/other", "--make-bucket")
    reading, writing = os.pipe()
    try:
        process = await command.start("put", "-", "mg://demo/a", stdin=reading)
        os.write(writing, b"begun")
        await until(lambda: service.runtime.budget.used_bytes > 0)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 5)
    finally:
        os.close(reading)
        os.close(writing)
    assert (process.returncode, err) == (130, b"")
    assert await command.good("ls", "mg://demo") == "other\n"


async def test_a_reader_of_stdout_that_leaves_ends_it_quietly(command, film):
    await command.good("put", "film.bin", "mg://demo/a", "--make-bucket")
    reading, writing = os.pipe()
    process = await command.start("get", "mg://demo/a", "-", stdout=writing)
    os.close(writing)
    await asyncio.to_thread(os.read, reading, 1000)
    os.close(reading)
    _, err = await process.communicate()
    assert (process.returncode != 0, err) == (True, b"")


async def test_a_terminal_gets_a_progress_bar_and_stdout_stays_clean(command, film):
    await command.good("put", "film.bin", "mg://demo/a", "--make-bucket")
    ours, theirs = pty.openpty()
    process = await command.start("get", "mg://demo/a", "-", stderr=theirs)
    os.close(theirs)
    out, _ = await process.communicate()
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert out == DATA
    assert "mg://demo/a" in shown
    assert "MiB" in shown


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.02)
