"""find: objects by what they are called, what they are and what is noted of them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.lines import object_line
from service.cli.pairs import Pairs, parse_pairs
from service.cli.remote import DEFAULT_URL, Json, Name, Url, run

if TYPE_CHECKING:
    from service.client import AsyncMediagate

app = typer.Typer()
_SIZE = re.compile(r"([0-9]+)\s*(?:([KMGT])(i?)B?|B)?", re.IGNORECASE)
_UNITS = ("", "K", "M", "G", "T")


@app.command()
def find(
    name: Annotated[str, typer.Argument(metavar="mg://BUCKET[/PREFIX]", show_default=False)],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORD...]", help="Starts of words of key, file name or metadata."),
    ] = None,
    url: Url = DEFAULT_URL,
    content_type: Annotated[
        str | None, typer.Option("--type", help="video/mp4, or video/* for all of a kind.")
    ] = None,
    tag: Pairs = None,
    meta: Pairs = None,
    size_min: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Bytes, or as in 10MiB, 2GB.")
    ] = None,
    size_max: Annotated[str | None, typer.Option(metavar="SIZE")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="2026-01-31, or with T12:00 and a zone.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Not included.")] = None,
    sort: Annotated[
        str, typer.Option(help="key, created or size; with - in front downwards.")
    ] = "key",
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many.")] = None,
    long: Annotated[bool, typer.Option("-l", help="Size, time and type too.")] = False,
    as_json: Json = False,
) -> None:
    """List the objects that fulfil every condition."""
    where = Name.parse(name)
    filters = {
        "content_type": content_type,
        "tags": parse_pairs(tag),
        "user_metadata": parse_pairs(meta),
        "size_min": _bytes(size_min),
        "size_max": _bytes(size_max),
        "since": _time(since),
        "until": _time(until),
    }

    async def show(mediagate: AsyncMediagate) -> None:
        found = mediagate.search(
            where.bucket,
            " ".join(words) if words else None,
            prefix=where.key,
            sort=sort,
            limit=min(limit or 1000, 1000),
            **filters,  # type: ignore[arg-type]
        )
        left = limit
        async for info in found:
            typer.echo(info.model_dump_json() if as_json else object_line(info, long=long))
            if left is not None:
                left -= 1
                if not left:
                    return

    run(url, show)


def _bytes(text: str | None) -> int | None:
    if text is None:
        return None
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no size such as 1000, 10MiB or 2GB")
    number, unit, binary = match.groups()
    factor: int = (1024 if binary else 1000) ** _UNITS.index((unit or "").upper())
    return int(number) * factor


def _time(text: str | None) -> datetime | None:
    """Without a zone: the time of this machine."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time such as 2026-01-31T12:00") from error
