import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidCursor
from service.protocol.cursors import decode_cursor, encode_cursor

STRINGS = st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=20), max_size=4)


@given(STRINGS, STRINGS)
def test_cursors_round_trip_and_fit_into_a_url(position, query):
    cursor = encode_cursor(position, query)
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert decode_cursor(cursor, query, length=len(position)) == tuple(position)


@given(STRINGS, STRINGS, STRINGS)
def test_a_cursor_is_refused_by_another_query(position, query, other):
    if query != other:
        with pytest.raises(InvalidCursor):
            decode_cursor(encode_cursor(position, query), other, length=len(position))


@given(st.data())
def test_a_cursor_with_one_changed_character_is_refused(data):
    cursor = encode_cursor(["some/key"], ["bucket", "prefix"])
    at = data.draw(st.integers(0, len(cursor) - 1))
    char = data.draw(st.sampled_from("ABCabc019-_=+/ é").filter(lambda c: c != cursor[at]))
    with pytest.raises(InvalidCursor):
        decode_cursor(cursor[:at] + char + cursor[at + 1 :], ["bucket", "prefix"], length=1)


@given(st.text())
def test_any_other_text_is_refused(text):
    with pytest.raises(InvalidCursor):
        decode_cursor(text, [], length=1)


def test_a_position_of_another_length_is_refused():
    with pytest.raises(InvalidCursor):
        decode_cursor(encode_cursor(["a", "b"], []), [], length=1)


def test_the_longest_key_fits():
    key = '"' * 1024
    assert decode_cursor(encode_cursor([key], []), [], length=1) == (key,)


def test_an_endless_cursor_is_refused():
    with pytest.raises(InvalidCursor):
        decode_cursor("A" * 10_000, [], length=1)
