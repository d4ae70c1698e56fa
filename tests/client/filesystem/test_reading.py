"""Reads: slices, ranges, pinned versions, local files."""

import errno
import os
import pickle
import subprocess
import sys

import fsspec
import pytest
from fsspec.callbacks import Callback

from service.client.filesystem import MediagateFileSystem
from tests.web.serving import ROOT_KEY

DATA = bytes(range(256)) * 64


@pytest.fixture
def path(fs, bucket):
    fs.pipe(f"{bucket}/a", DATA)
    return f"{bucket}/a"


@pytest.mark.parametrize(
    ("start", "end"),
    [(None, None), (0, 10), (100, None), (-5, None), (None, -5), (-10, -5), (5, 5), (9, 3),
     (16380, 99999), (99999, None), (-99999, 3)],
)  # fmt: skip
def test_a_piece_is_what_a_slice_gives(fs, path, start, end):
    assert fs.cat_file(path, start, end) == DATA[start:end]


def test_a_piece_of_an_empty_object_is_empty(fs, bucket):
    fs.touch(f"{bucket}/empty")
    assert fs.cat_file(f"{bucket}/empty", 0, 5) == b""
    with fs.open(f"{bucket}/empty") as file:
        assert file.read() == b""


def test_a_random_read_is_a_range(fs, path, service):
    service.reads.clear()
    with fs.open(path, block_size=16, cache_type="none") as file:
        file.seek(5000)
        assert file.read(100) == DATA[5000:5100]
    assert service.reads == [(5000, 5100)]


def test_small_sequential_reads_share_one_range(fs, path, service):
    service.reads.clear()
    with fs.open(path, block_size=4096) as file:
        assert b"".join(file.read(16) for _ in range(64)) == DATA[:1024]
    assert service.reads == [(0, 4112)]


def test_ranges_that_lie_close_are_fetched_as_one(fs, path, service):
    service.reads.clear()
    starts, ends = [0, 20, 9000], [10, 30, 9010]
    got = fs.cat_ranges([path] * 3, starts, ends, max_gap=16)
    assert got == [DATA[start:end] for start, end in zip(starts, ends, strict=True)]
    assert sorted(service.reads) == [(0, 30), (9000, 9010)]


def test_a_range_that_fails_does_not_take_the_others_with_it(fs, path, bucket):
    got = fs.cat_ranges([path, f"{bucket}/none"], [0, 0], [4, 4], max_gap=16)
    assert got[0] == DATA[:4]
    assert isinstance(got[1], FileNotFoundError)


def test_an_overwrite_in_mid_read_is_told_not_mixed(fs, path):
    with fs.open(path, block_size=16) as file:
        assert file.read(4) == DATA[:4]
        fs.pipe(path, b"other")
        file.seek(8000)
        with pytest.raises(OSError, match="replaced") as raised:
            file.read(4)
    assert raised.value.errno == errno.ESTALE


def test_a_bucket_with_versions_lets_readers_go_on(fs, path):
    fs.mkdir(f"v-{path[:10]}", versioning=True)
    kept = f"v-{path[:10]}/a"
    fs.pipe(kept, DATA)
    version = fs.ukey(kept)
    with fs.open(kept, block_size=16) as file:
        assert file.read(4) == DATA[:4]
        fs.pipe(kept, b"other")
        fs.rm(kept)
        assert file.read() == DATA[4:]
    assert not fs.exists(kept)
    assert fs.cat_file(kept, -3, version=version) == DATA[-3:]
    with fs.open(kept, version=version) as file:
        assert file.read(9) == DATA[:9]


def test_an_open_reader_is_pickled_with_its_version(fs, path):
    with fs.open(path) as file:
        file.seek(10)
        with pickle.loads(pickle.dumps(file)) as again:
            assert again.read(3) == DATA[10:13]
        left = pickle.dumps(file)
    fs.pipe(path, b"other")
    with pytest.raises(FileNotFoundError):
        pickle.loads(left)


def test_text_and_lines(fs, bucket):
    fs.write_text(f"{bucket}/t", "één\ntwee\n", encoding="utf-8")
    with fs.open(f"{bucket}/t", "r", encoding="utf-8") as file:
        assert file.readlines() == ["één\n", "twee\n"]


def test_a_download_appears_as_a_whole_file(fs, path, tmp_path):
    watched = Callback()
    fs.get_file(path, str(tmp_path / "a"), callback=watched)
    assert (tmp_path / "a").read_bytes() == DATA
    assert (watched.size, watched.value) == (len(DATA), len(DATA))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_download_into_a_file_object(fs, path, tmp_path):
    with (tmp_path / "b").open("wb") as file:
        fs.get_file(path, file)
    assert (tmp_path / "b").read_bytes() == DATA


def test_a_url_is_enough(path, service):
    options = {"endpoint_url": service.url, "key": ROOT_KEY}
    with fsspec.open(f"mg://{path}", **options) as file:
        assert file.read() == DATA
    MediagateFileSystem.clear_instance_cache()


FORK = """
import fsspec, gc, os, sys
fs = fsspec.filesystem("mg")
assert fs.cat_file(sys.argv[1]) == b"1"
for _ in range(2):
    child = os.fork()
    if not child:
        del fs
        own = fsspec.filesystem("mg")
        gc.collect()
        os._exit(own.cat_file(sys.argv[1]) != b"1")
    assert os.waitpid(child, 0)[1] == 0
    assert fs.cat_file(sys.argv[1]) == b"1"
"""


def test_a_forked_child_has_a_file_system_of_its_own(fs, bucket, service):
    fs.pipe(f"{bucket}/a", b"1")
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, f"{bucket}/a"],
        env=os.environ | {"MEDIAGATE_URL": service.url, "MEDIAGATE_KEY": ROOT_KEY},
        capture_output=True,
        text=True,
        timeout=9,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_an_asynchronous_reader(connect, path):
    fs = connect(asynchronous=True)
    session = await fs.set_session()
    async with await fs.open_async(f"mg://{path}") as file:
        assert await file.read(4) == DATA[:4]
        assert await file.read() == DATA[4:]
    await session.close()
