"""What opens a breaker, what closes it, and what does neither."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import (
    BlobMissing,
    BucketExists,
    Fenced,
    MediagateError,
    OutcomeUnknown,
    StoreFull,
    StoreRefused,
    StoreTimeout,
    StoreUnavailable,
)
from service.model.blob import LinkFields
from service.model.ids import DEFAULT_TENANT, BlobKey
from service.stores.breaker import MAX_SILENT, PATIENCE_S, Breaker
from service.stores.wrappers import watched_blobs, watched_metadata
from tests.fakes.blob_store import FakeBlobStore, crc_of
from tests.fakes.metadata import FakeMetadata

KEY = BlobKey("blobs/t/aa/aabb")
SILENCE = (
    StoreTimeout(),
    StoreUnavailable("refused", silent=True),
    OutcomeUnknown("late", silent=True),
)
LIFE = (StoreFull(), StoreRefused(), BlobMissing(), BucketExists())
NEITHER = (StoreUnavailable("SlowDown"), OutcomeUnknown("reset"), Fenced())


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def end(breaker: Breaker, error: BaseException | None = None) -> None:
    """One call that ends like that."""
    if error is None:
        with breaker.watching():
            pass
        return
    with pytest.raises(type(error)), breaker.watching():
        raise error


def opened() -> Breaker:
    breaker = Breaker("store")
    for _ in range(MAX_SILENT):
        end(breaker, StoreTimeout())
    assert breaker.is_open
    return breaker


@pytest.mark.parametrize("error", SILENCE, ids=repr)
def test_silence_in_a_row_opens_it_and_admissions_are_refused(error: MediagateError) -> None:
    breaker = Breaker("blob store")
    for _ in range(MAX_SILENT - 1):
        end(breaker, error)
        breaker.check()
    end(breaker, error)
    with pytest.raises(StoreUnavailable, match="blob store does not answer") as refused:
        breaker.check()
    assert type(refused.value) is StoreUnavailable


@pytest.mark.parametrize("error", LIFE + NEITHER, ids=repr)
def test_an_answer_or_a_broken_connection_never_opens_it(error: MediagateError) -> None:
    breaker = Breaker("store")
    for _ in range(10 * MAX_SILENT):
        end(breaker, error)
    breaker.check()


@pytest.mark.parametrize("error", [None, *LIFE], ids=repr)
def test_any_answer_in_between_begins_the_row_anew(error: MediagateError | None) -> None:
    breaker = Breaker("store")
    for _ in range(4):
        for _ in range(MAX_SILENT - 1):
            end(breaker, StoreTimeout())
        end(breaker, error)
    breaker.check()


@pytest.mark.parametrize("error", [*NEITHER, asyncio.CancelledError(), KeyError()], ids=repr)
def test_what_proves_nothing_neither_breaks_the_row_nor_closes(error: BaseException) -> None:
    breaker = Breaker("store")
    for _ in range(MAX_SILENT - 1):
        end(breaker, StoreTimeout())
    end(breaker, error)
    breaker.check()
    end(breaker, StoreTimeout())
    end(breaker, error)
    assert breaker.is_open


def test_two_calls_are_enough_when_the_silence_lasts() -> None:
    clock = Clock()
    breaker = Breaker("store", clock=clock)
    end(breaker, StoreTimeout())
    clock.now_s += PATIENCE_S - 0.1
    end(breaker, StoreTimeout())
    breaker.check()
    clock.now_s += 0.1
    end(breaker, StoreTimeout())
    assert breaker.is_open


def test_a_lonely_timeout_opens_nothing_however_long_ago_the_last_one_was() -> None:
    clock = Clock()
    breaker = Breaker("store", clock=clock)
    for _ in range(10):
        end(breaker, StoreTimeout())
        end(breaker)
        clock.now_s += 10 * PATIENCE_S
    breaker.check()


@pytest.mark.parametrize("error", [None, *LIFE], ids=repr)
def test_the_first_answer_closes_it(error: MediagateError | None) -> None:
    breaker = opened()
    end(breaker, error)
    breaker.check()
    end(breaker, StoreTimeout())
    breaker.check()


async def test_stores_under_watch_tell_their_breaker_and_are_never_held_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blobs, metadata = FakeBlobStore(), FakeMetadata()
    of_blobs, of_metadata = Breaker("blob store"), opened()
    watched = watched_blobs(blobs, of_blobs)

    async def late(*_: object) -> None:
        raise StoreTimeout

    with monkeypatch.context() as patched:
        patched.setattr(blobs, "head", late)
        for _ in range(MAX_SILENT):
            with pytest.raises(StoreTimeout):
                await watched_blobs(blobs, of_blobs).head(KEY)
    assert of_blobs.is_open
    await watched.put(KEY, [b"hello"], crc_of(b"hello"))
    assert not of_blobs.is_open
    async with watched.read(KEY, 1, 4) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"ell"
    assert await watched_metadata(metadata, of_metadata).buckets.get(DEFAULT_TENANT, "no") is None
    assert not of_metadata.is_open


async def test_a_link_is_no_answer_since_nothing_is_asked_of_the_store() -> None:
    """Downloads by redirect would otherwise keep a breaker closed over a store that is gone."""
    blobs = FakeBlobStore()
    fields = LinkFields("text/plain", "attachment", "no-cache")
    breaker = Breaker("blob store")
    watched = watched_blobs(blobs, breaker)
    for _ in range(MAX_SILENT):
        await watched.link(KEY, fields, 60)
        end(breaker, StoreTimeout())
    assert breaker.is_open
    await watched.link(KEY, fields, 60)
    assert breaker.is_open
