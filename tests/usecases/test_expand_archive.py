"""Archives that are unpacked, on stores in memory: what is kept, what is undone, round trips."""

from __future__ import annotations

import asyncio
import io
import tarfile
import zipfile
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import OutcomeUnknown, StoreUnavailable, TooLarge
from service.model.ids import DEFAULT_TENANT
from service.model.upload import UploadState
from service.protocol.archives import TarPacker, ZipPacker
from service.protocol.unpack_tar import unpack_tar
from service.protocol.unpack_zip import unpack_zip
from service.protocol.unpacking import Caps, Meter, entry_key
from service.settings import MIB
from service.usecases.expand_archive import ExpandRequest, Expansion, guessed_type
from service.usecases.put_object import PutResult
from service.usecases.runtime import Runtime
from service.usecases.sweep import sweep
from tests.fakes.blob_store import FakeBlobStore
from tests.fakes.metadata import FakeMetadata
from tests.protocol.test_archives import NOON
from tests.usecases.conftest import Put, chunked, some_bytes
from tests.usecases.test_put_object import read_back

FILES = {"a": b"small", "big": some_bytes(12 * MIB)}


def tarred(files: dict[str, bytes]) -> bytes:
    packer = TarPacker()
    out = bytearray()
    for name, content in files.items():
        out += packer.begin(name, len(content), NOON) + packer.data(content) + packer.finish()
    return bytes(out + packer.end())


async def expand(runtime: Runtime, body: AsyncIterator[bytes], *, atomic: bool = True) -> Expansion:
    expansion = Expansion(
        runtime,
        ExpandRequest(DEFAULT_TENANT, "films", "", "tar", atomic, allow=lambda _key: None),
    )
    await expansion.run(body)
    return expansion


async def test_everything_is_visible_at_once(
    runtime: Runtime, metadata: FakeMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    commit = metadata.uploads.commit_all

    async def look(*args: object, **kwargs: object) -> object:
        seen.append(len(metadata.versions.versions))
        return await commit(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(metadata.uploads, "commit_all", look)
    expansion = await expand(runtime, chunked(tarred(FILES)))
    assert seen == [0]
    assert all(isinstance(each, PutResult) for each in expansion.outcomes)
    for key, content in FILES.items():
        assert await read_back(runtime, key) == content


async def test_crash_before_the_commit_leaves_nothing(
    runtime: Runtime,
    metadata: FakeMetadata,
    blobs: FakeBlobStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even of the large one, whose blob is whole and `completing`: it would be a half."""

    async def die(*_: object, **__: object) -> None:
        raise OutcomeUnknown

    with monkeypatch.context() as patch:
        patch.setattr(metadata.uploads, "commit_all", die)
        with pytest.raises(OutcomeUnknown):
            await expand(runtime, chunked(tarred(FILES)))
    assert len(blobs.blobs) == 2
    states = {upload.state for upload in metadata.uploads.uploads.values()}
    assert states == {UploadState.OPEN, UploadState.COMPLETING}
    metadata.clock.advance(31)
    report = await sweep(runtime)
    assert (report.rolled_forward, report.aborted) == (0, 2)
    assert not blobs.blobs


async def test_store_that_fails_at_the_last_entry_undoes_the_first(
    runtime: Runtime,
    metadata: FakeMetadata,
    blobs: FakeBlobStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(blobs, "create_multipart", fail)
    monkeypatch.setattr("service.usecases.open_multipart._CREATE_PAUSES_S", ())
    with pytest.raises(StoreUnavailable):
        await expand(runtime, chunked(tarred(FILES)))
    await runtime.tasks.drain(5)
    assert not metadata.versions.versions
    assert not blobs.blobs


async def test_leases_of_what_is_staged_are_kept(
    runtime: Runtime, metadata: FakeMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first entry waits longer than its lease for the second."""
    monkeypatch.setattr("service.usecases.staging.RENEWALS_A_LEASE", 3000)
    whole = tarred({"a": b"x", "b": b"y"})

    async def slow() -> AsyncIterator[bytes]:
        yield whole[:1100]
        async with asyncio.timeout(5):
            while not metadata.uploads.uploads:
                await asyncio.sleep(0.001)
        for _ in range(4):
            metadata.clock.advance(20)
            await asyncio.sleep(0.1)
            assert (await sweep(runtime)).aborted == 0
        yield whole[1100:]

    expansion = await expand(runtime, slow())
    assert len(expansion.outcomes) == 2


async def test_a_put_meanwhile_does_not_disturb(
    runtime: Runtime, put: Put, metadata: FakeMetadata
) -> None:
    await put(b"older", "a")
    await expand(runtime, chunked(tarred(FILES)))
    assert await read_back(runtime, "a") == b"small"


SEGMENT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\:"),
    min_size=1,
    max_size=60,
).filter(lambda text: text not in (".", ".."))
KEY = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)
CONTENTS = st.dictionaries(KEY, st.binary(max_size=2000), max_size=5)
GENEROUS = Caps(max_entries=100, max_bytes=1 << 30, max_ratio=1000)


@settings(max_examples=60)
@given(files=CONTENTS, cut=st.integers(1, 5000))
@pytest.mark.parametrize(("packer", "unpack"), [(ZipPacker, unpack_zip), (TarPacker, unpack_tar)])
def test_what_is_packed_is_unpacked(
    files: dict[str, bytes], cut: int, packer: type[ZipPacker], unpack: object
) -> None:
    packing = packer()
    out = bytearray()
    for name, content in files.items():
        out += packing.begin(name, len(content), NOON)
        out += packing.data(content)
        out += packing.finish()
    out += packing.end()
    pieces = [bytes(out[at : at + cut]) for at in range(0, len(out), cut)]
    found = {
        entry_key(entry.name, ""): b"".join(entry.chunks)
        for entry in unpack(pieces, Meter(GENEROUS))  # type: ignore[operator]
    }
    assert found == files


@pytest.mark.parametrize("skipped", [0, 1, 2])
def test_entries_that_are_not_read_are_passed_over(skipped: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "abc":
            archive.writestr(name, some_bytes(100_000))
    read = []
    for number, entry in enumerate(unpack_zip([out.getvalue()], Meter(GENEROUS))):
        if number == skipped:
            next(entry.chunks)
        else:
            read.append(b"".join(entry.chunks))
    assert read == [some_bytes(100_000)] * 2


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("a/b.mp4", "video/mp4"),
        ("b.TXT", "text/plain"),
        ("c.tar.gz", "application/gzip"),
        ("d", "application/octet-stream"),
        ("e.br", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"),
    ],
)
def test_type_is_guessed_by_name(key: str, kind: str) -> None:
    assert guessed_type(key) == kind


def test_headers_without_end_are_refused_before_they_fill_the_memory() -> None:
    """A name of a gigabyte, as the header tells it."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    with pytest.raises(TooLarge):
        list(unpack_tar([header.tobuf(), bytes(10 * MIB)], Meter(GENEROUS)))
    nested = tarfile.TarInfo("x")
    nested.type = tarfile.XHDTYPE
    with pytest.raises(TooLarge):
        list(unpack_tar([nested.tobuf() * 3000], Meter(GENEROUS)))
