import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from service.errors import DigestMismatch, Invalid
from service.protocol.digests import (
    SIZES_BYTES,
    expected_digests,
    format_digests,
    parse_content_md5,
    parse_digests,
    wanted_digests,
)
from service.protocol.structured import parse_dictionary

DIGESTS = st.fixed_dictionaries(
    {}, optional={name: st.binary(min_size=n, max_size=n) for name, n in SIZES_BYTES.items()}
)


@given(DIGESTS)
def test_digests_round_trip(digests):
    assert parse_digests(format_digests(digests) or "") == digests


def test_the_example_of_rfc_9530_is_read():
    field = "sha-256=:d435Qo+nKZ+gLcUHn7GQtQ72hiBVAgqoLsZnZPiTGPk=:"
    assert len(parse_digests(field)["sha-256"]) == 32


def test_unknown_algorithms_and_parameters_are_passed_over():
    digest = hashlib.sha256(b"").digest()
    encoded = base64.b64encode(digest).decode()
    field = f'sha=:AAAA:, unixsum=5;q="a,b";x, foo=?1 ,\tsha-256=:{encoded}:;a=1.5, bar, baz=tok/en'
    assert parse_digests(field) == {"sha-256": digest}


def test_of_two_members_with_one_name_the_later_counts():
    assert parse_dictionary("a=1, a=2") == {"a": 2}


@pytest.mark.parametrize(
    "field",
    ["sha-256", "sha-256=abc", "sha-256=:AAAA:", "sha-256=:!!!!:", "sha-256=AAAA", "sha-256=1",
     "md5=:AAAA", "md5=:A:", "md5=:AAAAAAAAAAAAAAAAAAAAAA==:,", "a=1 b=2", "A=1", "a=(1 2)", "a=",
     "a=1;", ",", "é=1", "a=\"é\"", "a=1.2345", "a=" + "9" * 16],
)  # fmt: skip
def test_malformed_digests_are_refused(field):
    with pytest.raises(Invalid):
        parse_digests(field)


@given(st.text() | st.text('sha-256=:;,A \t1?*()"\\'))
def test_any_text_gives_digests_of_the_right_size_or_is_refused(text):
    try:
        digests = parse_digests(text)
    except Invalid:
        return
    assert all(len(value) == SIZES_BYTES[name] for name, value in digests.items())


def test_content_md5_is_sixteen_bytes_of_base64():
    digest = hashlib.md5(b"x").digest()
    assert parse_content_md5(base64.b64encode(digest).decode()) == digest
    for bad in ("", "AAAA", "é", digest.hex()):
        with pytest.raises(Invalid):
            parse_content_md5(bad)


def test_all_fields_about_the_body_are_taken_together():
    sha, md5 = hashlib.sha256(b"x").digest(), hashlib.md5(b"x").digest()
    headers = CIMultiDict(
        {
            "Repr-Digest": format_digests({"sha-256": sha}) or "",
            "Content-Digest": format_digests({"sha-256": sha, "crc64nvme": b"12345678"}) or "",
            "Content-MD5": base64.b64encode(md5).decode(),
        }
    )
    assert expected_digests(headers) == {"sha-256": sha, "md5": md5, "crc64nvme": b"12345678"}
    assert expected_digests(CIMultiDict()) == {}


def test_two_digests_that_contradict_each_other_cannot_match():
    headers = CIMultiDict(
        {"Repr-Digest": "md5=:AAAAAAAAAAAAAAAAAAAAAA==:", "Content-MD5": "AAAAAAAAAAAAAAAAAAAAAQ=="}
    )
    with pytest.raises(DigestMismatch):
        expected_digests(headers)


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("sha-256", {"sha-256"}),
        ("sha-256=10, sha-512=3, md5=0, foo=5", {"sha-256", "sha-512"}),
        ("sha-256=-1", set()),
        ("not a dictionary", set()),
        ("", set()),
    ],
)
def test_wanted_digests_are_the_known_ones_with_a_weight(field, names):
    assert wanted_digests(CIMultiDict({"Want-Repr-Digest": field})) == names
    assert wanted_digests(CIMultiDict()) == frozenset()


def test_nothing_known_gives_no_field():
    assert format_digests({}) is None
