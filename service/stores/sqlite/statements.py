"""Statements made from rows: the names in them are columns of ours, every value is bound."""

from __future__ import annotations

from functools import cache

from service.stores.sqlite.driver import Db, Row
from service.stores.sqlite.rows import Values


@cache
def _insert_sql(table: str, columns: tuple[str, ...]) -> str:
    names = ", ".join(columns)
    places = ", ".join(f":{name}" for name in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({places})"


def insert(db: Db, table: str, values: Values) -> int:
    """Returns the row's number, where the table has them. Raises sqlite3.IntegrityError."""
    done = db.execute(_insert_sql(table, tuple(values)), values)
    return int(done.lastrowid or 0)


def one(db: Db, sql: str, *values: object) -> Row | None:
    found: Row | None = db.execute(sql, values).fetchone()
    return found


def many(db: Db, sql: str, *values: object) -> list[Row]:
    return db.execute(sql, values).fetchall()


def change(db: Db, sql: str, *values: object) -> int:
    """How many rows were changed."""
    return db.execute(sql, values).rowcount
