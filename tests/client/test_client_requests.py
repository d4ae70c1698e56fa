"""What the calls send, and what they make of the answers, against a service that is scripted."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from aiohttp import web

from service.client import AsyncMediagate, Timeouts, Unreachable
from service.errors import Invalid, ObjectNotFound

FACTS = {
    "bucket": "films",
    "key": "a",
    "version": "01J0000000000000000000000A",
    "etag": '"01J0000000000000000000000A"',
    "size_bytes": 3,
    "content_type": "text/plain",
    "created_at": "2026-01-01T00:00:00.000Z",
    "modified_at": "2026-01-01T00:00:00.000Z",
    "revision": 4,
}


class Scripted:
    """answers: status, JSON or bytes, headers; asked: method, path with query, headers, body."""

    def __init__(self):
        self.answers = []
        self.asked = []

    async def answer(self, request):
        body = await request.read()
        self.asked.append((request.method, request.raw_path, request.headers, body))
        status, told, headers = self.answers.pop(0)
        if isinstance(told, bytes):
            return web.Response(status=status, body=told, headers=headers)
        return web.json_response(told, status=status, headers=headers)

    def bodies(self):
        return [json.loads(body) for *_, body in self.asked]


@pytest.fixture
async def scripted(aiohttp_server):
    service = Scripted()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.answer)
    service.url = str((await aiohttp_server(app)).make_url(""))
    return service


@pytest.fixture
async def mediagate(scripted):
    timeouts = Timeouts(request_s=3, patience_s=2)
    async with AsyncMediagate(scripted.url, "k", timeouts=timeouts) as mediagate:
        yield mediagate


async def test_a_search_sends_every_filter_with_every_page(scripted, mediagate):
    scripted.answers = [
        (200, {"items": [FACTS], "next": "c2"}, {}),
        (200, {"items": [], "next": None}, {}),
    ]
    found = mediagate.search(
        "films",
        "see blau",
        prefix="2026/",
        content_type="video/*",
        tags={"jahr": "ä&b"},
        user_metadata={"who": "Zoë"},
        size_min=0,
        size_max=9,
        since=datetime(2026, 1, 1, tzinfo=UTC),
        until=datetime(2026, 2, 1, 0, 0, 0, 123456, tzinfo=UTC),
        sort="-size",
        limit=10,
    )
    assert [info.key async for info in found] == ["a"]
    wanted = (
        "/v1/buckets/films/objects?prefix=2026%2F&limit=10&q=see+blau&type=video%2F%2A&size_min=0"
        "&size_max=9&since=2026-01-01T00%3A00%3A00.000Z&until=2026-02-01T00%3A00%3A00.123Z"
        "&sort=-size&tag.jahr=%C3%A4%26b&meta.who=Zo%C3%AB"
    )
    assert [path for _, path, *_ in scripted.asked] == [wanted, f"{wanted}&cursor=c2"]


async def test_a_time_without_a_zone_is_refused(mediagate):
    with pytest.raises(Invalid, match="since"):
        async for _ in mediagate.search("films", since=datetime(2026, 1, 1)):  # noqa: DTZ001
            pass


async def test_a_patch_is_sent_under_the_metadata_etag(scripted, mediagate):
    scripted.answers = [(200, FACTS, {})]
    info = await mediagate.patch("films", "a", {"tags": {"x": None}}, if_match='"v.3"')
    assert info.metadata_etag == '"01J0000000000000000000000A.4"'
    ((method, path, headers, body),) = scripted.asked
    assert (method, path) == ("PATCH", "/v1/buckets/films/metadata/a")
    assert (headers["If-Match"], json.loads(body)) == ('"v.3"', {"tags": {"x": None}})


async def test_copies_are_sent_again_under_one_idempotency_key(scripted, mediagate):
    scripted.answers = [
        (503, {"code": "store_unavailable"}, {"Retry-After": "0"}),
        (201, FACTS, {}),
    ]
    await mediagate.copy("films", "a", "b", to_bucket="old", version="V", create_only=True)
    assert len({headers["Idempotency-Key"] for *_, headers, _ in scripted.asked}) == 1
    assert {headers["If-None-Match"] for *_, headers, _ in scripted.asked} == {"*"}
    wanted = {"source": {"key": "a", "version": "V"}, "destination": {"bucket": "old", "key": "b"}}
    assert scripted.bodies() == [wanted, wanted]


async def test_a_move_is_sent_once(scripted, mediagate):
    scripted.answers = [(503, {"code": "store_unavailable"}, {"Retry-After": "0"})]
    with pytest.raises(Exception, match="503"):
        await mediagate.move("films", "a", "b", if_match='"E"')
    assert scripted.bodies() == [
        {"source": {"key": "a", "if_match": '"E"'}, "destination": {"key": "b"}}
    ]


async def test_a_history_has_delete_markers(scripted, mediagate):
    marker = {"key": "a", "version": "M", "latest": True, "delete_marker": True}
    marker |= {"created_at": FACTS["created_at"], "etag": None, "size_bytes": None}
    old = FACTS | {"latest": False, "delete_marker": False}
    scripted.answers = [
        (200, {"items": [marker], "next": "n"}, {}),
        (200, {"items": [old], "next": None}, {}),
    ]
    found = [entry async for entry in mediagate.versions("films", "a")]
    assert [(entry.delete_marker, entry.size_bytes) for entry in found] == [
        (True, None),
        (False, 3),
    ]


async def test_a_restore_names_the_version(scripted, mediagate):
    scripted.answers = [(201, FACTS, {})]
    await mediagate.restore("films", "ä/b", "V")
    assert scripted.asked[0][:2] == ("POST", "/v1/buckets/films/versions/%C3%A4/b")
    assert scripted.bodies() == [{"restore": "V"}]


async def test_a_delete_tells_its_marker(scripted, mediagate):
    scripted.answers = [
        (204, b"", {"X-Delete-Marker": "true", "X-Version-Id": "M"}),
        (204, b"", {"X-Version-Id": "V"}),
        (204, b"", {}),
    ]
    assert await mediagate.delete("films", "a") == "M"
    assert await mediagate.delete("films", "a", version="V") is None
    assert await mediagate.delete("films", "a", if_match='"E"') is None
    assert scripted.asked[2][2]["If-Match"] == '"E"'


async def test_keys_are_deleted_a_thousand_a_request(scripted, mediagate):
    keys = [str(number) for number in range(1500)]
    scripted.answers = [
        (200, {"results": [{"key": key, "status": "deleted"} for key in part]}, {})
        for part in (keys[:1000], keys[1000:])
    ]
    found = [removal.key async for removal in mediagate.delete_many("films", iter(keys))]
    assert found == keys
    assert [len(body["keys"]) for body in scripted.bodies()] == [1000, 500]


async def test_the_deletion_of_a_prefix_is_waited_for_or_not(scripted, mediagate):
    jobs = [
        {"id": "J", "state": state, "deleted": deleted, "failed": 0}
        for state, deleted in (("running", 0), ("running", 5), ("done", 9))
    ]
    seen = []
    scripted.answers = [(202, jobs[0], {}), (200, jobs[1], {}), (200, jobs[2], {})]
    job = await mediagate.delete_prefix(
        "films", "a/", progress=lambda job: seen.append(job.deleted)
    )
    assert (job.state, job.deleted, seen) == ("done", 9, [0, 5, 9])
    assert scripted.asked[2][1] == "/v1/buckets/films/deletions/J"
    scripted.answers = [(202, jobs[0], {})]
    assert (await mediagate.delete_prefix("films", "a/", wait=False)).running


async def test_an_archive_becomes_a_file_at_once(scripted, mediagate, tmp_path):
    scripted.answers = [(200, b"PK" * 1000, {"Content-Type": "application/zip"})]
    size_bytes = await mediagate.archive_to_file("films", tmp_path / "all.zip", "a/")
    assert (size_bytes, (tmp_path / "all.zip").read_bytes()) == (2000, b"PK" * 1000)
    assert scripted.asked[0][1] == "/v1/buckets/films/archive?prefix=a%2F&format=zip"
    assert [path.name for path in tmp_path.iterdir()] == ["all.zip"]


async def test_an_archive_that_breaks_off_leaves_nothing(aiohttp_server, tmp_path):
    async def broken(request):
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"PK")
        request.transport.abort()
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", broken)
    url = str((await aiohttp_server(app)).make_url(""))
    async with AsyncMediagate(url, "k") as mediagate:
        with pytest.raises(Unreachable):
            await mediagate.archive_to_file("films", tmp_path / "all.zip")
    assert list(tmp_path.iterdir()) == []


async def test_an_archive_is_sent_to_be_unpacked(scripted, mediagate):
    scripted.answers = [(200, {"items": [{"name": "x", "problem": "bad"}], "failed": 1}, {})]
    answer = await mediagate.expand("films", b"PK..", format="tar.gz", prefix="p/", atomic=False)
    assert (answer.failed, answer.items[0].problem) == (1, "bad")
    method, path, headers, body = scripted.asked[0]
    assert (method, body, headers["Content-Length"]) == ("POST", b"PK..", "4")
    assert path == "/v1/buckets/films/objects?expand=tar.gz&prefix=p%2F&atomic=false"


async def test_what_is_gone_is_told_by_its_code(scripted, mediagate):
    scripted.answers = [(404, {"code": "object_not_found", "detail": "gone"}, {})]
    with pytest.raises(ObjectNotFound):
        await mediagate.restore("films", "a", "V")
