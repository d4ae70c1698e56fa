"""put, get: bytes in and out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.pairs import Pairs, parse_pairs
from service.cli.remote import (
    DEFAULT_PATIENCE_S,
    DEFAULT_URL,
    Json,
    Name,
    Patience,
    Url,
    progress_bar,
    run,
)

if TYPE_CHECKING:
    from service.client import AsyncMediagate, ObjectInfo
    from service.client.upload import PutOptions

app = typer.Typer()
_STDIN, _STDOUT = 0, 1


@app.command()
def put(
    names: Annotated[
        list[str],
        typer.Argument(metavar="FILE... mg://BUCKET/KEY", help="`-` is stdin.", show_default=False),
    ],
    url: Url = DEFAULT_URL,
    make_bucket: Annotated[
        bool, typer.Option("--make-bucket", help="Make the bucket where there is none.")
    ] = False,
    create_only: Annotated[
        bool, typer.Option("--create-only", help="Leave an object that is there already.")
    ] = False,
    content_type: Annotated[
        str | None, typer.Option("--type", help="Media type; by the file's name otherwise.")
    ] = None,
    cache_control: Annotated[str | None, typer.Option(help="Sent with every download.")] = None,
    meta: Pairs = None,
    tag: Pairs = None,
    resumable: Annotated[
        bool | None,
        typer.Option(help="Go on after a break; by itself from 64 MiB on.", show_default=False),
    ] = None,
    patience: Patience = DEFAULT_PATIENCE_S,
    as_json: Json = False,
) -> None:
    """Store files, or stdin, as objects; a name that ends in / takes several files.

    A large file goes on where the connection broke, also when the command is typed again after
    Ctrl-C or a crash; a small one is sent again, and stdin once. `uploads ls` lists what waits.
    """
    from service.client.upload import PutOptions

    jobs = _jobs(names)
    options = PutOptions(
        content_type=content_type,
        cache_control=cache_control,
        user_metadata=parse_pairs(meta),
        tags=parse_pairs(tag),
        create_only=create_only,
    )

    async def store(mediagate: AsyncMediagate) -> None:
        if make_bucket:
            await _ensure_bucket(mediagate, jobs[0][1].bucket)
        for source, name in jobs:
            info = await _put_one(mediagate, source, name, options, resumable)
            told = info.model_dump_json() if as_json else f"{name}  {info.size_bytes} bytes"
            typer.echo(told)

    run(url, store, patience)


def _jobs(names: Sequence[str]) -> list[tuple[str, Name]]:
    """Sources with the objects they become."""
    *sources, last = names
    target = Name.parse(last)
    folder = not target.key or target.key.endswith("/")
    if not sources:
        raise typer.BadParameter("say what to store, and where: FILE mg://bucket/key")
    if not folder:
        if len(sources) > 1:
            raise typer.BadParameter("several files need a name that ends in /")
        return [(sources[0], target)]
    if "-" in sources:
        raise typer.BadParameter("stdin needs a whole name: mg://bucket/key")
    return [(source, target._replace(key=target.key + Path(source).name)) for source in sources]


async def _ensure_bucket(mediagate: AsyncMediagate, bucket: str) -> None:
    from service.errors import BucketExists

    try:
        await mediagate.make_bucket(bucket)
    except BucketExists:
        return  # with settings of its own: there is one, and that was asked for


async def _put_one(
    mediagate: AsyncMediagate,
    source: str,
    name: Name,
    options: PutOptions,
    resumable: bool | None,
) -> ObjectInfo:
    from service.client import UploadJournal
    from service.client.io_thread import read_chunks

    with progress_bar(str(name)) as progress:
        if source == "-":
            chunks = read_chunks(_STDIN)
            return await mediagate.put(name.bucket, name.key, chunks, options, progress=progress)
        return await mediagate.put(
            name.bucket,
            name.key,
            Path(source),
            options,
            resumable=resumable,
            journal=UploadJournal(),
            progress=progress,
        )


@app.command()
def get(
    source: Annotated[str, typer.Argument(metavar="mg://BUCKET/KEY", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="FILE|FOLDER|-", help="`-` is stdout.")] = ".",
    url: Url = DEFAULT_URL,
    version: Annotated[str | None, typer.Option(help="This version, not the latest.")] = None,
    patience: Patience = DEFAULT_PATIENCE_S,
    as_json: Json = False,
) -> None:
    """Fetch an object into a file, or to stdout.

    What arrived is held against the digest that the service tells. A broken transfer goes on where
    it was, also when the command is typed again: until the end the bytes stand in FILE.….part.
    """
    name = Name.parse_object(source)
    path = file_for(Path(target), name)

    async def fetch(mediagate: AsyncMediagate) -> None:
        if target == "-":
            await _to_stdout(mediagate, name, version)
            return
        with progress_bar(str(name)) as progress:
            download = await mediagate.get_to_file(
                name.bucket, name.key, path, version=version, progress=progress
            )
        if as_json:
            told = {"file": str(path), "size_bytes": download.size_bytes, "etag": download.etag}
            typer.echo(json.dumps(told, ensure_ascii=False))

    run(url, fetch, patience)


def file_for(target: Path, name: Name) -> Path:
    """In a folder a file is called as the object is."""
    return target / name.key.rpartition("/")[2] if target.is_dir() else target


async def _to_stdout(mediagate: AsyncMediagate, name: Name, version: str | None) -> None:
    from service.client.io_thread import BlockingThread, write_all

    with progress_bar(str(name)) as progress:
        async with (
            mediagate.get(name.bucket, name.key, version=version) as download,
            BlockingThread() as thread,
        ):
            done_bytes = 0
            async for chunk in download:
                await thread.run(write_all, _STDOUT, chunk)
                done_bytes += len(chunk)
                progress(done_bytes, download.size_bytes)
