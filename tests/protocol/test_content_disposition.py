import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.protocol.content_disposition import (
    MAX_FILENAME_BYTES,
    clean_filename,
    format_disposition,
    parse_filename,
)
from service.protocol.ext_values import decode_ext_value, encode_ext_value


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("attachment; filename=a.txt", "a.txt"),
        ('attachment; filename="a b.txt"', "a b.txt"),
        ('attachment; filename="a;b,c.txt"; x=y', "a;b,c.txt"),
        (r'attachment; filename="a\"b\\c.txt"', "c.txt"),
        ("attachment; filename*=UTF-8''na%C3%AFve.txt", "naïve.txt"),
        ("attachment; filename=\"x\"; filename*=UTF-8'en'na%C3%AFve.txt", "naïve.txt"),
        ("attachment; filename*=UTF-8''y; filename=x", "y"),
        ("attachment; filename*=iso-8859-1''%A3.txt", "£.txt"),
        ("attachment; filename=\"x\"; filename*=UTF-8''%FF", "x"),
        ('attachment; FileName="a.txt"', "a.txt"),
        ("filename=a.txt", "a.txt"),
        ("; filename=a.txt", "a.txt"),
        ('attachment; filename="/etc/passwd"', "passwd"),
        (r'attachment; filename="C:\dir\f.txt"', "f.txt"),
        ("attachment; filename*=UTF-8''..%2F..%2Fx", "x"),
        ('attachment; filename="unterminated', "unterminated"),
        ('attachment; filename="na\u00efve.txt"', "naïve.txt"),
        ('attachment; filename="na\udcefve.txt"', "naïve.txt"),
        ('attachment; filename="evil\u202egpj.exe"', "evilgpj.exe"),
        ('attachment; filename="a\r\nb"', "ab"),
        ('attachment; filename=""', None),
        ('attachment; filename=".."', None),
        ("attachment; filename", None),
        ("attachment", None),
        ("inline; name=x", None),
        ("", None),
    ],
)
def test_file_names_are_read_and_cleaned(field, name):
    assert parse_filename(field) == name


def test_a_form_escapes_quotes_and_line_ends_its_own_way():
    field = 'form-data; name="file"; filename="a%22b%0D%0Ac%41.txt"'
    assert parse_filename(field, form=True) == 'a"b  c%41.txt'
    assert parse_filename(field) == "a%22b%0D%0Ac%41.txt"


@given(st.text())
def test_any_field_gives_a_name_that_is_no_path(text):
    for field in (text, f'attachment; filename="{text}"', f"attachment; filename*={text}"):
        name = parse_filename(field)
        assert name is None or clean_filename(name) == name


@given(st.text())
def test_a_clean_name_has_no_path_no_controls_and_is_short(text):
    name = clean_filename(text)
    if name is None:
        return
    assert not set(name) & set("/\\\r\n\x00\u202e\u2066")
    assert name not in (".", "..")
    assert len(name.encode()) <= MAX_FILENAME_BYTES
    assert clean_filename(name) == name


@given(st.text(), st.sampled_from(["attachment", "inline"]))
def test_what_is_written_is_one_line_of_ascii_and_reads_back(text, kind):
    field = format_disposition(kind, text)
    assert field.isascii()
    assert field.isprintable()
    assert parse_filename(field) == clean_filename(text)


def test_a_download_carries_a_fallback_and_the_exact_name():
    assert (
        format_disposition("attachment", 'na"ïve%.txt')
        == "attachment; filename=\"na__ve_.txt\"; filename*=UTF-8''na%22%C3%AFve%25.txt"
    )
    assert format_disposition("inline", None) == "inline"


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_extended_values_round_trip(text):
    assert decode_ext_value(encode_ext_value(text)) == text


@pytest.mark.parametrize(
    "value", ["", "x", "UTF-8'x", "UTF-8''a b", "UTF-8''%", "koi8-r''a", "UTF-8''é"]
)
def test_malformed_extended_values_are_none(value):
    assert decode_ext_value(value) is None
