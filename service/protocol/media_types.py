"""Media types: what an upload says it is, what its first bytes look like, and what may be shown.

The declared type is kept and sent back; whether a browser may show the bytes in place is decided by
what they look like. SVG, HTML and XML run scripts, PDF has its own, so none of them is ever shown.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

import filetype

from service.errors import Invalid
from service.protocol.headers import TCHARS

DEFAULT = "application/octet-stream"
SNIFF_BYTES = 8192
"""How much of the head `sniff` looks at."""
MAX_TYPE_BYTES = 255
INLINE = frozenset(
    {
        "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp",
        "video/mp4", "video/webm", "video/ogg", "video/quicktime", "video/x-m4v",
        "audio/mpeg", "audio/mp4", "audio/ogg", "audio/aac", "audio/wav", "audio/x-wav",
        "audio/flac", "audio/x-flac",
        "text/plain",
    }
)  # fmt: skip
_TYPE = re.compile(rf"({TCHARS}/{TCHARS})((?:[ \t]*;[ \t]*[\x20-\x7e\t]*)?)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
_SVG = re.compile(r"<(?:[a-z_][\w.-]*:)?svg[\s/>]", re.IGNORECASE)
# The tags by which browsers take text for HTML (WHATWG MIME sniffing §7.1), and some that run code;
# anywhere in the head rather than at its start, for a false alarm costs no more than an attachment.
_HTML = re.compile(
    r"<!--|<(?:!doctype\s+html|/?(?:html|head|body|script|iframe|frameset|frame|object|embed|applet|meta"
    r"|link|style|title|base|form|input|button|img|image|video|audio|source|a|b|p|br|h[1-6]|div|span"
    r"|font|table|template|math|marquee|details|select|textarea|isindex|xss)(?=[\s/>]|$))",
    re.IGNORECASE,
)
_XML = re.compile(r"\s*<(?:\?xml[\s?]|!doctype\s|!entity\s|!\[cdata\[)", re.IGNORECASE)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What many types look like: any of these families may be meant by it.
_TEXTUAL = frozenset(("text", "application", "message", "model"))
_MAY_BE = {
    "text/plain": _TEXTUAL,
    "text/html": _TEXTUAL,
    "text/xml": _TEXTUAL,
    "image/svg+xml": _TEXTUAL,
    "application/zip": frozenset(("application", "model")),
    "application/gzip": frozenset(("application",)),
}
_TWINS = {"audio": "video", "video": "audio"}
_TEXT_FORMATS = (("%PDF-", "application/pdf"), ("%!PS", "application/postscript"))


def parse_content_type(field: str | None) -> str:
    """A Content-Type to keep as declared, the default where there is none. Raises Invalid."""
    text = (field or "").strip(" \t")
    if not text:
        return DEFAULT
    if len(text) > MAX_TYPE_BYTES or not _TYPE.fullmatch(text):
        raise Invalid("Content-Type is no media type", field="Content-Type")
    return text


def essence(content_type: str) -> str:
    """`type/subtype` in lower case, without parameters."""
    return content_type.partition(";")[0].strip(" \t").lower()


def matches_any(content_type: str, patterns: Iterable[str]) -> bool:
    """Whether it is one of `image/png`, `image/*`, `*/*`; parameters do not count."""
    name = essence(content_type)
    family = name.partition("/")[0]
    return any(pattern.lower() in (name, f"{family}/*", "*/*") for pattern in patterns)


def contradicts(sniffed: str, patterns: Iterable[str]) -> bool:
    """Whether bytes that look like `sniffed` can be nothing that the patterns allow.

    JSON, CSV and programs look like plain text (or like HTML, where they quote some), office files
    like zip, and a container such as MP4 holds sound or pictures.
    """
    allowed = [pattern.lower() for pattern in patterns]
    family, _, name = sniffed.partition("/")
    if matches_any(sniffed, allowed) or matches_any(
        f"{_TWINS.get(family, family)}/{name}", allowed
    ):
        return False
    return _MAY_BE.get(sniffed, frozenset()).isdisjoint(
        pattern.partition("/")[0] for pattern in allowed
    )


def sniff(head: bytes) -> str | None:
    """The media type that the first bytes look like, None where they tell nothing.

    head: up to `SNIFF_BYTES` bytes, all of a shorter object. Text is looked at first, since the
    signatures of some binary formats are two letters long.
    """
    head = bytes(head[:SNIFF_BYTES])
    if not head:
        return None
    text = _decode(head)
    if text is not None:
        return _sniff_text(text)
    guess = filetype.guess_mime(head)
    return guess if isinstance(guess, str) else None


def _decode(head: bytes) -> str | None:
    """The head as text, None where it is none; a character cut off at its end is no objection."""
    encoding, text = "utf-8", head
    for bom, name in _BOMS:
        if head.startswith(bom):
            encoding, text = name, head[len(bom) :]
            break
    try:
        decoded = codecs.getincrementaldecoder(encoding)().decode(text)
    except UnicodeDecodeError:
        return None
    return None if _CONTROLS.search(decoded) else decoded


def _sniff_text(text: str) -> str:
    for start, name in _TEXT_FORMATS:
        if text.startswith(start):
            return name
    if _SVG.search(text):
        return "image/svg+xml"
    if _HTML.search(text):
        return "text/html"
    return "text/xml" if _XML.match(text) else "text/plain"


def may_show_inline(declared: str, sniffed: str | None) -> bool:
    """Whether a browser may show it in place.

    The bytes must look harmless, and the type that is sent must be harmless as well: a PNG that is
    a script too, declared text/html, would run.
    """
    return sniffed in INLINE and (essence(declared) in INLINE or essence(declared) == DEFAULT)
