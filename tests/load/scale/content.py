"""The objects of a bucket of any size: made from their number alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from service.model.event import Event, EventType
from service.model.ids import BucketId, EventId, TenantId, VersionId
from service.model.version import ObjectFacts, Version
from service.stores.blob_layout import new_blob_key

START = datetime(2026, 1, 1, tzinfo=UTC)
RARE = 50
"""So many objects have what is rare, in a bucket of any size."""
FOLDERS = 100
PLACES = ("Rome", "Zürich", "東京", "Москва", "São Paulo", "Cairo", "Oslo")


def created_at(number: int) -> datetime:
    return START + timedelta(seconds=number)


def objects(tenant: TenantId, bucket: BucketId, size: int) -> Iterator[Event]:
    """One event for each object, as the journal tells it; every time the same but for the ids."""
    choose = random.Random(size)
    every = max(size // RARE, 1)
    for number in range(size):
        rare = number % every == 0 and number < RARE * every
        yield _made(tenant, bucket, number, choose, rare=rare)


def _made(
    tenant: TenantId, bucket: BucketId, number: int, choose: random.Random, *, rare: bool
) -> Event:
    place = choose.choice(PLACES)
    tags = {"half": str(number % 2), "hundredth": str(number % 100)}
    if rare:
        tags["rare"] = "yes"
    film = number % 3 == 0
    title = f"Holidays in {place}{' needle' if rare else ''}"
    facts = ObjectFacts(
        content_type="video/mp4" if film else "image/jpeg",
        filename=f"{place} {number}.mp4",
        user_metadata={"title": title, "camera": f"model {choose.randrange(20)}"},
        tags=tags,
    )
    folder = choose.randrange(FOLDERS)
    at = created_at(number)
    version = Version(
        id=VersionId(f"{number:026}"),
        tenant=tenant,
        bucket_id=bucket,
        key=f"films/{folder:03}/img-{number:08}.mp4",
        blob_key=new_blob_key(tenant),
        size_bytes=choose.randrange(1 << choose.randrange(10, 34)),
        digests={"crc64nvme": number.to_bytes(8, "big")},
        facts=facts,
        seq=round(at.timestamp() * 1000),
        created_at=at,
        modified_at=at,
    )
    kind = EventType.OBJECT_CREATED
    return Event(EventId(f"{number:026}"), kind, version.seq, at, version)
