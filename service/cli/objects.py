"""ls, stat, rm: what there is, and that it goes away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.failures import FAILED
from service.cli.lines import folder_line, object_line
from service.cli.remote import DEFAULT_URL, Json, Name, Url, run

if TYPE_CHECKING:
    from service.client import AsyncMediagate, ObjectInfo, Page

app = typer.Typer()


@app.command("ls")
def list_objects(
    name: Annotated[str | None, typer.Argument(metavar="[mg://BUCKET[/PREFIX]]")] = None,
    url: Url = DEFAULT_URL,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="All objects, not folder by folder.")
    ] = False,
    long: Annotated[bool, typer.Option("-l", help="Size, time and type too.")] = False,
    as_json: Json = False,
) -> None:
    """List buckets, or the objects and folders whose keys start with a prefix."""
    where = Name.parse(name) if name else None

    async def show(mediagate: AsyncMediagate) -> None:
        if where is None:
            async for bucket in mediagate.buckets():
                typer.echo(bucket.model_dump_json() if as_json else f"mg://{bucket.name}")
            return
        delimiter = None if recursive else "/"
        async for page in mediagate.pages(where.bucket, where.key, delimiter=delimiter):
            for line in _lines(page, long=long, as_json=as_json):
                typer.echo(line)

    run(url, show)


def _lines(page: Page, *, long: bool, as_json: bool) -> Iterator[str]:
    """Objects and folders in the order of their keys."""
    entries: list[tuple[str, ObjectInfo | None]] = [(item.key, item) for item in page.items]
    entries += [(prefix, None) for prefix in page.prefixes]
    for key, item in sorted(entries, key=lambda entry: entry[0].encode()):
        if as_json:
            yield item.model_dump_json() if item else _folder_json(key)
        elif item is None:
            yield folder_line(key, long=long)
        else:
            yield object_line(item, long=long)


def _folder_json(prefix: str) -> str:
    return json.dumps({"prefix": prefix}, ensure_ascii=False, separators=(",", ":"))


@app.command()
def stat(
    name: Annotated[str, typer.Argument(metavar="mg://BUCKET/KEY", show_default=False)],
    url: Url = DEFAULT_URL,
    version: Annotated[str | None, typer.Option(help="This version, not the latest.")] = None,
    as_json: Json = False,
) -> None:
    """Tell the facts of an object: size, type, digests, metadata, tags."""
    where = Name.parse_object(name)

    async def show(mediagate: AsyncMediagate) -> None:
        info = await mediagate.stat(where.bucket, where.key, version=version)
        if as_json:
            typer.echo(info.model_dump_json())
            return
        for fact, value in _facts(info):
            typer.echo(f"{fact:18} {value}")

    run(url, show)


def _facts(info: ObjectInfo) -> Iterator[tuple[str, str]]:
    """Those that have a value; the entries of a table as lines of their own."""
    for fact, value in info.model_dump(mode="json", exclude_none=True).items():
        if isinstance(value, dict):
            yield from ((f"{fact}.{name}", str(item)) for name, item in sorted(value.items()))
        else:
            yield fact, str(value)


@app.command("rm")
def remove(
    names: Annotated[list[str], typer.Argument(metavar="mg://BUCKET[/KEY]...", show_default=False)],
    url: Url = DEFAULT_URL,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="All objects that begin with the name.")
    ] = False,
    version: Annotated[
        str | None, typer.Option(help="This version, or delete marker, for good.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Delete objects; one that is not there is no error. Without a key: an empty bucket.

    In a bucket with versions an object gets a delete marker, and its versions stay. With -r the
    service does it as a job, which goes on even if this command is stopped.
    """
    targets = [Name.parse(name) for name in names]
    for target in targets:
        if target.key.endswith("/") and not recursive:
            raise typer.BadParameter(f"{target} is a folder, no object: -r deletes what is in it")
        if recursive and (version or not target.key):
            raise typer.BadParameter("-r wants mg://bucket/prefix, and no version")

    async def delete(mediagate: AsyncMediagate) -> int:
        failed = 0
        for target in targets:
            told: dict[str, object] = {"name": str(target)}
            if recursive:
                job = await mediagate.delete_prefix(target.bucket, target.key)
                told |= {"deleted": job.deleted, "failed": job.failed, "state": job.state}
                failed += job.failed + (job.state != "done")
            elif target.key:
                told["marker"] = await mediagate.delete(target.bucket, target.key, version=version)
            else:
                await mediagate.delete_bucket(target.bucket)
            if as_json:
                typer.echo(json.dumps(told, ensure_ascii=False))
            elif recursive:
                typer.echo(f"{target}  {told['deleted']} deleted, {told['failed']} failed")
        return failed

    if run(url, delete):
        raise typer.Exit(FAILED)
