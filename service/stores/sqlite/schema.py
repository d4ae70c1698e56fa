"""The schema's version in the file, and who may use it.

`application_id` says whose file it is, `user_version` which schema: both are in the file's header.
Only `migrate` changes the version of a database that has data; a service of another release refuses
to start rather than guess. The tables are made in one transaction, so no file is ever half made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from service.errors import SchemaMismatch
from service.stores.schema_version import SCHEMA_VERSION, UNFINISHED
from service.stores.sqlite.driver import Db
from service.stores.sqlite.statements import one
from service.stores.sqlite.tables import APPLICATION_ID, STATEMENTS

Step = Callable[[Db], None]


def _make_resumable(db: Db) -> None:
    """3 -> 4: uploads may be resumable."""
    for column in ("resumer TEXT", "progress TEXT", "span_ms INTEGER"):
        db.execute(f"ALTER TABLE uploads ADD COLUMN {column}")
    for statement in STATEMENTS:
        if any(name in statement for name in ("upload_parts", "uploads_resumer", "uploads_span")):
            db.execute(statement)


STEPS: Mapping[int, Step] = {3: _make_resumable}
"""version -> what brings a database of that version to the next one. (SQLite came with 3.)"""


def prepare(db: Db, *, version: int = SCHEMA_VERSION) -> None:
    """Make an empty file ready, or check whose it is. Raises SchemaMismatch."""
    found = _found(db, version)
    if found < version:
        raise SchemaMismatch(
            f"the database has schema {found}, this release needs {version}: "
            "run `mediagate migrate`",
            found=found,
            needed=version,
        )


def migrate(db: Db, *, version: int = SCHEMA_VERSION, steps: Mapping[int, Step] = STEPS) -> int:
    """All the steps that are missing, as one transaction."""
    for at in range(_found(db, version), version):
        steps[at](db)
    db.execute(f"PRAGMA user_version = {version}")
    return version


def is_marked(db: Db, mark: str) -> bool:
    return one(db, "SELECT 1 FROM marks WHERE name = ?", mark) is not None


def refuse_unfinished(db: Db) -> None:
    """Raises SchemaMismatch."""
    for mark, told in UNFINISHED.items():
        if is_marked(db, mark):
            raise SchemaMismatch(told)


def _found(db: Db, version: int) -> int:
    """The version of the file; a file without anything in it gets the tables, and `version`."""
    owner, found = _number(db, "application_id"), _number(db, "user_version")
    if owner == APPLICATION_ID:
        if found > version:
            raise SchemaMismatch(
                f"the database has schema {found}, this release knows {version} only: "
                "run a newer release",
                found=found,
                needed=version,
            )
        return found
    if owner or one(db, "SELECT 1 FROM sqlite_schema LIMIT 1") is not None:
        raise SchemaMismatch("the file is a database of another program: name another file")
    for statement in STATEMENTS:
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {version}")
    return version


def _number(db: Db, pragma: str) -> int:
    (value,) = db.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)
