from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from service.errors import Invalid
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.protocol.conditionals import (
    ReadOutcome,
    evaluate_read,
    format_etag,
    parse_entity_tags,
    parse_if_range,
    parse_preconditions,
)
from service.protocol.http_dates import format_http_date

NOW = datetime(2026, 11, 23, 12, 0, 0, 345_000, tzinfo=UTC)
SECOND = NOW.replace(microsecond=0)
TAG_TEXT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'))
TAGS = st.builds(EntityTag, TAG_TEXT, st.booleans())


def write(tag):
    return ("W/" if tag.weak else "") + format_etag(tag.opaque)


@given(st.lists(TAGS, min_size=1, max_size=10), st.sampled_from([", ", ",", " ,\t,, "]))
def test_lists_of_entity_tags_round_trip(tags, separator):
    assert parse_entity_tags(separator.join(map(write, tags))).tags == tuple(tags)


def test_the_star_is_any():
    assert parse_entity_tags(" * ") == EntityTags(any=True)


@pytest.mark.parametrize(
    "field", ["", ",", "abc", '"a', 'a"', '"a" "b"', '"a"b', "*, *", '*, "a"', 'w/"a"', '"a b"',
              "W/a", ",".join(['"a"'] * 101)]
)  # fmt: skip
def test_malformed_entity_tags_are_refused(field):
    with pytest.raises(Invalid):
        parse_entity_tags(field)


@given(st.text())
def test_any_text_is_a_list_or_refused(text):
    try:
        tags = parse_entity_tags(text)
    except Invalid:
        return
    assert tags.any or tags.tags


def test_octets_that_are_no_utf_8_do_not_stay_lone_surrogates():
    (tag,) = parse_entity_tags('"a\udcff"').tags
    assert tag.opaque.encode("utf-8") != b"a"


def test_fields_on_several_lines_are_one_list_and_bad_dates_are_ignored():
    headers = CIMultiDict(
        [
            ("If-None-Match", '"a"'),
            ("if-none-match", 'W/"b"'),
            ("If-Modified-Since", "yesterday"),
            ("If-Unmodified-Since", format_http_date(NOW)),
        ]
    )
    assert parse_preconditions(headers) == Preconditions(
        if_none_match=EntityTags((EntityTag("a"), EntityTag("b", weak=True))),
        if_unmodified_since=SECOND,
    )
    assert parse_preconditions(CIMultiDict()) == Preconditions()


def tags(*names, weak=False):
    return EntityTags(tuple(EntityTag(name, weak) for name in names))


EARLIER, LATER = SECOND - timedelta(seconds=1), SECOND + timedelta(seconds=1)
SEND, SAME, FAILED = ReadOutcome.SEND, ReadOutcome.NOT_MODIFIED, ReadOutcome.FAILED


@pytest.mark.parametrize(
    ("conditions", "outcome"),
    [
        ({}, SEND),
        ({"if_match": tags("v1")}, SEND),
        ({"if_match": EntityTags(any=True)}, SEND),
        ({"if_match": tags("v0")}, FAILED),
        ({"if_match": tags("v1", weak=True)}, FAILED),
        ({"if_unmodified_since": SECOND}, SEND),
        ({"if_unmodified_since": EARLIER}, FAILED),
        ({"if_match": tags("v1"), "if_unmodified_since": EARLIER}, SEND),
        ({"if_none_match": tags("v1")}, SAME),
        ({"if_none_match": tags("v1", weak=True)}, SAME),
        ({"if_none_match": EntityTags(any=True)}, SAME),
        ({"if_none_match": tags("v0", "v2")}, SEND),
        ({"if_modified_since": SECOND}, SAME),
        ({"if_modified_since": LATER}, SAME),
        ({"if_modified_since": EARLIER}, SEND),
        ({"if_none_match": tags("v0"), "if_modified_since": LATER}, SEND),
        ({"if_match": tags("v0"), "if_none_match": tags("v1")}, FAILED),
        ({"if_match": tags("v1"), "if_none_match": tags("v1")}, SAME),
        ({"if_unmodified_since": SECOND, "if_modified_since": SECOND}, SAME),
    ],
)
def test_conditions_of_a_read_are_evaluated_in_the_order_of_rfc_9110(conditions, outcome):
    assert evaluate_read(Preconditions(**conditions), "v1", NOW) is outcome


@pytest.mark.parametrize(
    ("field", "holds"),
    [
        ('"v1"', True),
        ('W/"v1"', False),
        ('"v0"', False),
        (format_http_date(NOW), True),
        (format_http_date(EARLIER), False),
        (format_http_date(LATER), False),
        ("v1", False),
        ('"v1", "v2"', False),
        ("*", False),
        ("", False),
    ],
)
def test_if_range_holds_for_the_strong_tag_or_the_exact_date(field, holds):
    condition = parse_if_range(CIMultiDict({"If-Range": field}))
    assert condition is not None
    assert condition.holds("v1", NOW) is holds


def test_without_the_field_there_is_no_if_range():
    assert parse_if_range(CIMultiDict()) is None
