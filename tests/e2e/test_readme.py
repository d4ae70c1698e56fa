"""The README's first minute, typed word for word against a running service."""

import asyncio
import os
import re
import shutil
import sysconfig
from pathlib import Path

import pytest

from service.client import AsyncMediagate
from tests.e2e.installation import ROOT_KEY

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(name: str) -> list[str]:
    return re.findall(rf"^```sh {name}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(tmp_path):
    """What `make run` leaves in a clone, as far as the README relies on it."""
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / ".dev").mkdir()
    (tmp_path / ".dev" / "key").write_text(ROOT_KEY + "\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(sysconfig.get_path("scripts"))
    return tmp_path


async def typed(script: str, folder: Path) -> str:
    """What a shell prints for it; any command that fails ends it."""
    clean = {name: value for name, value in os.environ.items() if "MEDIAGATE" not in name}
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script,
        cwd=folder, env=clean, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_the_first_minute_works_as_it_is_written(service, checkout):
    (setup,) = blocks("setup")
    assert "MEDIAGATE_URL=http://127.0.0.1:8080" in setup
    curl, command_line = blocks("first-minute")
    elsewhere = f"export MEDIAGATE_URL={service.url}\n"
    told = await typed(setup + elsewhere + curl + command_line, checkout)
    assert "\n1000\n500\n" in told.replace("}", "\n")
    assert '"key":"films/two.bin"' in told
    assert '"prefixes":["docs/","films/"]' in told
    assert "docs/api.md\n" in told
    assert '"next":null' in told
    assert '"delete_marker":true' in told
    assert (checkout / "docs.zip").read_bytes().startswith(b"PK")
    assert (checkout / "back.bin").read_bytes() == (checkout / "film.bin").read_bytes()
    async with AsyncMediagate(service.url, ROOT_KEY) as mediagate:
        left = [item.key async for page in mediagate.pages("demo") for item in page.items]
        synced = [key for key in left if key.startswith("handbook/")]
        assert [key for key in left if key not in synced] == ["docs.tar", "docs/LICENSE"]
        assert len(synced) == sum(path.is_file() for path in (ROOT / "docs").rglob("*"))
