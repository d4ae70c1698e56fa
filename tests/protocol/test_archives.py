"""What the packers give, read by the programs that people have."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.protocol.archives import Packer, TarPacker, ZipPacker

NOON = datetime(2026, 1, 2, 12, 0, 1, 500_000, tzinfo=UTC)
PACKERS = pytest.mark.parametrize("kind", [ZipPacker, TarPacker])
NAMES = {
    "plain.txt": b"plain",
    "empty": b"",
    "фильмы/кино.mp4": b"\0" * 300_000,
    "映画/日本.bin": bytes(range(256)) * 3000,
    "🎬 é/" + "long " * 40 + "/name": b"x",
}


def packed(packer: Packer, entries: Mapping[str, bytes], chunk_bytes: int = 100_000) -> bytes:
    out = bytearray()
    for name, content in entries.items():
        out += packer.begin(name, len(content), NOON)
        for start in range(0, len(content), chunk_bytes):
            out += packer.data(content[start : start + chunk_bytes])
        out += packer.finish()
    return bytes(out + packer.end())


def test_zip_opens_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(packed(ZipPacker(), NAMES))
    with zipfile.ZipFile(path) as found:
        assert found.testzip() is None
        assert found.namelist() == list(NAMES)
        assert {name: found.read(name) for name in NAMES} == NAMES
        assert found.infolist()[0].date_time == (2026, 1, 2, 12, 0, 0)
    if unzip := shutil.which("unzip"):
        subprocess.run([unzip, "-tq", path], check=True, capture_output=True)


def test_tar_opens_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(packed(TarPacker(), NAMES))
    assert path.stat().st_size % tarfile.RECORDSIZE == 0
    with tarfile.open(path) as found:
        members = {m.name: found.extractfile(m) for m in found}
        assert {name: file.read() for name, file in members.items() if file} == NAMES
        assert found.getmember("plain.txt").mtime == int(NOON.timestamp())
    if tar := shutil.which("tar"):
        subprocess.run([tar, "-tf", path], check=True, capture_output=True)


@PACKERS
@settings(max_examples=20)
@given(cut=st.integers(1, 400_000))
def test_bytes_do_not_depend_on_how_chunks_are_cut(
    kind: type[ZipPacker] | type[TarPacker], cut: int
) -> None:
    entries = {"a": b"ab" * 300_000, "b": b"x"}
    assert packed(kind(), entries, max(cut, 1000)) == packed(kind(), entries)


def test_zip_of_more_than_65535_entries_is_a_zip64() -> None:
    whole = packed(ZipPacker(), {f"{n}": b"" for n in range(65_540)})
    with zipfile.ZipFile(io.BytesIO(whole)) as found:
        assert len(found.namelist()) == 65_540


def test_headers_of_members_past_the_old_limits() -> None:
    size = 5 << 30
    assert b"\xff\xff\xff\xff" in ZipPacker().begin("big", size, NOON)
    header = TarPacker().begin("big", 9 << 30, NOON)
    assert b"size=9663676416" in header


def test_times_that_a_zip_cannot_tell() -> None:
    for year in (1970, 2100):
        moment = datetime(year, 1, 1, tzinfo=UTC)
        packer = ZipPacker()
        whole = packer.begin("a", 0, moment) + packer.finish() + packer.end()
        with zipfile.ZipFile(io.BytesIO(whole)) as found:
            assert found.infolist()[0].date_time[0] == max(year, 1980)


def test_a_packer_that_is_dropped_in_the_middle_says_nothing() -> None:
    packer = ZipPacker()
    packer.begin("a", 10, NOON)
    packer.data(b"x")
    del packer
