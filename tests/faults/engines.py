"""What the metadata say, read past the service: by each engine's own means."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from tests.faults.servers import Servers

UNFINISHED = ("admitting", "open", "sealing", "completing", "undoing")


class Kept(Protocol):
    async def unfinished(self, since: datetime | None = None) -> Counter[str]:
        """Unfinished uploads by state. since: only those made from then on."""

    async def blob_keys(self) -> list[str]:
        """Of all versions, the dead ones too, in order."""

    async def created(self) -> Counter[str]:
        """How often each key got a version, by the events."""

    async def end_transactions(self) -> None:
        """Those that killed processes left open."""


class InMongo:
    def __init__(self, servers: Servers, name: str) -> None:
        self._servers = servers
        self._name = name

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Any]:
        database = self._servers.database(self._name)
        try:
            yield database
        finally:
            await database.client.close()

    async def unfinished(self, since: datetime | None = None) -> Counter[str]:
        chosen: dict[str, Any] = {"state": {"$in": list(UNFINISHED)}}
        if since is not None:
            chosen["created_at"] = {"$gte": since}
        async with self.database() as database:
            found = database["uploads"].find(chosen, {"state": True})
            return Counter([upload["state"] async for upload in found])

    async def blob_keys(self) -> list[str]:
        async with self.database() as database:
            found = database["versions"].find({"kind": "object"})
            return sorted([version["blob_key"] async for version in found])

    async def created(self) -> Counter[str]:
        async with self.database() as database:
            found = database["events"].find({"type": "object.created"}, {"key": True})
            return Counter([event["key"] async for event in found])

    async def end_transactions(self) -> None:
        async with self.database() as database:
            await database.client.admin.command("killAllSessions", [])


class InSqlite:
    def __init__(self, file: Path) -> None:
        self._file = file

    async def unfinished(self, since: datetime | None = None) -> Counter[str]:
        since_ms = 0 if since is None else int(since.timestamp() * 1000)
        places = ", ".join("?" * len(UNFINISHED))
        chosen = f"SELECT state FROM uploads WHERE state IN ({places}) AND created_ms >= ?"
        return Counter([row[0] for row in await self._ask(chosen, *UNFINISHED, since_ms)])

    async def blob_keys(self) -> list[str]:
        return [
            row[0]
            for row in await self._ask(
                "SELECT blob_key FROM versions WHERE kind = 'object' ORDER BY blob_key"
            )
        ]

    async def created(self) -> Counter[str]:
        lines = [json.loads(row[0]) for row in await self._ask("SELECT line FROM events")]
        return Counter(
            [line["version"]["key"] for line in lines if line["type"] == "object.created"]
        )

    async def end_transactions(self) -> None:
        """The system took their locks with the process."""

    async def _ask(self, sql: str, *values: Any) -> list[Any]:
        def ask() -> list[Any]:
            with closing(sqlite3.connect(self._file, timeout=10)) as database:
                return database.execute(sql, values).fetchall()

        return await asyncio.to_thread(ask)
