"""The blocking client: threads, forks, running loops, and that it is the async one's twin."""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import os
import signal
import threading

import pytest

from service.client import Mediagate, PutOptions, Timeouts
from service.errors import ObjectNotFound
from tests import blocking_client
from tests.web.serving import ROOT_KEY

SHORT = Timeouts(connect_s=2, idle_s=2, request_s=5, patience_s=3)


def test_it_is_what_the_script_makes_of_the_async_client():
    assert blocking_client.TWIN.read_text("utf-8") == blocking_client.source()


@pytest.fixture
async def blocking(service):
    """In threads of the tests: the service runs in this loop."""
    mediagate = Mediagate(service.url, ROOT_KEY, timeouts=SHORT)
    await asyncio.to_thread(mediagate.make_bucket, "films")
    yield mediagate
    await asyncio.to_thread(mediagate.close)


async def test_it_stores_reads_lists_and_deletes(blocking, tmp_path):
    def work() -> None:
        options = PutOptions(content_type="text/plain", tags={"a": "b"})
        assert blocking.put("films", "one", b"hello", options).size_bytes == 5
        assert blocking.put("films", "two", io.BytesIO(b"file object")).size_bytes == 11
        assert blocking.put("films", "three", iter([b"some", b"chunks"])).size_bytes == 10
        (tmp_path / "four").write_bytes(b"a path")
        assert blocking.put("films", "four", tmp_path / "four").filename == "four"
        assert [info.key for info in blocking.list("films")] == ["four", "one", "three", "two"]
        with blocking.get("films", "one", start=1, end=4) as download:
            assert (download.size_bytes, b"".join(download)) == (5, b"ell")
        assert blocking.get_bytes("films", "two") == b"file object"
        blocking.get_to_file("films", "three", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"somechunks"
        assert blocking.stat("films", "one").tags == {"a": "b"}
        assert blocking.delete("films", "one") is None
        with pytest.raises(ObjectNotFound):
            blocking.stat("films", "one")

    await asyncio.to_thread(work)


async def test_several_threads_share_one_client(blocking):
    def work(number: int) -> bytes:
        blocking.put("films", f"{number}", str(number).encode())
        return blocking.get_bytes("films", f"{number}")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(pool, work, number) for number in range(40)]
        assert await asyncio.gather(*calls) == [str(number).encode() for number in range(40)]


async def test_an_iteration_that_is_left_early_leaves_the_client_usable(blocking):
    def work() -> None:
        for name in ("a", "b"):
            blocking.put("films", name, b"x" * 3_000_000)
        for _ in blocking.list("films"):
            break
        with blocking.get("films", "a") as download:
            next(iter(download))
        assert blocking.stat("films", "b").size_bytes == 3_000_000

    await asyncio.to_thread(work)


async def test_inside_a_running_loop_it_only_blocks(blocking):
    def work() -> str:
        async def inside() -> str:
            return blocking.put("films", "a", b"x").key

        return asyncio.run(inside())

    assert await asyncio.to_thread(work) == "a"


async def test_a_forked_child_has_connections_of_its_own(blocking):
    """And the parent's go on."""
    await asyncio.to_thread(blocking.put, "films", "a", b"x")
    child = os.fork()
    if child == 0:
        signal.alarm(8)
        code = 1
        try:
            assert blocking.get_bytes("films", "a") == b"x"
            blocking.put("films", "b", b"child")
            blocking.close()
            code = 0
        finally:
            os._exit(code)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert await asyncio.to_thread(blocking.get_bytes, "films", "b") == b"child"


async def test_a_context_ends_its_thread(service):
    def work() -> set[str]:
        with Mediagate(service.url, ROOT_KEY) as mediagate:
            mediagate.make_bucket("films")
        return {thread.name for thread in threading.enumerate()}

    assert "mediagate" not in await asyncio.to_thread(work)


async def test_after_its_end_it_begins_again_by_itself(blocking):
    def work() -> None:
        blocking.close()
        blocking.close()
        blocking.put("films", "a", b"x")

    await asyncio.to_thread(work)
