"""Whole folders and prefixes, copied without a look at what the target has."""

from __future__ import annotations

from pathlib import Path

from service.client.answers import ObjectInfo
from service.client.api import AsyncMediagate
from service.client.io_thread import BlockingThread
from service.client.sync.crew import each
from service.client.sync.local_tree import LocalFile, local_files
from service.client.sync.pairing import Place, path_of
from service.client.sync.report import Action, Kind, Report
from service.client.upload_journal import UploadJournal
from service.errors import Invalid, MediagateError


async def put_tree(
    mediagate: AsyncMediagate,
    folder: Path,
    place: Place,
    workers: int,
    report: Report,
    journal: UploadJournal | None = None,
) -> None:
    """Every file of a folder under the prefix. journal: of unfinished uploads."""

    async def put(thread: BlockingThread, file: LocalFile) -> None:
        try:
            info = await mediagate.put(
                place.bucket, place.prefix + file.name, file.path, journal=journal
            )
        except (MediagateError, OSError) as error:
            report.failed(file.name, error)
        else:
            report.note(Action(Kind.PUT, file.name, info.size_bytes))

    await each(local_files(folder, report.failed), put, workers=workers)


async def get_tree(
    mediagate: AsyncMediagate, place: Place, folder: Path, workers: int, report: Report
) -> None:
    """Every object of a prefix as a file of the folder."""

    async def get(thread: BlockingThread, info: ObjectInfo) -> None:
        name = info.key[len(place.prefix) :]
        try:
            path = path_of(folder, name)
            await thread.run(lambda: path.parent.mkdir(parents=True, exist_ok=True))
            download = await mediagate.get_to_file(place.bucket, info.key, path)
        except (MediagateError, OSError) as error:
            report.failed(name, error)
        else:
            report.note(Action(Kind.GET, name, download.size_bytes))

    await each(mediagate.list(place.bucket, place.prefix), get, workers=workers)


async def rename_tree(
    mediagate: AsyncMediagate,
    source: Place,
    target: Place,
    workers: int,
    report: Report,
    *,
    move: bool = False,
) -> None:
    """Every object of a prefix copied, or moved, to another one, inside the service.

    Raises Invalid where one lies in the other: the walk would meet what it makes.
    """
    if source.bucket == target.bucket and (
        source.prefix.startswith(target.prefix) or target.prefix.startswith(source.prefix)
    ):
        raise Invalid(f"{source} and {target} overlap")

    async def rename(thread: BlockingThread, info: ObjectInfo) -> None:
        name = info.key[len(source.prefix) :]
        to_key = target.prefix + name
        try:
            if move:
                await mediagate.move(
                    source.bucket, info.key, to_key, to_bucket=target.bucket, if_match=info.etag
                )
            else:
                await mediagate.copy(source.bucket, info.key, to_key, to_bucket=target.bucket)
        except MediagateError as error:
            report.failed(name, error)
        else:
            report.note(Action(Kind.MOVE if move else Kind.COPY, name, info.size_bytes))

    await each(mediagate.list(source.bucket, source.prefix), rename, workers=workers)
