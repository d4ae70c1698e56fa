import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from service.errors import Invalid
from service.protocol.user_metadata import (
    format_tags,
    format_user_metadata,
    parse_tag_string,
    parse_tags,
    parse_user_metadata,
    validate_user_metadata,
)

TEXT = st.text(
    st.one_of(st.characters(exclude_categories=("Cc", "Cs")), st.sampled_from("\t\n\r")),
    max_size=20,
)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=10)


@given(st.dictionaries(NAMES, TEXT, max_size=5))
def test_metadata_round_trips_through_headers_of_ascii(metadata):
    headers = format_user_metadata(metadata)
    assert all(value.isascii() and not set(value) & set("\r\n") for value in headers.values())
    assert parse_user_metadata(CIMultiDict(headers), max_bytes=1 << 20) == metadata


def test_names_are_lower_case_and_lines_are_joined():
    headers = CIMultiDict(
        [
            ("X-Meta-Title", "a"),
            ("x-meta-title", "UTF-8''%C3%A9"),
            ("X-META-$where", "1"),
            ("X-Other", "no"),
        ]
    )
    assert parse_user_metadata(headers, max_bytes=100) == {"title": "a, é", "$where": "1"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Meta-", "x"),
        ("X-Meta-a", "é"),
        ("X-Meta-a", "\udcff"),
        ("X-Meta-a", "UTF-8''%FF"),
        ("X-Meta-a", "utf-8''%"),
        ("X-Meta-a", "UTF-8''a b"),
        ("X-Meta-a", "UTF-8''%00"),
    ],
)
def test_bad_metadata_is_refused(name, value):
    with pytest.raises(Invalid):
        parse_user_metadata(CIMultiDict({name: value}), max_bytes=100)


def test_the_limit_counts_names_and_values_in_bytes():
    assert validate_user_metadata({"a": "é"}, max_bytes=3) == {"a": "é"}
    with pytest.raises(Invalid):
        validate_user_metadata({"a": "é"}, max_bytes=2)


def test_names_that_are_no_token_or_meet_in_lower_case_are_refused():
    for metadata in ({"a b": "x"}, {"é": "x"}, {"A": "1", "a": "2"}, {"": "x"}, {"a": "\ud800"}):
        with pytest.raises(Invalid):
            validate_user_metadata(metadata, max_bytes=100)


@given(st.dictionaries(TEXT.filter(bool), TEXT, max_size=5))
def test_tags_round_trip(tags):
    text = format_tags(tags)
    assert (text is None) is (not tags)
    assert parse_tag_string(text or "", max_tags=5) == tags


def test_tags_are_read_like_a_query_string():
    headers = CIMultiDict({"X-Tags": "a=b+c&d&&e=%3D%26"})
    assert parse_tags(headers, max_tags=3) == {"a": "b c", "d": "", "e": "=&"}
    assert parse_tags(CIMultiDict(), max_tags=3) == {}


@pytest.mark.parametrize(
    "text",
    ["a=1&a=2", "=x", "a=%", "a=%FF", "a=é", "a=%00", "a=1&b=2&c=3&d=4", "a" * 129 + "=x",
     "a=" + "x" * 257],
)  # fmt: skip
def test_bad_tags_are_refused(text):
    with pytest.raises(Invalid):
        parse_tag_string(text, max_tags=3)
