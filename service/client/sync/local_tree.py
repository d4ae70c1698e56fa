"""The files below a folder, in the order in which the service lists their names."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncGenerator, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from service.client.io_thread import BlockingThread
from service.client.sources import State
from service.errors import Invalid
from service.protocol.names import validate_key

_PART = re.compile(r".+\.([0-9A-HJKMNP-TV-Z]{26}|new)\.part")
"""What a download that was broken off left; never content."""
_BATCH = 256
Problem = Callable[[str, Exception], None]


class LocalFile(NamedTuple):
    """name: relative to the folder, with `/`."""

    name: str
    path: Path
    state: State


def walk(folder: Path, problem: Problem) -> Iterator[LocalFile]:
    """Blocks. Links to files count as files, links to folders are passed over, and so is what is
    neither.

    problem: told what cannot be read or has no name that an object could have.
    """
    yield from _walk(folder, "", problem)


def _walk(folder: Path, above: str, problem: Problem) -> Iterator[LocalFile]:
    for entry in _entries(folder, above, problem):
        name = above + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{name}/", problem)
            continue
        try:
            found = entry.stat()
            if not stat.S_ISREG(found.st_mode) or _PART.fullmatch(entry.name):
                continue
            validate_key(name)
        except (OSError, Invalid) as error:
            problem(name, error)
            continue
        yield LocalFile(name, folder / entry.name, State.of(found))


def _entries(folder: Path, above: str, problem: Problem) -> list[os.DirEntry[str]]:
    """As their keys sort: by bytes, a folder as if its name ended in `/`."""
    found: list[tuple[bytes, os.DirEntry[str]]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "")
                try:
                    found.append((name.encode(), entry))
                except UnicodeEncodeError:
                    shown = os.fsencode(above + entry.name).decode(errors="backslashreplace")
                    problem(shown, Invalid("the name is no UTF-8"))
    except OSError as error:
        problem(above or ".", error)
    return [entry for _, entry in sorted(found, key=lambda pair: pair[0])]


async def local_files(
    folder: Path, problem: Problem, *, may_lack: bool = False
) -> AsyncGenerator[LocalFile, None]:
    """The same without blocking. Raises OSError where the folder itself cannot be read.

    may_lack: a folder that is not there is as good as an empty one.
    """
    async with BlockingThread() as thread:
        if may_lack and not await thread.run(folder.exists):
            return
        await thread.run(os.listdir, folder)
        files = walk(folder, problem)
        while batch := await thread.run(lambda: [*islice(files, _BATCH)]):
            for file in batch:
                yield file
