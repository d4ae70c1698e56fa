"""Problems, links, tokens and the plain reading of header fields."""

import hashlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from service.errors import Invalid
from service.model.ids import KeyId, new_id
from service.protocol.api_tokens import format_token, new_token, parse_bearer, parse_token
from service.protocol.headers import combined, plain
from service.protocol.link_header import format_link
from service.protocol.problem import problem_body


def test_a_problem_has_the_standard_members_and_the_extras():
    body = problem_body(
        status=409,
        code="offset_mismatch",
        title="T",
        detail="D",
        request_id="r",
        extras={"offset": 5, "status": 200},
    )
    assert orjson.loads(body) == {
        "type": "/problems/offset-mismatch",
        "title": "T",
        "status": 409,
        "code": "offset_mismatch",
        "detail": "D",
        "request_id": "r",
        "offset": 5,
    }


@given(
    st.text(),
    st.dictionaries(
        st.text(), st.recursive(st.text() | st.integers(-5, 5) | st.binary(), st.lists), max_size=4
    ),
)
def test_a_problem_can_always_be_written(detail, extras):
    detail += "\ud800"
    body = problem_body(status=400, code="invalid", title="T", detail=detail, extras=extras)
    assert orjson.loads(body)["status"] == 400


def test_links_name_their_relation_and_take_encoded_uris_only():
    assert format_link("/a?b=c%20d", "next") == '</a?b=c%20d>; rel="next"'
    for bad in ("/a b", "/a>", "/é", "/a\r\n", ""):
        with pytest.raises(ValueError):
            format_link(bad, "next")


def test_a_token_round_trips_and_hides_its_secret():
    token = new_token(KeyId(new_id()))
    text = format_token(token)
    assert parse_token(text) == token
    assert token.secret not in repr(token) + str(token)
    assert token.secret_sha256 == hashlib.sha256(token.secret.encode()).digest()


@given(st.text() | st.from_regex(r"mg_[0-9A-Z]{24,27}_[\w-]{42,44}"))
def test_any_text_is_a_token_of_this_form_or_none(text):
    token = parse_token(text)
    assert token is None or format_token(token) == text


@pytest.mark.parametrize(
    ("field", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("", None),
        (None, None),
    ],
)
def test_the_bearer_scheme_is_read_in_any_case(field, token):
    assert parse_bearer(field) == token


def test_lines_of_one_field_are_joined():
    headers = CIMultiDict([("A", "1 "), ("a", "2")])
    assert combined(headers, "a") == "1, 2"
    assert combined(headers, "b") is None


def test_fields_that_are_kept_must_be_short_printable_ascii():
    assert plain(CIMultiDict({"Cache-Control": "no-store"}), "Cache-Control") == "no-store"
    assert plain(CIMultiDict({"Cache-Control": ""}), "Cache-Control") is None
    assert plain(CIMultiDict(), "Cache-Control") is None
    for bad in ("é", "\udcff", "a\x00", "x" * 1025):
        with pytest.raises(Invalid):
            plain(CIMultiDict({"Cache-Control": bad}), "Cache-Control")
