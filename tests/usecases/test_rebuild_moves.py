"""A rebuild from a journal that was cut between the two events of a move: never one blob twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.model.bucket import BucketSettings
from service.model.event import Batch
from service.model.ids import DEFAULT_TENANT
from service.usecases.copy_object import CopyRequest, Source
from service.usecases.move_object import move_object
from service.usecases.runtime import Runtime
from tests.fakes.metadata import FakeMetadata
from tests.usecases.conftest import Put
from tests.usecases.journal_world import Crash, publish
from tests.usecases.test_rebuild import after_the_loss, latest, rebuilt


async def move(runtime: Runtime, source: str, key: str, bucket: str = "films") -> Any:
    request = CopyRequest(DEFAULT_TENANT, Source("films", source), bucket, key)
    return (await move_object(runtime, request)).version


async def publish_only(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, events: int) -> None:
    """The first ones that wait; then the publisher dies."""
    journal = runtime.settings.journal.model_copy(update={"batch": 1})
    settings = runtime.settings.model_copy(update={"journal": journal})
    outbox, left = runtime.metadata.outbox, [None] * events
    claim = outbox.claim

    async def dying(*args: Any, **kwargs: Any) -> Batch:
        if not left:
            raise Crash
        left.pop()
        return await claim(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "claim", dying)
        with pytest.raises(Crash):
            await publish(replace(runtime, settings=settings))


@pytest.mark.parametrize(("source", "key"), [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("published", [0, 1, 2])
async def test_a_moved_object_comes_back_under_exactly_one_name(
    runtime: Runtime,
    metadata: FakeMetadata,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    key: str,
    published: int,
) -> None:
    """Whichever of the two names comes first in the order of the journal's subjects."""
    old = (await put(b"bytes", source)).version
    await publish(runtime)
    moved = await move(runtime, source, key)
    await publish_only(runtime, monkeypatch, published)
    runtime, empty = after_the_loss(runtime, metadata)
    report, told = await rebuilt(runtime)
    there = [each for each in (await latest(empty, source), await latest(empty, key)) if each]
    assert there == [moved if published else old]
    assert [each["version"] for each in told] == ([old.id] if published == 1 else [])
    assert report.objects == 1
    assert report.strays == 0


async def test_of_a_chain_of_moves_the_last_known_name_has_the_blob(
    runtime: Runtime, metadata: FakeMetadata, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    await metadata.buckets.create(DEFAULT_TENANT, "stills", BucketSettings())
    await put(b"bytes", "m")
    await publish(runtime)
    names = []
    for source, key in (("m", "a"), ("a", "z")):
        names.append(await move(runtime, source, key))
    await move(runtime, "z", "k", "stills")
    await publish_only(runtime, monkeypatch, 3)
    runtime, empty = after_the_loss(runtime, metadata)
    report, _ = await rebuilt(runtime)
    there = [each for key in "amz" if (each := await latest(empty, key))]
    assert len(there) == 1
    assert there[0] in names
    assert there[0].seq == max(v.seq for v in empty.versions.versions.values())
    assert report.strays == 0
