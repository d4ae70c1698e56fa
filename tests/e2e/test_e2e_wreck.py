"""The end of what `test_e2e_crashes` killed; last by name, so that much has fallen due."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.installation import LEASE_S
from tests.e2e.wreck import Wreck, assert_store_has_exactly


@pytest.mark.timeout(240)
async def test_what_was_cut_by_the_kills_is_swept(wreck: Wreck) -> None:
    installation = wreck.installation
    installation.end_transactions()
    settled = 0
    # What one pass begins and cannot end has a lease again. The second look of the tombstones is
    # for what the store had in hand when the service died, and finishes after the first.
    for _ in range(8):
        report = await asyncio.to_thread(installation.sweep, UPLOADS__TOMBSTONE_S=3)
        settled += report["aborted"] + report["rolled_forward"]
        if report["open"] == report["tombstones"] == 0:
            break
        await asyncio.sleep(LEASE_S)
    assert (report["open"], report["tombstones"], report["failed"]) == (0, 0, 0)
    assert settled > 0
    visible = await wreck.visible()
    assert visible >= set(wreck.acknowledged)
    await assert_store_has_exactly(installation, len(visible))
