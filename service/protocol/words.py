"""Words of a text, for a search that knows neither case nor accents, in any script.

Folding: compatibility decomposition, full case folding, then the accents go (of Latin, Greek,
Cyrillic, and the points of Hebrew and Arabic). Vowel signs and the like, which are letters of
other scripts, stay. A word is a run of letters, marks and digits; a query's word finds the words
that it starts. Scripts that put no space between words (Chinese, Japanese, Thai, …) have no such
runs: there every character starts a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

MAX_WORD_CHARS = 64
"""What is behind them is not looked at, in objects and queries alike."""
SPACELESS_CHARS = 8
"""How far the word that a character starts goes; longer queries are several words."""

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_SPACELESS = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u1950-\u19df\u1a20-\u1aaf"  # Tai Le, New Tai Lue, Tai Tham
    "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff\U0001aff0-\U0001b16f"  # kana, Bopomofo
)
_SAME_KIND = re.compile(rf"([{_SPACELESS}]+)|[^{_SPACELESS}]+")
# Canonical combining classes. Those between are vowel signs of Thai, Lao, Telugu and Tibetan; those
# below are parts of letters: the nukta, the voicing of kana, the virama.
_POINTS, _ACCENTS = range(10, 37), range(202, 256)


def fold(text: str) -> str:
    """The text as it is compared; folding it again changes nothing."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text)
    apart = unicodedata.normalize("NFKD", apart.casefold())
    return unicodedata.normalize("NFC", "".join(c for c in apart if not _is_accent(c)))


def words_of(text: str) -> Iterator[str]:
    """What an object with this text is found by, folded; repetitions are left in."""
    for run, spaceless in _runs(text):
        if spaceless:
            yield from (run[at : at + SPACELESS_CHARS] for at in range(len(run)))
        else:
            yield run[:MAX_WORD_CHARS]


def query_words(text: str) -> Iterator[str]:
    """The folded words of a query: each must start a word of what is found."""
    for run, spaceless in _runs(text):
        if spaceless:
            yield from (
                run[at : at + SPACELESS_CHARS] for at in range(0, len(run), SPACELESS_CHARS)
            )
        else:
            yield run[:MAX_WORD_CHARS]


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    """Runs of word characters of one kind, folded, and whether that is the spaceless one."""
    folded = fold(text)
    if folded.isascii():
        yield from ((word, False) for word in _ASCII_WORD.findall(folded))
        return
    spaced = "".join(c if _is_word(c) else " " for c in folded)
    for run in spaced.split():
        for part in _SAME_KIND.finditer(run):
            yield part[0], part[1] is not None


def _is_word(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN"


def _is_accent(char: str) -> bool:
    place = unicodedata.combining(char)
    return place in _POINTS or place in _ACCENTS
