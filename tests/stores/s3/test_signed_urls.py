"""A URL is signed once, and again before it expires."""

from __future__ import annotations

import pytest

from service.model.ids import BlobKey
from service.stores.s3 import signed_urls
from service.stores.s3.signed_urls import SignedUrls

KEY = BlobKey("blobs/t/aa/aabb")


class Signer:
    """Stands for an aiobotocore client; each URL that it makes is another one."""

    def __init__(self) -> None:
        self.signed: list[str] = []

    async def generate_presigned_url(self, method: str, Params: dict, ExpiresIn: int) -> str:  # noqa: N803
        assert (method, Params["Bucket"]) == ("get_object", "films")
        self.signed.append(Params["Key"])
        return f"http://s3/films/a%2Bb?expires={ExpiresIn}&sig=%2F{len(self.signed)}"


@pytest.fixture
def signer() -> Signer:
    return Signer()


async def test_a_url_is_kept_as_it_was_signed_until_shortly_before_it_expires(
    signer: Signer,
) -> None:
    now = [1000.0]
    urls = SignedUrls(signer, "films", clock=lambda: now[0])
    first = await urls.get(KEY)
    assert str(first) == "http://s3/films/a%2Bb?expires=3600&sig=%2F1"
    now[0] += 3299
    assert await urls.get(KEY) is first
    now[0] += 2
    assert await urls.get(KEY) != first
    assert await urls.get(BlobKey("other")) != first
    assert signer.signed == [KEY, KEY, "other"]


async def test_a_forgotten_url_is_signed_again(signer: Signer) -> None:
    urls = SignedUrls(signer, "films")
    first = await urls.get(KEY)
    urls.forget(KEY)
    urls.forget(BlobKey("never seen"))
    assert await urls.get(KEY) != first


async def test_the_longest_unused_one_goes_when_there_are_too_many(
    signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signed_urls, "_MOST", 2)
    urls = SignedUrls(signer, "films")
    for name in ("a", "b", "a", "c", "a", "c"):
        await urls.get(BlobKey(name))
    assert signer.signed == ["a", "b", "c"]
    await urls.get(BlobKey("b"))
    assert signer.signed == ["a", "b", "c", "b"]
