"""Values survive the way into a document, through BSON, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import bson
from hypothesis import given
from hypothesis import strategies as st

from service.model.api_key import ApiKey, Scope
from service.model.bucket import BucketSettings, Delivery
from service.model.event import Event, EventType
from service.model.ids import EventId
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.resumable import Piece, Progress, ResumableTerms, Span, UploadKind
from service.model.search import Order
from service.model.upload import Completion, Idempotency, Intent, Part
from service.model.version import DeleteMarker, ObjectFacts, Version
from service.stores.mongo import documents as d
from service.stores.mongo import resumable_documents
from service.stores.mongo import upload_documents as u
from service.stores.mongo.driver import CODEC
from service.stores.mongo.events import event_in
from service.stores.mongo.searchable import number_text, place_text, searchable
from service.stores.search_plan import position_of
from service.stores.sqlite import resumable_rows
from service.stores.sqlite.rows import json_in, json_out

TEXT = st.text(max_size=12) | st.sampled_from(["$a", "$$NOW", "a.b", "", "\0", "$literal"])
SIZE = st.integers(0, 1 << 62)
MOMENT = st.integers(0, 1 << 42).map(
    lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
)
PAIRS = st.dictionaries(TEXT, TEXT, max_size=3)
DIGESTS = st.dictionaries(TEXT, st.binary(max_size=64), max_size=3)
FACTS = st.builds(ObjectFacts, user_metadata=PAIRS, tags=PAIRS, filename=st.none() | TEXT)
TAGS = st.none() | st.builds(
    EntityTags, st.lists(st.builds(EntityTag, TEXT, st.booleans())).map(tuple), st.booleans()
)
CONDITIONS = st.builds(Preconditions, TAGS, TAGS, st.none() | MOMENT, st.none() | MOMENT)
VERSIONS = st.builds(
    Version,
    *[TEXT] * 5,
    size_bytes=SIZE,
    digests=DIGESTS,
    facts=FACTS,
    seq=SIZE,
    created_at=MOMENT,
    modified_at=MOMENT,
    revision=SIZE,
    latest=st.booleans(),
    damaged_at=st.none() | MOMENT,
    changed_seq=SIZE,
    own_subject=st.booleans(),
)
MARKERS = st.builds(DeleteMarker, *[TEXT] * 4, SIZE, MOMENT, st.booleans(), SIZE)
PIECES = st.builds(Piece, TEXT, SIZE, st.binary(min_size=8, max_size=8))
SPANS = st.builds(
    Span, TEXT, TEXT, MOMENT, SIZE, st.binary(max_size=8), st.integers(0, 10_000), st.booleans()
)
PROGRESS = st.builds(
    Progress,
    st.none() | SIZE,
    SIZE,
    st.lists(PIECES, max_size=3).map(tuple),
    st.none() | SPANS,
    st.none() | PIECES,
    st.booleans(),
    st.booleans(),
    SIZE,
    st.none() | TEXT,
)
TERMS = st.builds(
    ResumableTerms,
    TEXT,
    TEXT,
    st.sampled_from(UploadKind),
    st.none() | TEXT,
    st.none() | TEXT,
    DIGESTS,
    st.frozensets(TEXT, max_size=3),
)
INTENTS = st.builds(
    Intent,
    *[TEXT] * 6,
    facts=FACTS,
    preconditions=CONDITIONS,
    declared_size_bytes=st.none() | SIZE,
    idempotency=st.none() | st.builds(Idempotency, TEXT, TEXT, st.integers(0, 99), TEXT),
    resumable=st.none() | TERMS,
)
PARTS = st.builds(Part, st.integers(1, 10_000), SIZE, TEXT, st.none() | st.binary(max_size=8))
COMPLETIONS = st.builds(
    Completion, SIZE, DIGESTS, FACTS, st.lists(PARTS, max_size=3).map(tuple), SIZE
)
NAMES = st.lists(TEXT, max_size=3).map(tuple)
KEYS = st.builds(
    ApiKey,
    *[TEXT] * 3,
    secret_sha256=st.binary(min_size=32, max_size=32),
    scopes=st.frozensets(st.sampled_from(Scope)),
    created_at=MOMENT,
    buckets=NAMES,
    prefixes=NAMES,
    expires_at=st.none() | MOMENT,
    revoked_at=st.none() | MOMENT,
)


def through_bson(document: dict[str, Any]) -> dict[str, Any]:
    return bson.decode(bson.encode(document), CODEC)


@given(VERSIONS)
def test_a_version_survives(version: Version):
    assert d.version_out(through_bson(d.version_in(version))) == version


@given(MARKERS)
def test_a_delete_marker_survives(marker: DeleteMarker):
    assert d.marker_out(through_bson(d.marker_in(marker))) == marker
    assert d.entry_out(d.marker_in(marker)) == marker


@given(INTENTS)
def test_an_intent_survives(intent: Intent):
    assert u.intent_out(through_bson(u.intent_in(intent))) == intent


@given(COMPLETIONS)
def test_a_completion_survives(completion: Completion):
    assert u.completion_out(through_bson(u.completion_in(completion))) == completion


@given(PROGRESS)
def test_the_progress_of_a_resumable_upload_survives(progress: Progress):
    stored = through_bson(resumable_documents.progress_in(progress))
    assert resumable_documents.progress_out(stored) == progress


@given(PROGRESS, TERMS)
def test_it_survives_as_columns_of_a_row_too(progress: Progress, terms: ResumableTerms):
    columns = resumable_rows.progress_values(terms, progress)
    assert resumable_rows.progress_out(columns["progress"]) == progress
    assert resumable_rows.terms_out(json_out(json_in(resumable_rows.terms_in(terms)))) == terms


@given(KEYS)
def test_an_api_key_survives(key: ApiKey):
    assert d.api_key_out(through_bson(d.api_key_in(key))) == key


SETTINGS = st.builds(
    BucketSettings,
    st.none() | SIZE,
    NAMES,
    st.none() | TEXT,
    st.sampled_from(Delivery),
    st.booleans(),
)


@given(SETTINGS, MOMENT)
def test_a_bucket_survives(settings: BucketSettings, moment: datetime):
    document = {"_id": "b", "tenant": "t", "name": "n", "state": "active", "revision": 3}
    document |= {"created_at": moment, "settings": d.settings_in(settings)}
    bucket = d.bucket_out(through_bson(document))
    assert (bucket.settings, bucket.created_at, bucket.revision) == (settings, moment, 3)


def test_a_bucket_from_before_deliveries_is_proxied():
    old = d.settings_in(BucketSettings(5, ("a/b",), "no-cache", Delivery.REDIRECT))
    del old["delivery"]
    assert d.settings_out(old) == BucketSettings(5, ("a/b",), "no-cache", Delivery.PROXY)


@given(FACTS)
def test_no_user_string_is_a_field_name(facts: ObjectFacts):
    document = d.facts_in(facts)
    known = set(d.facts_in(ObjectFacts()))
    assert set(document) == known
    for pairs in (document["user_metadata"], document["tags"]):
        assert all(set(pair) == {"k", "v"} for pair in pairs)


@given(VERSIONS)
def test_an_object_has_what_searches_read_by_and_an_event_has_not(version: Version):
    assert d.version_in(version)["search"] == searchable(version)
    event = Event(EventId("e"), EventType.OBJECT_CREATED, 1, version.created_at, version)
    assert event_in(event)["version"] == d.bare_version_in(version)
    assert "search" not in event_in(event)["version"]


@given(VERSIONS, VERSIONS)
def test_places_as_text_sort_as_places_do(one: Version, other: Version):
    for order in Order:
        places = [position_of(version, order) for version in (one, other)]
        texts = [place_text(place, order) for place in places]
        assert (texts[0] < texts[1]) == (places[0] < places[1])
        assert order is Order.KEY or texts[0].startswith(number_text(places[0].number))
