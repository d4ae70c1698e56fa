"""Whether what looks like drift is drift: each suspect is looked at by its exact key.

Lists of two stores are never of the same moment, and a list can be wrong (a cache, another order).
So lists only make suspects. A finding takes three point reads in the one order that lets nothing
in flight slip through:

    a blob or multipart without a version   the ledger, then the versions, then the store:
                                            what is committed meanwhile has its version by then,
                                            what is deleted meanwhile is gone from the store
    a version without its blob              the store, then the versions: a version that is
                                            replaced meanwhile is dead, and no longer misses it
"""

from __future__ import annotations

from collections.abc import Collection

from service.model.audit import Claim, Drift, Finding, Stray
from service.model.ids import BlobKey
from service.usecases.patience import a_few_at_once
from service.usecases.runtime import Runtime


async def judge_claims(runtime: Runtime, suspects: Collection[Claim]) -> list[Finding]:
    """Which of these versions miss their blob, or have one of another size or digest.

    The digest is judged where the store keeps one; reading the bytes is the scrubber's.
    """

    async def look(claim: Claim) -> Drift | None:
        facts = await runtime.blobs.head(claim.blob_key)
        if facts is None:
            return Drift.MISSING_BLOB
        same = facts.size_bytes == claim.size_bytes
        if same and facts.crc64nvme in (None, claim.crc64nvme):
            return None
        return Drift.SIZE_OR_DIGEST_DIFFERS

    kinds = await a_few_at_once(look, suspects)
    found = [
        Finding(kind, claim.blob_key, claim)
        for claim, kind in zip(suspects, kinds, strict=True)
        if kind is not None
    ]
    now = await live_claims(runtime, {finding.blob_key for finding in found})
    return [finding for finding in found if finding.claim and finding.claim.version in now]


async def live_claims(runtime: Runtime, keys: Collection[BlobKey]) -> set[str]:
    """Ids of the versions that need these blobs now."""
    claims = await runtime.metadata.audits.claims_on(keys)
    return {claim.version for claim in claims if not claim.dead}


async def judge_strays(runtime: Runtime, suspects: Collection[Stray]) -> list[Finding]:
    """Which of these blobs and multiparts are there although nobody knows them."""
    audits = runtime.metadata.audits
    owed = await audits.owed({stray.blob_key for stray in suspects})
    strange = [stray for stray in suspects if stray.blob_key not in owed]
    blobs = {stray.blob_key for stray in strange if stray.multipart_id is None}
    claimed = {claim.blob_key for claim in await audits.claims_on(blobs)}
    # A version's blob is complete: a multipart beside it is nobody's.
    strange = [s for s in strange if s.multipart_id or s.blob_key not in claimed]

    async def is_there(stray: Stray) -> bool:
        if stray.multipart_id is None:
            return await runtime.blobs.head(stray.blob_key) is not None
        return stray.multipart_id in await runtime.blobs.list_multiparts(stray.blob_key)

    there = await a_few_at_once(is_there, strange)
    return [_finding(stray) for stray, is_left in zip(strange, there, strict=True) if is_left]


def _finding(stray: Stray) -> Finding:
    if stray.multipart_id is None:
        return Finding(Drift.STRAY_BLOB, stray.blob_key)
    kind = Drift.OPEN_MULTIPART_WITHOUT_ENTRY
    return Finding(kind, stray.blob_key, multipart_id=stray.multipart_id)
