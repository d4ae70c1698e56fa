"""Events as lines, and lines as journal objects: nothing is lost, and no damage is overlooked."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import JournalDamaged
from service.model.api_key import ApiKey, Scope
from service.model.bucket import Bucket, BucketSettings, BucketState, Delivery
from service.model.event import Event, EventType
from service.model.version import ObjectFacts, Version
from service.protocol.event_json import event_line, parse_event
from service.protocol.journal import decode_object, encode_object, marked_alone, parse_line

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SIZE = st.integers(0, 1 << 62)
MOMENT = st.datetimes(timezones=st.just(UTC))
PAIRS = st.dictionaries(TEXT, TEXT, max_size=3)
FACTS = st.builds(ObjectFacts, content_type=TEXT, user_metadata=PAIRS, tags=PAIRS)
VERSIONS = st.builds(
    Version,
    id=TEXT,
    tenant=TEXT,
    bucket_id=TEXT,
    key=TEXT,
    blob_key=TEXT,
    size_bytes=SIZE,
    digests=st.dictionaries(TEXT, st.binary(max_size=64), max_size=3),
    facts=FACTS,
    seq=SIZE,
    created_at=MOMENT,
    modified_at=MOMENT,
    revision=SIZE,
    latest=st.booleans(),
    damaged_at=st.none() | MOMENT,
)
CHOSEN = st.builds(
    BucketSettings,
    st.none() | SIZE,
    st.lists(TEXT, max_size=3).map(tuple),
    st.none() | TEXT,
    st.sampled_from(Delivery),
)
BUCKETS = st.builds(
    Bucket, TEXT, TEXT, TEXT, st.sampled_from(BucketState), MOMENT, SIZE, settings=CHOSEN
)
KEYS = st.builds(
    ApiKey,
    id=TEXT,
    tenant=TEXT,
    name=TEXT,
    secret_sha256=st.binary(min_size=32, max_size=32),
    scopes=st.frozensets(st.sampled_from(Scope)),
    created_at=MOMENT,
    buckets=st.lists(TEXT, max_size=2).map(tuple),
    prefixes=st.lists(TEXT, max_size=2).map(tuple),
    expires_at=st.none() | MOMENT,
    revoked_at=st.none() | MOMENT,
)
EVENTS = st.builds(
    Event, TEXT, st.sampled_from(EventType), SIZE, MOMENT, of=VERSIONS | BUCKETS | KEYS
)


def lines_of(*events: Event) -> list:
    lines = [parse_line(event_line(event, number)) for number, event in enumerate(events, 7)]
    return sorted(lines, key=lambda line: line.order)


def an_event(name: str = "k") -> Event:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    bucket = Bucket(name, "acme", name, BucketState.ACTIVE, moment)
    return Event(f"id-{name}", EventType.BUCKET_CREATED, 1, moment, bucket)


@given(EVENTS)
@settings(deadline=None)
def test_an_event_is_read_back_as_it_was(event: Event):
    line = event_line(event, 3)
    assert b"\n" not in line
    assert parse_event(line) == event
    parsed = parse_line(line)
    assert (parsed.subject, parsed.seq, parsed.id) == (event.subject, event.seq, event.id)
    assert (parsed.position, parsed.type) == (3, event.type.value)


@given(st.lists(EVENTS, min_size=1, max_size=5))
@settings(deadline=None)
def test_an_object_is_read_back_as_it_was(events: list[Event]):
    lines = lines_of(*events)
    assert decode_object(encode_object(lines)) == lines


def test_what_a_later_release_adds_is_ignored():
    named = json.loads(event_line(an_event(), 1))
    named["new"] = named["bucket"]["new"] = {"a": 1}
    assert parse_event(json.dumps(named).encode()) == an_event()


def test_a_bucket_from_before_deliveries_is_proxied():
    named = json.loads(event_line(an_event(), 1))
    assert named["bucket"]["settings"].pop("delivery") == "proxy"
    assert parse_event(json.dumps(named).encode()) == an_event()


def test_the_header_tells_what_follows():
    data = gzip.decompress(encode_object(lines_of(an_event("a"), an_event("b"))))
    header = json.loads(data.split(b"\n")[0])
    assert header.keys() == {"format", "first", "last", "count", "crc"}
    assert (header["format"], header["first"], header["last"], header["count"]) == (1, 7, 8, 2)


@given(st.data())
@settings(deadline=None)
def test_any_damage_is_seen(data: st.DataObject):
    whole = gzip.decompress(encode_object(lines_of(an_event("a"), an_event("b"))))
    cut = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        broken = whole[:cut]
    else:
        broken = whole[:cut] + bytes([whole[cut] ^ 1]) + whole[cut + 1 :]
    try:
        lines = decode_object(gzip.compress(broken))
    except JournalDamaged:
        return
    # What the header says beside count and CRC is for people; the lines are what they were.
    assert lines == lines_of(an_event("a"), an_event("b"))


@pytest.mark.parametrize(
    "data", [b"", b"{}", gzip.compress(b"", mtime=0), gzip.compress(b"[]\n{}\n", mtime=0)]
)
def test_what_is_no_journal_object_is_refused(data: bytes):
    with pytest.raises(JournalDamaged):
        decode_object(data)


def test_another_format_is_refused():
    data = gzip.decompress(encode_object(lines_of(an_event())))
    with pytest.raises(JournalDamaged, match="format 2"):
        decode_object(gzip.compress(data.replace(b'"format":1', b'"format":2')))


def test_a_mark_is_put_and_taken_away_and_the_event_stays():
    [line] = lines_of(an_event())
    since = datetime(2026, 2, 2, tzinfo=UTC)
    marked = marked_alone(line, since)
    assert parse_line(marked.raw) == marked
    assert marked.alone == since
    assert parse_event(marked.raw) == an_event()
    assert parse_line(marked_alone(marked, None).raw).alone is None
