"""The shape of the house, read from the source: which way imports point, who may touch a driver."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import service
from tests.blocking_client import TWIN

ROOT = Path(service.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LAYERS = re.findall(r"\w+", re.search(r"^(cli > .*?)\.", service.__doc__ or "", re.M | re.S)[1])
MAX_LINES = 300

PURE = {
    "model": {"model", "errors"},
    "protocol": {"protocol", "model", "errors"},
    "client": {"client", "protocol", "model", "errors"},
    "devstack": {"devstack"},
}
"""Packages that may import less than what lies below them."""

DRIVERS = {
    "aiobotocore": "service/stores/s3/",
    "botocore": "service/stores/s3/",
    "motor": "service/stores/mongo/",
    "pymongo": "service/stores/mongo/",
    "bson": "service/stores/mongo/",
    "gridfs": "service/stores/mongo/",
    "aiosqlite": "service/stores/sqlite/",
    "fsspec": "service/client/filesystem/",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT.parent).as_posix()


def layer_of(module: str) -> str | None:
    """`service.web.form` -> `web`; None for what is not ours, or is the package itself."""
    parts = module.split(".")
    return parts[1] if parts[0] == "service" and len(parts) > 1 else None


def imports_of(path: Path) -> Iterator[str]:
    """Every module named by an import, wherever it stands; for `from a import b` also `a.b`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} uses a relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_layer(path: Path) -> str | None:
    module = name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return "cli" if module == "service.__main__" else layer_of(module)


def test_the_walk_sees_the_house() -> None:
    assert LAYERS[:3] == ["cli", "app", "web"]
    assert {own_layer(path) for path in FILES} - {None} <= {*LAYERS, "devstack"}
    assert len(FILES) > 50


def test_imports_never_point_up() -> None:
    wrong = []
    for path in FILES:
        here = own_layer(path)
        below = set(LAYERS[LAYERS.index(here) :]) if here in LAYERS else set()
        allowed = PURE.get(here or "", below) | ({"devstack"} if here == "cli" else set())
        targets = {layer_of(module) for module in imports_of(path)} - {None, here}
        wrong += [f"{name_of(path)} imports {target}" for target in targets - allowed]
    assert not wrong


def test_drivers_stay_in_their_stores() -> None:
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in FILES
        for module in imports_of(path)
        if not name_of(path).startswith(DRIVERS.get(module.split(".")[0], "service/"))
    ]
    assert not wrong


ABOVE_STORES = LAYERS[: LAYERS.index("stores")]
QUERY = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+TABLE)\b"
    r"|^\$(set|unset|inc|push|gte?|lte?|in|ne|match|limit|elemMatch|exists)$",
    re.S,
)
"""What is asked of a database: a statement of SQL, or an operator of MongoDB."""


def test_no_database_is_spoken_to_above_the_stores() -> None:
    wrong = [
        f"{name_of(path)}:{node.lineno} says {node.value[:40]!r}"
        for path in FILES
        if own_layer(path) in ABOVE_STORES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        if isinstance(node.value, str) and QUERY.search(node.value)
    ]
    assert not wrong
    assert QUERY.search("SELECT x\n FROM y")
    assert QUERY.search("$set")


def test_only_the_web_face_and_the_composition_root_know_the_web_server() -> None:
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in FILES
        if own_layer(path) not in ("web", "app")
        for module in imports_of(path)
        if re.match(r"aiohttp\.(web|http_parser)", module)
    ]
    assert not wrong


def test_files_are_short() -> None:
    """Past this many lines, ask which second subject moved in; but not of what a script makes."""
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in FILES if path != TWIN}
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_LINES}
