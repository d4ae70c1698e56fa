"""NAME=VALUE options."""

from __future__ import annotations

from typing import Annotated

import typer

Pairs = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="May be repeated.")]


def parse_pairs(given: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name or name in pairs:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE, or it is given twice")
        pairs[name] = value
    return pairs
