"""`mg://` paths on real servers."""

import errno
import os
import random
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from service.client.filesystem import MediagateFileSystem
from tests.e2e.installation import ROOT_KEY

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
MIB = 1 << 20


@pytest.fixture
def fs(service):
    fs = MediagateFileSystem(service.url, ROOT_KEY, skip_instance_cache=True)
    yield fs
    fs._session.close_now()


@pytest.fixture
def folder(fs):
    """In a bucket of its own, which is deleted with all that is in it."""
    bucket = f"b-{secrets.token_hex(4)}"
    fs.mkdir(bucket)
    yield f"{bucket}/folder"
    fs.rm(bucket, recursive=True)
    assert not fs.exists(bucket)


def test_a_long_stream_comes_back_by_ranges(fs, folder):
    data = random.Random(1).randbytes(20 * MIB + 7)
    with fs.open(f"{folder}/long", "wb") as file:
        for start in range(0, len(data), 3 * MIB):
            file.write(data[start : start + 3 * MIB])
        assert not fs.exists(f"{folder}/long", refresh=True)
    with fs.open(f"{folder}/long") as file:
        for start in random.Random(2).sample(range(len(data)), 20):
            file.seek(start)
            assert file.read(1000) == data[start : start + 1000]
        file.seek(0)
        assert file.read() == data
        fs.pipe(f"{folder}/long", b"other")
        file.seek(5 * MIB)
        with pytest.raises(OSError, match="replaced") as raised:
            file.read(10)
    assert raised.value.errno == errno.ESTALE
    assert fs.cat(f"{folder}/long") == b"other"


def test_a_writer_that_fails_leaves_what_was_there(fs, folder):
    fs.pipe(f"{folder}/a", b"old")
    file = fs.open(f"{folder}/a", "wb", block_size=MIB)
    file.write(b"x" * 12 * MIB)
    file.discard()
    assert fs.cat(f"{folder}/a") == b"old"


def test_a_tree_goes_up_moves_and_comes_back(fs, folder, tmp_path):
    for name in ("a", "d/b", "d/é f/c"):
        (tmp_path / "up" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / name).write_text(name)
    fs.put(f"{tmp_path}/up/", f"{folder}/one/", recursive=True)
    fs.mv(f"{folder}/one", f"{folder}/two", recursive=True)
    fs.cp(f"{folder}/two/d/b", f"{folder}/two/copy")
    fs.get(f"{folder}/two/", f"{tmp_path}/down/", recursive=True)
    found = {path.relative_to(tmp_path / "down").as_posix(): path.read_text()
             for path in (tmp_path / "down").rglob("*") if path.is_file()}  # fmt: skip
    assert found == {"a": "a", "d/b": "d/b", "d/é f/c": "d/é f/c", "copy": "d/b"}
    assert not fs.exists(f"{folder}/one", refresh=True)


def test_a_table_of_pandas(service):
    address = {"MEDIAGATE_URL": service.url, "MEDIAGATE_KEY": ROOT_KEY}
    done = subprocess.run(
        [sys.executable, EXAMPLES / "pandas_parquet.py"],
        env=os.environ | address,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the mean price is 14." in done.stdout, done.stderr
    fs = MediagateFileSystem(service.url, ROOT_KEY, skip_instance_cache=True)
    fs.rm("examples", recursive=True)
