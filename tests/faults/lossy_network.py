"""`python -m tests.faults.lossy_network FOLDER`: an upload through a bad network, in its own one.

Runs in a network namespace (`unshare --net`), where nftables drop one packet in twenty between the
client and the service, both ways, and everything for a while, three times. Prints figures as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from pathlib import Path

from aiohttp import ClientSession

from service.devstack import running_stack
from tests.e2e.installation import AUTHORIZED, install
from tests.faults.load import BUCKET, MIB
from tests.faults.resumed_upload import ResumedUpload

SIZE_BYTES = 12 * MIB
CUTS, CUT_S = 2, 2.5
LOSS_PERCENT = 5
_LOSSY = "numgen random mod 100 < {percent} drop"
_IDLE_S = 2
"""After so long without a byte the service lets go of an append; the client waits longer."""


def nft(*words: str) -> None:
    subprocess.run(["nft", *words], check=True)


def lose(port: int, percent: int) -> None:
    """Drop so many packets in a hundred from and to a port."""
    nft("flush", "chain", "inet", "bad", "in")
    for side in ("sport", "dport"):
        rule = _LOSSY.format(percent=percent) if percent < 100 else "drop"
        nft("add", "rule", "inet", "bad", "in", "tcp", side, str(port), *rule.split())


async def cut(port: int, upload: ResumedUpload) -> None:
    for number in range(1, CUTS + 1):
        while upload.sent < number * SIZE_BYTES // (CUTS + 1):
            await asyncio.sleep(0.02)
        lose(port, 100)
        await asyncio.sleep(CUT_S)
        lose(port, LOSS_PERCENT)


async def upload_through(url: str, port: int) -> dict[str, object]:
    async with (
        ClientSession(url, headers=AUTHORIZED) as http,
        http.put(BUCKET) as response,
    ):
        assert response.status == 201
    data = random.Random(3).randbytes(SIZE_BYTES)
    upload = ResumedUpload(lambda: url, data, "film", pace_bytes_s=4 * MIB, silence_s=_IDLE_S + 1)
    lose(port, LOSS_PERCENT)
    cutting = asyncio.create_task(cut(port, upload))
    await upload.run()
    cutting.cancel()
    lose(port, 0)
    return {
        "matches": await upload.matches(url),
        "turns": upload.turns,
        "sent_again_bytes": upload.sent - SIZE_BYTES,
    }


def main(folder: Path) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    nft("add", "table", "inet", "bad")
    chain = "{ type filter hook input priority 0 ; }"
    nft("add", "chain", "inet", "bad", "in", chain)
    kind = "minio" if len(sys.argv) < 3 else sys.argv[2]
    assert kind in ("minio", "seaweedfs")
    with running_stack(folder / "stack", kind, "sqlite", in_memory=True) as stack:
        installation = install(stack, folder)
        with installation.serving(HTTP__IDLE_TIMEOUT_S=_IDLE_S) as process:
            found = asyncio.run(upload_through(process.url, process.port))
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
