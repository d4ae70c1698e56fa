"""REDbot, the HTTP resource checker: its range and conditional checks, and nothing bad at all."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from aiohttp import ClientSession

from tests.e2e.installation import ROOT_KEY, Process

CHECKER = Path(__file__).with_name("redbot_check.py")
PASSED = {"RANGE_CORRECT", "INM_304", "IMS_304"}
BAD = {"BAD", "WARN"}
ACCEPTED: dict[str, str] = {}
"""Notes that we can live with, and why."""


def check(url: str) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, str(CHECKER), url, ROOT_KEY],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_redbot_has_nothing_to_complain_of(
    http: ClientSession, service: Process, bucket: str
) -> None:
    path = f"{bucket}/objects/page.txt"
    text = "".join(f"line {number} of a text\n" for number in range(3000))
    async with http.put(path, data=text, headers={"Content-Type": "text/plain"}) as response:
        assert response.status == 201
    notes = await asyncio.to_thread(check, service.url + path)
    names = {note[2] for note in notes}
    complaints = [note for note in notes if note[1] in BAD and note[2] not in ACCEPTED]
    assert not complaints
    assert names >= PASSED, names
