"""What can go wrong with the embedded stack, in words for the person at the terminal."""

from __future__ import annotations


class StackError(Exception):
    """The stack cannot start, or one of its servers died; the message is the whole story."""
