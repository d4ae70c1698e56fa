"""Every statement that SQLite is asked: none may read a table, or an index, from end to end."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

FROM_END_TO_END = (
    # Whether there is anything: it ends at the first row.
    re.compile(r"SELECT 1 FROM \w+ LIMIT 1"),
    # A rebuild that begins anew.
    re.compile(r"DELETE FROM \w+"),
    # How many uploads are in each state, for the metrics: along the index of states.
    re.compile(r"SELECT state, count\(\*\) AS uploads FROM uploads GROUP BY state"),
)
_SCAN = re.compile(r"SCAN (?!d\b|\(|CONSTANT|events USING (COVERING )?INDEX events_pending)")
"""But for a subquery, which has its own LIMIT or drive, and the index of what waits to be told."""
_PLANNED = ("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")


def long_reads(file: Path, statements: set[str]) -> list[str]:
    """Those that scan, each with its plan."""
    found = []
    with closing(sqlite3.connect(file)) as db:
        for statement in sorted(statements):
            text = " ".join(statement.split())
            if not text.startswith(_PLANNED) or any(e.fullmatch(text) for e in FROM_END_TO_END):
                continue
            plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
            if any(_SCAN.match(step) for step in plan):
                found.append(f"{text}: {plan}")
    return found
