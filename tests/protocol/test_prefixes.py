from hypothesis import given
from hypothesis import strategies as st

from service.protocol.prefixes import successor

CHARS = st.one_of(
    st.characters(exclude_categories=("Cs",)), st.sampled_from("\ud7ff\ue000\U0010ffff\x00a")
)
TEXT = st.text(CHARS, max_size=6)


@given(TEXT, TEXT)
def test_every_string_with_the_prefix_is_below_its_successor(prefix, rest):
    above = successor(prefix)
    assert above is None or (prefix + rest).encode() < above.encode()


@given(TEXT, TEXT)
def test_no_string_lies_between_the_prefix_and_its_successor(prefix, text):
    above = successor(prefix)
    if text.encode() > prefix.encode() and not text.startswith(prefix):
        assert above is not None
        assert text.encode() >= above.encode()


def test_the_corners_of_unicode():
    assert successor("a/") == "a0"
    assert successor("") is None
    assert successor("\U0010ffff") is None
    assert successor("a\U0010ffff\U0010ffff") == "b"
    assert successor("\ud7ff") == "\ue000"
    assert successor("\uffff") == "\U00010000"
    assert successor("\x7f") == "\x80"
