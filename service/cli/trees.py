"""sync, cp, mv: files and objects in numbers, in any direction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.remote import DEFAULT_PATIENCE_S, DEFAULT_URL, SCHEME, Json, Name, Patience, Url
from service.cli.reports import DEFAULT_PARALLEL, DryRun, Parallel, reported
from service.cli.transfers import file_for

if TYPE_CHECKING:
    from service.client import AsyncMediagate
    from service.client.sync import Report

app = typer.Typer()
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="A whole folder or prefix, with all below it.")
]


@app.command()
def sync(
    source: Annotated[str, typer.Argument(metavar="FOLDER|mg://BUCKET[/PREFIX]")],
    target: Annotated[str, typer.Argument(metavar="mg://BUCKET[/PREFIX]|FOLDER")],
    url: Url = DEFAULT_URL,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete what only the target has, at the end.")
    ] = False,
    dry_run: DryRun = False,
    parallel: Parallel = DEFAULT_PARALLEL,
    cache: Annotated[
        Path | None, typer.Option(help="Where digests of local files are kept.", show_default=False)
    ] = None,
    patience: Patience = DEFAULT_PATIENCE_S,
    as_json: Json = False,
) -> None:
    """Make a prefix like a folder, or a folder like a prefix, by size and digest.

    A second run moves nothing; one that was killed is completed by the next. Exit code 1 where
    anything failed: then nothing is deleted.
    """
    from service.client import UploadJournal
    from service.client.sync import (
        DigestCache,
        Place,
        SyncOptions,
        default_cache_path,
        sync_down,
        sync_up,
    )

    up = _is_up(source, target)
    place_name, folder = (target, Path(source)) if up else (source, Path(target))
    name = Name.parse(place_name)

    options = SyncOptions(
        delete=delete, dry_run=dry_run, parallel=parallel, journal=UploadJournal()
    )
    place = Place.of(name.bucket, name.key)
    with DigestCache(cache or default_cache_path()) as digests:

        async def work(mediagate: AsyncMediagate, report: Report) -> None:
            if up:
                await sync_up(mediagate, folder, place, options, digests, report)
            else:
                await sync_down(mediagate, place, folder, options, digests, report)

        reported(url, work, patience, as_json=as_json, sums=True)


def _is_up(source: str, target: str) -> bool:
    up = not source.startswith(SCHEME)
    if up == (not target.startswith(SCHEME)):
        raise typer.BadParameter("one side is a folder, the other mg://bucket/prefix")
    return up


@app.command("cp")
def copy(
    source: Annotated[str, typer.Argument(metavar="FILE|mg://BUCKET/KEY")],
    target: Annotated[str, typer.Argument(metavar="mg://BUCKET/KEY|FILE")],
    url: Url = DEFAULT_URL,
    recursive: Recursive = False,
    parallel: Parallel = DEFAULT_PARALLEL,
    patience: Patience = DEFAULT_PATIENCE_S,
    as_json: Json = False,
) -> None:
    """Copy an object, inside the service, or a file there or back.

    A target that ends in / takes the source under its last name. With -r what lies below the
    source comes to lie below the target.
    """
    if not source.startswith(SCHEME) and not target.startswith(SCHEME):
        raise typer.BadParameter("one side at least is mg://bucket/key")

    async def work(mediagate: AsyncMediagate, report: Report) -> None:
        if recursive:
            await _copy_tree(mediagate, source, target, parallel, report)
        else:
            await _copy_one(mediagate, source, target, report)

    reported(url, work, patience, as_json=as_json, sums=recursive)


@app.command("mv")
def move(
    source: Annotated[str, typer.Argument(metavar="mg://BUCKET/KEY", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="mg://BUCKET/KEY", show_default=False)],
    url: Url = DEFAULT_URL,
    recursive: Recursive = False,
    parallel: Parallel = DEFAULT_PARALLEL,
    patience: Patience = DEFAULT_PATIENCE_S,
    as_json: Json = False,
) -> None:
    """Give an object, or with -r all of a prefix, another name; each object at once and whole."""

    async def work(mediagate: AsyncMediagate, report: Report) -> None:
        from service.client.sync import Action, Kind, Place, rename_tree

        if recursive:
            places = Place.of(*Name.parse(source)), Place.of(*Name.parse(target))
            await rename_tree(mediagate, *places, parallel, report, move=True)
            return
        old = Name.parse_object(source)
        new = _named_after(Name.parse(target), old.key)
        info = await mediagate.move(old.bucket, old.key, new.key, to_bucket=new.bucket)
        report.note(Action(Kind.MOVE, str(new), info.size_bytes))

    reported(url, work, patience, as_json=as_json, sums=recursive)


def _named_after(target: Name, source: str) -> Name:
    if target.key and not target.key.endswith("/"):
        return target
    return target._replace(key=target.key + source.rpartition("/")[2])


async def _copy_tree(
    mediagate: AsyncMediagate, source: str, target: str, parallel: int, report: Report
) -> None:
    from service.client import UploadJournal
    from service.client.sync import Place, get_tree, put_tree, rename_tree

    if not source.startswith(SCHEME):
        place = Place.of(*Name.parse(target))
        await put_tree(mediagate, Path(source), place, parallel, report, UploadJournal())
    elif not target.startswith(SCHEME):
        place = Place.of(*Name.parse(source))
        await get_tree(mediagate, place, Path(target), parallel, report)
    else:
        places = Place.of(*Name.parse(source)), Place.of(*Name.parse(target))
        await rename_tree(mediagate, *places, parallel, report)


async def _copy_one(mediagate: AsyncMediagate, source: str, target: str, report: Report) -> None:
    from service.client import UploadJournal
    from service.client.sync import Action, Kind

    if not source.startswith(SCHEME):
        new = _named_after(Name.parse(target), Path(source).name)
        info = await mediagate.put(new.bucket, new.key, Path(source), journal=UploadJournal())
        report.note(Action(Kind.PUT, str(new), info.size_bytes))
        return
    old = Name.parse_object(source)
    if target.startswith(SCHEME):
        new = _named_after(Name.parse(target), old.key)
        info = await mediagate.copy(old.bucket, old.key, new.key, to_bucket=new.bucket)
        report.note(Action(Kind.COPY, str(new), info.size_bytes))
        return
    path = file_for(Path(target), old)
    download = await mediagate.get_to_file(old.bucket, old.key, path)
    report.note(Action(Kind.GET, str(path), download.size_bytes))
