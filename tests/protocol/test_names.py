from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidBucketName, InvalidKey
from service.protocol.names import (
    decode_path,
    validate_bucket_name,
    validate_key,
    validate_prefix,
)

SEGMENT = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/\\"),
    min_size=1,
    max_size=20,
).filter(lambda text: text not in (".", ".."))
KEYS = st.lists(SEGMENT, min_size=1, max_size=5).map("/".join)


@given(KEYS)
def test_every_valid_key_survives_one_round_of_percent_encoding(key):
    assert validate_key(decode_path(quote(key, safe="/"))) == key


@given(KEYS)
def test_an_encoded_slash_counts_as_a_slash(key):
    assert validate_key(decode_path(quote(key, safe=""))) == key


@given(st.text(max_size=60))
def test_any_raw_path_gives_a_valid_key_or_is_refused(raw):
    try:
        key = validate_key(decode_path(raw))
    except InvalidKey:
        return
    assert validate_key(key) == key
    assert not {"", ".", ".."} & set(key.split("/"))


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("a%252fb", "a%2fb"),
        ("a%2Fb", "a/b"),
        ("a+b", "a+b"),
        ("%C3%A9", "é"),
        ("e%CC%81", "e\u0301"),
        ("é", "é"),
        ("%252e%252e", "%2e%2e"),
        ("...", "..."),
        (".a/..b", ".a/..b"),
        ("a%3Fb%23c", "a?b#c"),
    ],
)
def test_paths_are_decoded_exactly_once(raw, key):
    assert validate_key(decode_path(raw)) == key


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "%2e%2e",
        "a/%2e%2e/b",
        "a/..%2fb",
        ".",
        "a//b",
        "a%2F%2Fb",
        "/a",
        "a/",
        "a%00",
        "a%0d%0ab",
        "a%7f",
        "a%C2%85",
        "a%5Cb",
        "%C0%AF",
        "%E0%80%AF",
        "%ED%A0%80",
        "%FF",
        "\udcff",
        "%",
        "%4",
        "%zz",
        "a" * 1025,
        "%C3%A9" * 513,
    ],
)
def test_bad_keys_are_refused(raw):
    with pytest.raises(InvalidKey):
        validate_key(decode_path(raw))


def test_the_length_of_a_key_counts_bytes():
    assert validate_key("é" * 512)
    with pytest.raises(InvalidKey):
        validate_key("é" * 513)
    with pytest.raises(InvalidKey):
        validate_key("\ud800")


def test_prefixes_may_be_empty_or_end_in_a_slash():
    assert validate_prefix("") == ""
    assert validate_prefix("a/b/") == "a/b/"
    for bad in ("a\x00", "a" * 1025, "\ud800"):
        with pytest.raises(InvalidKey):
            validate_prefix(bad)


@pytest.mark.parametrize("name", ["abc", "a-b", "a.b.c", "0123", "a" * 63, "1.2.3", "my-bucket-1"])
def test_bucket_names_of_s3_are_taken(name):
    assert validate_bucket_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "ab", "a" * 64, "Abc", "a_b", "-ab", "ab-", ".ab", "ab.", "a..b", "192.168.5.4", "abc\n",
     "xn--abc", "sthree-abc", "abc-s3alias", "abc--x-s3", "äbc", "a b", "a/b", "١٢٣"],
)  # fmt: skip
def test_other_bucket_names_are_refused(name):
    with pytest.raises(InvalidBucketName):
        validate_bucket_name(name)
