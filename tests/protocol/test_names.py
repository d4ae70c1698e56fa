import re
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import InvalidBucketName, InvalidKey
from service.protocol.names import (
    BUCKET_PATTERN,
    KEY_PATTERN,
    PREFIX_OF_KEYS_PATTERN,
    PREFIX_PATTERN,
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


ANY_SEGMENT = st.text(
    st.sampled_from("a.é\\\x00\x7f\x9f\n %") | st.characters(exclude_categories=("Cs",)), max_size=3
)


@given(st.lists(ANY_SEGMENT, max_size=4).map("/".join))
@example("a\n")
@example("../a")
@example("a/..")
@example("...")
def test_the_pattern_of_a_key_says_what_is_taken(key):
    assert bool(re.fullmatch(KEY_PATTERN, key)) == is_taken(validate_key, key)


@given(st.lists(ANY_SEGMENT, max_size=4).map("/".join))
def test_the_pattern_of_a_prefix_says_what_is_taken(prefix):
    assert bool(re.fullmatch(PREFIX_PATTERN, prefix)) == is_taken(validate_prefix, prefix)


@given(st.lists(ANY_SEGMENT, max_size=4).map("/".join))
@example("../")
@example("..")
@example("a/")
def test_the_pattern_of_a_forms_prefix_says_which_make_keys(prefix):
    taken = bool(re.fullmatch(PREFIX_OF_KEYS_PATTERN, prefix))
    assert taken == is_taken(validate_key, prefix + "name")


@given(st.text("az09.-_A", min_size=1, max_size=8) | st.text("0123.", min_size=7, max_size=12))
@example("xn--abc")
@example("abc--x-s3")
@example("a" * 63)
@example("a" * 64)
@example("1.2.3.4")
@example("1.2.3.4.5")
def test_the_pattern_of_a_bucket_says_what_is_taken(name):
    assert bool(re.fullmatch(BUCKET_PATTERN, name)) == is_taken(validate_bucket_name, name)


def is_taken(validate, name):
    try:
        validate(name)
    except (InvalidKey, InvalidBucketName):
        return False
    return True
