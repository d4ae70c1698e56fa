"""The header fields of both protocols of resumable uploads."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from service.errors import Invalid
from service.protocol.resumable_uploads import (
    format_complete,
    format_limit,
    read_complete,
    read_integer,
)
from service.protocol.tus import (
    CHECKSUMS,
    Final,
    Partial,
    format_metadata,
    parse_checksum,
    parse_concat,
    parse_metadata,
    parse_number,
    upload_id_in,
)

KEY = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, blacklist_characters=","), min_size=1
)


@given(st.dictionaries(KEY, st.binary(max_size=40), min_size=1, max_size=5))
def test_metadata_survives(pairs: dict[str, bytes]):
    assert parse_metadata(format_metadata(pairs)) == pairs


@given(st.text(max_size=60))
def test_metadata_is_read_or_refused(text: str):
    try:
        pairs = parse_metadata(text)
    except Invalid:
        return
    assert pairs
    assert parse_metadata(format_metadata(pairs)) == pairs


@given(st.sampled_from(sorted(CHECKSUMS)), st.data())
def test_a_checksum_survives(name: str, data: st.DataObject):
    ours, size = CHECKSUMS[name]
    digest = data.draw(st.binary(min_size=size, max_size=size))
    assert parse_checksum(f"{name} {base64.b64encode(digest).decode()}") == {ours: digest}
    with pytest.raises(Invalid):
        parse_checksum(f"{name} {base64.b64encode(digest + b'x').decode()}")


@given(st.text(max_size=60))
def test_checksums_and_numbers_are_read_or_refused(text: str):
    for parse in (parse_checksum, lambda value: parse_number(value, "f"), parse_concat):
        try:
            parse(text)  # type: ignore[operator]
        except Invalid:
            continue


def test_a_list_of_uploads():
    assert parse_concat("partial") == Partial()
    urls = "https://x.example/files/v1/uploads/a /v1/uploads/b"
    assert parse_concat(f"final;{urls}") == Final(("a", "b"))  # type: ignore[arg-type]
    for wrong in ("", "final", "Final;/v1/uploads/a", "partial;", "final;/v1/buckets/a"):
        with pytest.raises(Invalid):
            parse_concat(wrong)
    for wrong in ("/v1/uploads/", "/v1/uploads/a/b", "/x?u=/v1/uploads/a", "a"):
        with pytest.raises(Invalid):
            upload_id_in(wrong)


@given(st.integers(0, 999_999_999_999_999))
def test_an_integer_of_the_draft_survives(number: int):
    assert read_integer(CIMultiDict({"Upload-Offset": str(number)}), "Upload-Offset") == number


@pytest.mark.parametrize("text", ["-1", "1.0", "?1", "a", "", "1, 2", "1000000000000000", '"1"'])
def test_any_other_value_counts_as_absent(text: str):
    assert read_integer(CIMultiDict({"Upload-Offset": text}), "Upload-Offset") is None


@given(st.booleans())
def test_completeness_survives(complete: bool):
    assert read_complete(CIMultiDict({"Upload-Complete": format_complete(complete)})) is complete


@given(st.text(max_size=20))
def test_completeness_is_read_or_absent(text: str):
    found = read_complete(CIMultiDict({"Upload-Complete": text}))
    assert found in (None, True, False)
    if found is not None:
        assert text.strip(" ").startswith(format_complete(found))


def test_limits_are_a_dictionary():
    assert format_limit(max_size=5) == "max-size=5"
    assert format_limit(max_size=10**17, max_age=9) == "max-size=999999999999999, max-age=9"
