"""Content-Disposition: the file name of an upload, and the field of a download.

A file name is a label: never a path, without control and bidirectional characters, at most 255
bytes. What is written holds printable ASCII only, so nothing can break out of the header.
Source: RFC 6266, RFC 8187, and what browsers send in forms (WHATWG HTML, multipart/form-data).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from service.protocol.ext_values import decode_ext_value, encode_ext_value
from service.protocol.headers import TCHARS

MAX_FILENAME_BYTES = 255
_PARAMETER = re.compile(rf';[ \t]*({TCHARS})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')
_UNSAFE_IN_FALLBACK = re.compile(r'[^\x20-\x7e]|["\\%;]')
# Embeddings, overrides, isolates and marks that turn `gpj.exe` into `exe.jpg`, and the BOM.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_STRIPPED = frozenset(("Cc", "Cs", "Zl", "Zp"))


def parse_filename(field: str, *, form: bool = False) -> str | None:
    """The cleaned file name of a Content-Disposition, None where it has none worth keeping.

    `filename*` goes before `filename`; a broken one is passed over. form: the field is that of a
    part of a browser's form, where `"`, CR and LF come as %22, %0D, %0A.
    """
    # A field that forgets its type still tells the name.
    start = "" if re.match(rf"[ \t]*({TCHARS})?[ \t]*;", field) else ";"
    parameters: dict[str, str] = {}
    for match in _PARAMETER.finditer(start + field):
        parameters.setdefault(match[1].lower(), match[2])
    extended = parameters.get("filename*")
    if extended is not None:
        name = clean_filename(decode_ext_value(extended.strip(' \t"')) or "")
        if name:
            return name
    plain = parameters.get("filename")
    return clean_filename(_unquote(plain, form=form)) if plain is not None else None


def _unquote(value: str, *, form: bool) -> str:
    """Unescape `\\"` and `\\\\` only: old browsers send whole paths with bare backslashes."""
    value = value.strip(" \t")
    if value.startswith('"'):
        value = value[1:-1] if len(value) > 1 and value.endswith('"') else value[1:]
        value = _ESCAPED.sub(r"\1", value)
    if form:
        value = re.sub("%22", '"', re.sub("%0[AaDd]", " ", value))
    return _latin1_where_not_utf8(value)


def _latin1_where_not_utf8(text: str) -> str:
    """Bytes that are no UTF-8 came in as lone surrogates: then all of it was Latin-1."""
    if not any("\udc80" <= char <= "\udcff" for char in text):
        return text
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def clean_filename(name: str) -> str | None:
    """The last part of what may be a path, without controls; None where nothing is left."""
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(
        char for char in last if char not in _BIDI and unicodedata.category(char) not in _STRIPPED
    ).strip()
    if kept in ("", ".", ".."):
        return None
    return kept.encode("utf-8")[:MAX_FILENAME_BYTES].decode("utf-8", "ignore")


def format_disposition(kind: Literal["attachment", "inline"], filename: str | None) -> str:
    """filename: cleaned here once more; an ASCII fallback stands before the exact `filename*`."""
    name = clean_filename(filename) if filename else None
    if name is None:
        return kind
    fallback = _UNSAFE_IN_FALLBACK.sub("_", name)
    return f'{kind}; filename="{fallback}"; filename*={encode_ext_value(name)}'
