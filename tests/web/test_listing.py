"""The listing and the metadata resource, over a real socket."""

import base64

import pytest
from yarl import URL

from service.model.api_key import Scope
from service.model.ids import DEFAULT_TENANT
from service.model.version import ObjectFacts
from service.usecases.put_object import PutRequest, put_object

LIST = "/v1/buckets/films/objects"


async def store(service, key, data=b"x", **facts):
    async def body():
        yield data

    request = PutRequest(DEFAULT_TENANT, "films", key, ObjectFacts(**facts))
    return (await put_object(service.runtime, request, body())).version


async def get_json(service, url, status=200, **kwargs):
    async with service.fetch("GET", url, **kwargs) as response:
        assert response.status == status
        return await response.json(content_type=None), response


async def test_a_listing_shows_versions_prefixes_and_the_way_on(service, bucket):
    for key in ("a/1", "a/2", "b", "c d/ä", "z"):
        await store(service, key)
    page, response = await get_json(service, LIST + "?delimiter=/&limit=2")
    assert [item["key"] for item in page["items"]] == ["b"]
    assert page["prefixes"] == ["a/"]
    assert page["next"]
    link = response.headers["Link"]
    url = URL(link.partition(">")[0].removeprefix("<"), encoded=True)
    assert link.endswith('; rel="next"')
    assert url.query["cursor"] == page["next"]
    assert url.query["delimiter"] == "/"
    page, response = await get_json(service, url.path_qs)
    assert [item["key"] for item in page["items"]] == ["z"]
    assert page["prefixes"] == ["c d/"]
    while page["next"]:
        page, response = await get_json(
            service, str(URL(LIST).with_query(delimiter="/", limit=2, cursor=page["next"]))
        )
        assert page["items"] == page["prefixes"] == []
    assert "Link" not in response.headers


async def test_a_prefix_of_any_characters_finds_its_keys(service, bucket):
    for key in ("c d/ä", "c d/b", "c+d/b"):
        await store(service, key)
    for query, keys in (
        ("prefix=c%20d/%C3%A4", ["c d/ä"]),
        ("prefix=c+d/", ["c d/b", "c d/ä"]),
        ("prefix=c%2Bd", ["c+d/b"]),
        ("prefix=nothing", []),
        ("prefix=", ["c d/b", "c d/ä", "c+d/b"]),
    ):
        page, _ = await get_json(service, URL(f"{LIST}?{query}", encoded=True).raw_path_qs)
        assert [item["key"] for item in page["items"]] == keys
        assert page["next"] is None


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "limit=%D9%A1", "Q=words", "Prefix=a", "prefix=a&prefix=b",
     "prefix=%FF", "prefix=%00", "prefix=%2", "cursor=abc", "cursor=", "sort=name"],
)  # fmt: skip
async def test_what_is_not_understood_is_refused(service, bucket, query):
    raw = URL(f"{service.url}{LIST}?{query}", encoded=True)
    async with service.session.get(
        raw, headers={"Authorization": "Bearer mg_root_for_the_tests"}
    ) as response:
        assert response.status == 400
        assert response.content_type == "application/problem+json"


async def test_a_listing_of_no_bucket_is_a_404(service):
    problem, _ = await get_json(service, LIST, 404)
    assert problem["code"] == "bucket_not_found"


async def test_listing_needs_its_scope_and_prefix(service, bucket):
    reader = await service.make_key(Scope.READ)
    await get_json(service, LIST, 403, key=reader)
    lister = await service.make_key(Scope.LIST, prefixes=("a/",))
    await get_json(service, LIST, 403, key=lister)
    await get_json(service, LIST + "?prefix=b/", 403, key=lister)
    await get_json(service, LIST + "?prefix=a/x", 200, key=lister)


async def test_metadata_shows_the_facts_and_has_a_tag_of_its_own(service, bucket):
    version = await store(
        service,
        "dir/a b",
        content_type="text/plain",
        filename="f",
        user_metadata={"title": "ä"},
        tags={"t": "1"},
    )
    url = "/v1/buckets/films/metadata/dir/a%20b"
    facts, response = await get_json(service, url)
    assert response.headers["ETag"] == f'"{version.id}.1"'
    assert facts["bucket"] == "films"
    assert facts["key"] == "dir/a b"
    assert facts["version"] == version.id
    assert facts["etag"] == f'"{version.id}"'
    assert facts["size_bytes"] == 1
    assert facts["content_type"] == facts["sniffed_type"] == "text/plain"
    assert facts["user_metadata"] == {"title": "ä"}
    assert facts["tags"] == {"t": "1"}
    digest = base64.b64encode(version.digests["crc64nvme"]).decode()
    assert facts["digests"] == {"crc64nvme": digest}
    assert facts["created_at"].endswith("Z")
    assert len(facts["created_at"]) == len("2026-01-02T03:04:05.678Z")
    for headers, status in (
        ({"If-None-Match": f'"{version.id}.1"'}, 304),
        ({"If-None-Match": f'"{version.id}"'}, 200),
        ({"If-Match": f'"{version.id}"'}, 412),
    ):
        async with service.fetch("GET", url, headers=headers) as response:
            assert response.status == status
    async with service.fetch("HEAD", url) as response:
        assert response.status == 200
        assert await response.read() == b""
    await get_json(service, url + f"?version={version.id}")
    await get_json(service, url + "?version=x", 404)
    await get_json(service, "/v1/buckets/films/metadata/none", 404)
