"""Folding and words: case, accents and widths do not count, in any script."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.protocol.words import MAX_WORD_CHARS, SPACELESS_CHARS, fold, query_words, words_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCRIPTS = st.text("aÄßÇéøΣςΌйЁשׁמُحकिक़ी한ガがｶﾞ東Ⅷ①ﬁİ 1_/\u0301\u0308\u0345")
ODD = str.maketrans("", "", "\u0131\u0345")
"""ı is no i in any folding, though its capital is I; and a iota subscript under anything but a
Greek vowel becomes a letter of its own, before or behind the marks beside it."""


@given(TEXT | SCRIPTS)
@example("\u0345")
def test_folding_again_changes_nothing(text: str):
    assert fold(fold(text)) == fold(text)


@given(TEXT | SCRIPTS)
def test_case_and_spelling_do_not_count(text: str):
    text = text.translate(ODD)
    for other in (text.upper(), text.lower(), text.casefold()):
        assert fold(other) == fold(text)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold(unicodedata.normalize(form, text)) == fold(text)


@given(st.text(st.characters(categories=["Lu", "Ll"], max_codepoint=0x24F)))
def test_accents_do_not_count(text: str):
    accented = "".join(f"{char}\u0301\u0327" for char in text)
    assert fold(accented) == fold(text)


@given(TEXT | SCRIPTS)
def test_every_word_of_a_text_and_every_start_of_one_finds_it(text: str):
    words = list(words_of(text))
    for asked in query_words(text):
        assert any(word.startswith(asked) for word in words)
    for word in words:
        assert fold(word) == word
        for end in range(1, len(word) + 1):
            for asked in query_words(word[:end]):
                assert any(other.startswith(asked) for other in words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("films/2026/Château_du-Lac.MP4", ["films", "2026", "chateau", "du", "lac", "mp4"]),
        ("Straße GRÜSSE", ["strasse", "grusse"]),
        ("ΑΊΑΣ ς", ["αιασ", "σ"]),
        ("Ёлка Йод", ["елка", "иод"]),
        ("مُحَمَّد", ["محمد"]),
        ("שָׁלוֹם", ["שלום"]),
        ("हिन्दी क़लम", ["हिन्दी", "क़लम"]),
        ("한국어 텍스트", ["한국어", "텍스트"]),
        ("Ａｂｃ ﬁsh ①", ["abc", "fish", "1"]),
        ("がか", ["がか", "か"]),
        ("iPhoneの写真2", ["iphone", "の写真", "写真", "真", "2"]),
        ("สวัส", ["สวัส", "วัส", "ัส", "ส"]),
        ("_ - / \u200b 🎬", []),
    ],
)
def test_words_of_any_script(text: str, words: list[str]):
    assert list(words_of(text)) == words


def test_long_words_are_compared_by_their_beginning():
    assert list(words_of("a" * 200)) == list(query_words("a" * 100)) == ["a" * MAX_WORD_CHARS]
    characters = "".join(chr(0x4E00 + n) for n in range(2 * SPACELESS_CHARS + 1))
    assert {len(word) for word in words_of(characters)} == set(range(1, SPACELESS_CHARS + 1))
    assert "".join(query_words(characters)) == characters
