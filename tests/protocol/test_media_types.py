import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Invalid
from service.protocol.media_types import (
    DEFAULT,
    INLINE,
    contradicts,
    essence,
    matches_any,
    may_show_inline,
    parse_content_type,
    sniff,
)

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 20
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
GIF = b"GIF89a\x01\x00\x01\x00\x00\x00\x00"
MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (GIF, "image/gif"),
        (MP4, "video/mp4"),
        (b"PK\x03\x04\x14\x00\x00\x00", "application/zip"),
        (b"%PDF-1.7\n%\xe2\xe3", "application/pdf"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"hello, world\n", "text/plain"),
        ("naïve".encode(), "text/plain"),
        ("naï".encode()[:-1], "text/plain"),
        (b"BMW is a car", "text/plain"),
        (b"a < b > c", "text/plain"),
        (codecs.BOM_UTF16_LE + "hi".encode("utf-16-le"), "text/plain"),
        (codecs.BOM_UTF16_LE + "<script>x</script>".encode("utf-16-le"), "text/html"),
        (b"\n <!DOCTYPE html><p>x", "text/html"),
        (b"<HTML>", "text/html"),
        (b"hello <ScRiPt src=x>", "text/html"),
        (b"hello <img/onerror=x>", "text/html"),
        (codecs.BOM_UTF8 + b"<html>", "text/html"),
        (b"<!-- x --><b>y</b>", "text/html"),
        (b'<svg xmlns="http://www.w3.org/2000/svg">', "image/svg+xml"),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<s:svg onload="x">', "image/svg+xml"),
        (b'<?xml version="1.0"?><feed/>', "text/xml"),
        (b"\x00\x01\x02\x03 no idea", None),
        (b"\xfd\xfe\xff", None),
        (b"", None),
    ],
)
def test_the_first_bytes_tell_the_type(head, name):
    assert sniff(head) == name


@given(st.binary(max_size=300))
def test_any_head_is_sniffed_without_an_error(head):
    name = sniff(head)
    assert name is None or "/" in name


@given(
    st.text(max_size=50),
    st.sampled_from(["<script>", "<svg onload=x>", "<iframe src=x>", "<html>"]),
)
def test_markup_in_text_is_never_shown(before, markup):
    for declared in ("text/plain", "text/html", "image/png", DEFAULT):
        assert not may_show_inline(declared, sniff((before + markup).encode()))


@pytest.mark.parametrize(
    ("declared", "sniffed", "inline"),
    [
        ("image/png", "image/png", True),
        ("Image/PNG; x=y", "image/png", True),
        (DEFAULT, "video/mp4", True),
        ("text/html", "image/png", False),
        ("image/svg+xml", "image/png", False),
        ("image/png", "text/html", False),
        ("image/png", None, False),
        ("application/pdf", "application/pdf", False),
    ],
)
def test_only_what_looks_and_is_called_harmless_is_shown(declared, sniffed, inline):
    assert may_show_inline(declared, sniffed) is inline


def test_nothing_that_runs_scripts_is_on_the_list():
    assert not [name for name in INLINE if "xml" in name or "html" in name or "pdf" in name]


def test_content_types_are_kept_as_declared():
    assert parse_content_type(None) == DEFAULT
    assert parse_content_type(" ") == DEFAULT
    declared = 'Text/Plain; charset="utf-8"'
    assert parse_content_type(declared) == declared
    assert essence(declared) == "text/plain"


@pytest.mark.parametrize(
    "field", ["text", "text/", "/x", "a/b/c", "a/b\r\nX: y", "a/b; é", "a/" + "b" * 300]
)
def test_what_is_no_media_type_is_refused(field):
    with pytest.raises(Invalid):
        parse_content_type(field)


def test_patterns_of_a_bucket_match_types():
    assert matches_any("image/png; x=y", ["video/*", "IMAGE/*"])
    assert matches_any("image/png", ["image/png"])
    assert matches_any("image/png", ["*/*"])
    assert not matches_any("image/png", ["image/jpeg", "video/*"])
    assert not matches_any("image/png", [])


@pytest.mark.parametrize(
    ("sniffed", "patterns", "contradiction"),
    [
        ("image/png", ["image/*"], False),
        ("image/png", ["image/jpeg"], True),
        ("text/html", ["image/*"], True),
        ("text/plain", ["image/*", "video/*"], True),
        ("text/plain", ["application/json"], False),
        ("text/html", ["application/json"], False),
        ("image/svg+xml", ["image/png"], True),
        ("application/zip", ["application/vnd.oasis.opendocument.text"], False),
        ("application/zip", ["text/*"], True),
        ("video/mp4", ["audio/mp4"], False),
        ("audio/ogg", ["VIDEO/*"], False),
        ("application/x-executable", ["application/json"], True),
    ],
)
def test_only_what_cannot_be_meant_contradicts(sniffed, patterns, contradiction):
    assert contradicts(sniffed, patterns) is contradiction
