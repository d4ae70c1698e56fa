"""Writers: all or nothing, streamed, and what their modes say."""

import errno
import gc
import gzip
import threading
import time

import pytest

from service.client.filesystem import files, streamed_upload
from tests.client.filesystem.conftest import served

MIB = 1 << 20


@pytest.fixture
def path(bucket):
    return f"{bucket}/folder/new"


def stored(fs, path):
    return fs.cat_file(path) if fs.exists(path, refresh=True) else None


def write_and_fail(fs, path, mode, data, **options):
    with fs.open(path, mode, **options) as file:
        file.write(data)
        raise KeyError


def test_nothing_is_visible_before_the_close(fs, path):
    with fs.open(path, "wb", block_size=MIB) as file:
        for _ in range(3):
            file.write(b"x" * MIB)
        assert file.tell() == 3 * MIB
        assert stored(fs, path) is None
    assert stored(fs, path) == b"x" * 3 * MIB


def test_a_long_write_goes_on_the_wire_before_its_end(fs, path, service):
    with fs.open(path, "wb", block_size=MIB) as file:
        for _ in range(24):
            file.write(b"x" * MIB)
        assert service.service.blobs.multiparts
    assert fs.size(path) == 24 * MIB


@pytest.mark.parametrize("size", [10, 3 * MIB])
@pytest.mark.parametrize("mode", ["wb", "w"])
def test_an_error_in_the_block_stores_nothing(fs, path, size, mode):
    data = "x" * size if mode == "w" else b"x" * size
    with pytest.raises(KeyError):
        write_and_fail(fs, path, mode, data, block_size=MIB)
    assert stored(fs, path) is None


def test_an_error_keeps_what_was_there(fs, path):
    fs.pipe(path, b"old")
    with pytest.raises(KeyError):
        write_and_fail(fs, path, "wb", b"x" * 3 * MIB, block_size=MIB)
    assert stored(fs, path) == b"old"


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}], ids=["plain", "gzip"])
@pytest.mark.parametrize("mode", ["wb", "w"])
@pytest.mark.filterwarnings("ignore:.*never closed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_forgotten_writer_stores_nothing(fs, path, mode, options):
    file = fs.open(path, mode, **options)
    file.write("x" if mode == "w" else b"x")
    del file
    gc.collect()
    assert stored(fs, path) is None


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_a_compressed_writer_is_stored_at_its_close(fs, path, mode):
    with fs.open(path, mode, compression="gzip") as file:
        file.write("hello" if mode == "w" else b"hello")
    assert gzip.decompress(stored(fs, path)) == b"hello"
    data = "hello" if mode == "w" else b"hello"
    with pytest.raises(KeyError):
        write_and_fail(fs, path + "2", mode, data, compression="gzip")
    assert stored(fs, path + "2") is None


def test_exclusive_creation_is_decided_at_the_close(fs, path):
    file = fs.open(path, "xb")
    file.write(b"mine")
    fs.pipe(path, b"theirs")
    with pytest.raises(FileExistsError):
        file.close()
    assert stored(fs, path) == b"theirs"


def test_appending_writes_the_object_anew(fs, path):
    with fs.open(path, "ab") as file:
        file.write(b"one ")
    with fs.open(path, "ab", block_size=MIB) as file:
        assert file.tell() == 4
        file.write(b"two " * MIB)
    assert stored(fs, path) == b"one " + b"two " * MIB


def test_two_who_append_at_once_do_not_lose_each_other(fs, path):
    fs.pipe(path, b"one ")
    file = fs.open(path, "ab")
    file.write(b"two ")
    with fs.open(path, "ab") as other:
        other.write(b"three ")
    with pytest.raises(OSError, match="replaced") as raised:
        file.close()
    assert raised.value.errno == errno.ESTALE
    assert stored(fs, path) == b"one three "


def test_a_writer_may_pause_longer_than_the_service_waits(connect, monkeypatch):
    monkeypatch.setattr(streamed_upload, "SILENCE_S", 0.1)
    with served(http={"idle_timeout_s": 0.5}) as impatient:
        fs = connect(endpoint_url=impatient.url)
        fs.mkdir("slow")
        with fs.open("slow/a", "wb", block_size=MIB) as file:
            file.write(b"x" * MIB)
            time.sleep(1.2)
            file.write(b"y" * MIB)
        assert fs.cat_file("slow/a") == b"x" * MIB + b"y" * MIB
        fs._session.close_now()


def test_a_refused_write_is_an_error_where_it_is_noticed_and_stores_nothing(
    service, connect, bucket
):
    reader = connect(key=service.key("read", "list"))
    file = reader.open(f"{bucket}/a", "wb", block_size=MIB)
    with pytest.raises(PermissionError):
        file.writelines([b"x" * MIB] * 8)
    file.close()
    assert not reader.exists(f"{bucket}/a")


def test_an_interrupted_writer_does_not_go_on_in_the_background(fs, path, monkeypatch):
    file = fs.open(path, "wb", block_size=MIB)
    file.write(b"x" * MIB)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync", interrupted)
        patch.setattr(file._plan, "take", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            file.write(b"x" * MIB)
    deadline = time.monotonic() + 5
    while not file._plan._upload._task.done() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert file._plan._upload._task.done()
    assert file.closed
    assert stored(fs, path) is None


def test_facts_go_with_the_object(fs, path):
    with fs.open(path + ".csv", "wb", tags={"a": "b"}, user_metadata={"x": "é"}) as file:
        file.write(b"1,2")
    info = fs.info(path + ".csv")
    assert info["content_type"] == "text/csv"
    assert info["tags"] == {"a": "b"}
    assert info["user_metadata"] == {"x": "é"}
    with pytest.raises(TypeError):
        fs.pipe(path, b"", colour="red")


def test_a_transaction_stores_all_at_its_end_or_nothing(fs, path):
    with fs.transaction:
        with fs.open(path, "wb") as file:
            file.write(b"one")
        with fs.open(path + "2", "w") as file:
            file.write("two")
        assert stored(fs, path) is None
    assert (stored(fs, path), stored(fs, path + "2")) == (b"one", b"two")
    with pytest.raises(KeyError), fs.transaction:
        write_and_fail(fs, path, "ab", b" more")
    assert stored(fs, path) == b"one"
    with fs.transaction, fs.open(path, "ab") as file:
        file.write(b" more")
    assert stored(fs, path) == b"one more"


def test_many_threads_write_through_one_file_system(fs, bucket):
    def write(number):
        with fs.open(f"{bucket}/{number}", "wb", block_size=MIB) as file:
            file.write(b"x" * MIB)
            file.write(b"%d" % number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {fs.size(f"{bucket}/{number}") for number in range(8)} == {MIB + 1}


async def test_an_asynchronous_writer(connect, path):
    fs = connect(asynchronous=True)
    session = await fs.set_session()
    async with await fs.open_async(path, "wb", block_size=MIB) as file:
        await file.write(b"x" * MIB)
        await file.write(b"end")
    assert await fs._cat_file(path) == b"x" * MIB + b"end"
    file = await fs.open_async(path + "2", "wb", block_size=1)
    await file.write(b"x")
    await file.__aexit__(KeyError, KeyError(), None)
    assert not await fs._exists(path + "2")
    await session.close()
