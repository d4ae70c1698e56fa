"""The blocking client out of the async one: `python tests/blocking_client.py > FILE`, its FILE
being service/client/twin.py. A test holds the two together."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from service.client.api import AsyncMediagate  # noqa: E402

TWIN = ROOT / "service" / "client" / "twin.py"
_OPENED = {"Download": "BlockingDownload", "Archive": "BlockingArchive"}
_HEAD = '''\
"""The blocking client. Made out of the async one by `python tests/blocking_client.py`: change that
one, and make this one again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from os import PathLike
from typing import Any

from service.client.answers import (
    BucketInfo, DeletionJob, Expansion, ObjectInfo, Page, Removal, UploadInfo, VersionInfo,
)
from service.client.base import ignore
from service.client.blocking import BlockingArchive, BlockingClient, BlockingDownload
from service.client.download import Download
from service.client.patience import Progress
from service.client.sources import Source
from service.client.upload import PutOptions
from service.client.upload_journal import UploadJournal
from service.client.writing import NO_OPTIONS


class Mediagate(BlockingClient):
    """`with Mediagate("http://127.0.0.1:8080", "mg_…") as mediagate:`

    What AsyncMediagate does, without async: from any thread, after a fork, inside a running loop.
    Without `with` it connects at the first call and ends with `close()`.
    """
'''


def methods() -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The public ones, in the order of the classes that make it up."""
    for kind in reversed(AsyncMediagate.__mro__):
        if not kind.__module__.startswith("service.client"):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        assert isinstance(tree, ast.ClassDef)
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
                yield node


def blocking(text: str) -> str:
    """An example or a sentence without async."""
    return re.sub(r"\basync (with|for)\b", r"\1", text).replace("await ", "")


def twin_of(method: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    arguments = ast.unparse(method.args)
    passed = ", ".join(
        [argument.arg for argument in method.args.args[1:]]
        + [f"{argument.arg}={argument.arg}" for argument in method.args.kwonlyargs]
    )
    call = f"lambda mediagate: mediagate.{method.name}({passed})"
    assert method.returns is not None
    returns = ast.unparse(method.returns)
    if opened := re.fullmatch(r"AbstractAsyncContextManager\[(\w+)\]", returns):
        wrapped = _OPENED[opened[1]]
        returns, body = f"AbstractContextManager[{wrapped}]", f"self._open({call}, {wrapped})"
    elif item := re.fullmatch(r"AsyncIterator\[(\w+)\]", returns):
        returns, body = f"Iterator[{item[1]}]", f"self._iterate({call})"
    else:
        body = f"self._run({call})"
    doc = blocking(ast.get_docstring(method, clean=False) or "")
    # Nothing of the class may hide a built-in: `list` is a method.
    arguments = arguments.replace("_NO_OPTIONS", "NO_OPTIONS")
    head = f"    def {method.name}({arguments}) -> {returns}:"
    return f'{head}\n        """{doc}"""\n        return {body}\n'


def source() -> str:
    text = _HEAD + "\n" + "\n".join(map(twin_of, methods()))
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TWIN), "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout


if __name__ == "__main__":
    print(source(), end="")
