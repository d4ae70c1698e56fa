"""The terms of an object: which there are, how many, and that none is another's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.model.search import Term
from service.model.version import ObjectFacts
from service.protocol.terms import (
    MAX_TERM_CHARS,
    MAX_TERMS,
    metadata_term,
    tag_term,
    terms_of,
    type_term,
    word_terms,
)

NAME = st.text("ab=", min_size=1, max_size=3)
VALUE = st.text("ab=", max_size=3)


def test_an_object_has_a_term_for_all_that_it_is_found_by():
    facts = ObjectFacts(
        content_type="Text/Plain; charset=utf-8",
        filename="Two.txt",
        user_metadata={"title": "One Two"},
        tags={"who": "me"},
    )
    assert terms_of("dir/One.md", facts) == [
        "y:text/plain",
        "y:text/*",
        "t:who\x1fme",
        "m:title\x1fOne Two",
        "w:dir",
        "w:one",
        "w:md",
        "w:two",
        "w:txt",
    ]


@given(NAME, VALUE, NAME, VALUE)
def test_two_tags_never_share_a_term(name: str, value: str, other_name: str, other_value: str):
    same = (name, value) == (other_name, other_value)
    assert (tag_term(name, value) == tag_term(other_name, other_value)) == same
    assert tag_term(name, value) != metadata_term(name, value)


def test_a_long_value_is_found_by_all_of_it():
    long, other = "x" * 5000, "x" * 4999 + "y"
    facts = ObjectFacts(user_metadata={"a": long}, tags={"t": long})
    terms = terms_of("k", facts)
    assert max(map(len, terms)) <= MAX_TERM_CHARS
    assert metadata_term("a", long).text in terms
    assert tag_term("t", long).text in terms
    assert metadata_term("a", other).text not in terms
    assert tag_term("t", other).text not in terms


def test_terms_are_bounded_and_words_of_the_last_metadata_go_first():
    text = " ".join(f"word{n}" for n in range(3000))
    facts = ObjectFacts(user_metadata={"a": text, "b": "last"}, tags={"t": "1"})
    terms = terms_of("the/key", facts)
    assert len(terms) == len(set(terms)) == MAX_TERMS
    assert {"t:t\x1f1", metadata_term("b", "last").text, "w:the", "w:key", "w:word0"} < set(terms)
    assert "w:last" not in terms


def test_a_query_asks_for_each_word_once_and_without_words_for_nothing():
    assert word_terms("Rome, rome: ÉTÉ") == [
        Term("w:rome", whole=False),
        Term("w:ete", whole=False),
    ]
    assert word_terms(" -/! ") == [Term("w:")]
    assert "w:" not in terms_of("- - -", ObjectFacts())
    assert type_term("video/*") == Term("y:video/*")
