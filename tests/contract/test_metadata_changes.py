"""Changes of an object's facts: what every engine promises (VersionIndex.change_facts)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from metadata_engines import DEADLINE_S, TRICKY, TRICKY_FACTS, World, only_if

from service.errors import Invalid, PreconditionFailed
from service.model.event import EventType
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.version import ObjectFacts, Version


def tagged(**tags: str) -> Any:
    return lambda facts: replace(facts, tags={**facts.tags, **tags})


async def change(
    world: World, change: Any, key: str = "k", preconditions: Preconditions | None = None
) -> Version | None:
    return await world.store.versions.change_facts(
        *world.place, key, preconditions or Preconditions(), change, deadline_s=DEADLINE_S
    )


async def changed(world: World, *args: Any, **kwargs: Any) -> Version:
    found = await change(world, *args, **kwargs)
    assert found is not None
    return found


async def published(world: World) -> list[Any]:
    outbox = world.store.outbox
    publisher = await outbox.lead("a", 60)
    assert publisher is not None
    batch = await outbox.claim(publisher, limit=1000)
    assert batch is not None
    await outbox.published(publisher, batch)
    return [event for event in batch.events if event.type.startswith("object.")]


async def test_a_change_makes_a_revision_and_no_version(world: World):
    made = await world.put(TRICKY)
    await world.pass_time(0.01)
    facts = replace(TRICKY_FACTS, filename="$new", user_metadata={"$set": "$$NOW", "a.b": "$a"})
    version = await changed(world, lambda _: facts, TRICKY)
    assert version == await world.latest(TRICKY)
    assert version == replace(
        made,
        facts=facts,
        revision=2,
        modified_at=version.modified_at,
        changed_seq=version.changed_seq,
    )
    assert version.modified_at > made.modified_at
    assert version.changed_seq > made.seq
    assert await world.store.versions.current_seq(*world.place, TRICKY) == version.changed_seq


async def test_the_event_has_the_new_facts_and_its_place_in_the_order(world: World):
    made = await world.put()
    first = await changed(world, tagged(a="1"))
    second = await changed(world, tagged(b="2"))
    await world.delete()
    events = await published(world)
    assert [event.type for event in events] == [
        EventType.OBJECT_CREATED,
        EventType.OBJECT_UPDATED,
        EventType.OBJECT_UPDATED,
        EventType.OBJECT_DELETED,
    ]
    assert [event.of for event in events[1:3]] == [first, second]
    assert [event.at for event in events[1:3]] == [first.modified_at, second.modified_at]
    seqs = [event.seq for event in events]
    assert seqs == sorted(set(seqs))
    assert seqs[0] == made.seq
    assert len({event.subject for event in events}) == 1


async def test_a_change_that_changes_nothing_leaves_no_trace(world: World):
    made = await world.put()
    assert await change(world, lambda facts: facts) == made
    assert await world.latest() == made
    assert len(await published(world)) == 1


async def test_what_names_nothing_cannot_be_changed(world: World):
    assert await change(world, tagged(a="1")) is None
    await world.put()
    await world.delete()
    assert await change(world, tagged(a="1")) is None
    kept = await world.keeping()
    old = await kept.put()
    await kept.delete()
    assert await change(kept, tagged(a="1")) is None
    found = await kept.store.versions.get(*kept.place, "k", old.id)
    assert found is not None
    assert found.facts == old.facts


async def test_conditions_are_about_the_metadata(world: World):
    made = await world.put()
    for condition in (
        only_if(made.etag),
        only_if(f"{made.id}.2"),
        Preconditions(if_none_match=EntityTags((EntityTag(made.metadata_etag),))),
        Preconditions(if_none_match=EntityTags(any=True)),
        Preconditions(if_unmodified_since=made.modified_at - timedelta(seconds=1)),
    ):
        with pytest.raises(PreconditionFailed):
            await change(world, tagged(a="1"), preconditions=condition)
    assert await world.latest() == made
    for condition in (
        only_if(f"{made.id}.1"),
        Preconditions(if_match=EntityTags(any=True)),
        Preconditions(if_none_match=EntityTags((EntityTag(made.etag),))),
        Preconditions(if_unmodified_since=made.modified_at + timedelta(hours=1)),
    ):
        assert await change(world, tagged(a=str(condition)), preconditions=condition)


async def test_what_the_change_refuses_passes_through(world: World):
    made = await world.put()

    def refuse(_: ObjectFacts) -> ObjectFacts:
        raise Invalid("too long")

    with pytest.raises(Invalid, match="too long"):
        await change(world, refuse)
    assert await world.latest() == made


@pytest.mark.timeout(30)
async def test_of_changes_at_once_none_is_lost(world: World):
    await world.put()
    names = [f"n{number}" for number in range(6)]
    versions = await asyncio.gather(*(changed(world, tagged(**{name: "1"})) for name in names))
    latest = await world.latest()
    assert latest is not None
    assert set(names) <= set(latest.facts.tags)
    assert sorted(version.revision for version in versions) == list(range(2, 8))


async def test_an_older_version_that_is_kept_stays_as_it_is(world: World):
    kept = await world.keeping()
    old = await kept.put()
    new = await kept.put()
    version = await changed(kept, tagged(a="1"))
    assert version.id == new.id
    history = await kept.history()
    assert [entry.id for entry in history] == [new.id, old.id]
    assert isinstance(history[1], Version)
    assert (history[1].facts, history[1].revision) == (old.facts, 1)
    await kept.delete_version(new.id)
    latest = await kept.latest()
    assert latest is not None
    assert (latest.id, latest.facts) == (old.id, old.facts)


async def test_an_overwrite_after_a_change_is_later(world: World):
    await world.put()
    version = await changed(world, tagged(a="1"))
    new = await world.put()
    assert new.seq > version.changed_seq
    assert new.revision == 1
    assert (await changed(world, tagged(b="2"))).last_seq > new.seq
