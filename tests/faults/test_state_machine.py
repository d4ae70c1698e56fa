"""Any sequence of requests, faults, sweeps and time against a plain dict.

After a lost answer a key may hold either of two things, until it settles; whatever is read or
listed must be one of them. At the end everything settles and the whole of invariants.py is checked.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from service.errors import ObjectNotFound
from service.model.ids import DEFAULT_TENANT, VersionId
from service.model.preconditions import EntityTag, EntityTags, Preconditions
from service.model.version import Version
from service.usecases.get_object import find_version, read_version
from tests.faults.history import Outcome
from tests.faults.invariants import check, check_reads
from tests.faults.process import Fault, Mode, Process
from tests.faults.recovery import clean, settle
from tests.faults.stories import CREATE_ONLY
from tests.faults.world import BUCKET, GRACE_S, LEASE_S, PART_BYTES, TOMBSTONE_S, World

T = TypeVar("T")
KEYS = st.sampled_from(["a", "a/b", "ä"])
SIZES = st.sampled_from([1, PART_BYTES, 3 * PART_BYTES, 7 * PART_BYTES])
FAULTS = st.none() | st.builds(
    Fault, st.sampled_from(list(Mode)), st.integers(min_value=1, max_value=14)
)
WAITS = st.sampled_from([1, LEASE_S + 1, TOMBSTONE_S + 1, GRACE_S + 1])


class Objects(RuleBasedStateMachine):
    """possible: for each key what it may hold now; None is nothing. ever: what it may have held."""

    etags: Bundle[str] = Bundle("etags")

    @initialize(complete_again=st.booleans(), keeps_versions=st.booleans())
    def open(self, complete_again: bool, keeps_versions: bool) -> None:
        self.world = World(complete_again=complete_again)
        self.possible: dict[str, set[bytes | None]] = {}
        self.ever: dict[str, set[bytes | None]] = {}
        self.do(self.world.begin())
        if keeps_versions:
            self.do(self.world.keep_versions())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        answers: list[T] = []

        async def story() -> None:
            answers.append(await work)

        self.world.run(story())
        return answers[0]

    @rule(target=etags, key=KEYS, size=SIZES, declared=st.booleans(), fault=FAULTS)
    def put(self, key: str, size: int, declared: bool, fault: Fault | None) -> str:
        return self.asked(self.do(self.world.put(key, size, declared=declared, fault=fault)))

    @rule(target=etags, key=KEYS, fault=FAULTS)
    def create(self, key: str, fault: Fault | None) -> str:
        return self.asked(self.do(self.world.put(key, preconditions=CREATE_ONLY, fault=fault)))

    @rule(target=etags, key=KEYS, etag=etags, fault=FAULTS)
    def put_if_match(self, key: str, etag: str, fault: Fault | None) -> str:
        only = Preconditions(if_match=EntityTags((EntityTag(etag),)))
        return self.asked(self.do(self.world.put(key, preconditions=only, fault=fault)))

    @rule(key=KEYS, fault=FAULTS)
    def delete(self, key: str, fault: Fault | None) -> None:
        self.asked(self.do(self.world.delete(key, fault=fault)))

    @rule(key=KEYS, etag=etags, fault=FAULTS)
    def delete_version(self, key: str, etag: str, fault: Fault | None) -> None:
        """Which one the name shows then is held against all changes at the end."""
        process = self.do(self.world.delete(key, version=VersionId(etag), fault=fault))
        assert process.operation is not None
        if process.operation.outcome is not Outcome.REFUSED:
            self.possible[key] = self.possible.get(key, {None}) | self.ever.get(key, set()) | {None}

    @rule(fault=FAULTS)
    def sweep(self, fault: Fault | None) -> None:
        self.do(self.world.sweep(fault=fault))

    @rule(seconds=WAITS)
    def wait(self, seconds: int) -> None:
        """Nothing is on its way for longer than the tombstones wait."""
        if seconds > LEASE_S + 1:
            self.do(self.world.deliver_late())
        self.world.pass_time(seconds)

    @rule()
    def arrive(self) -> None:
        self.do(self.world.deliver_late())

    @rule()
    def list_all(self) -> None:
        listed = self.do(self._listed())
        assert listed == sorted(listed, key=str.encode)
        for key, contents in self.possible.items():
            assert key in listed or None in contents, f"{key!r} is not listed"

    @invariant()
    def reads_are_possible(self) -> None:
        for key, contents in getattr(self, "possible", {}).items():
            found = self.do(self._read(key))
            assert found in contents, f"{key!r} reads {found!r}, not one of {contents}"

    @invariant()
    def nothing_was_violated(self) -> None:
        assert not getattr(self, "world", None) or not self.world.violations, self.world.violations

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            for step in (settle, clean, check_reads):
                self.do(step(self.world))
            check(self.world)
            assert not self.world.violations, self.world.violations
        finally:
            self.world.close()

    def asked(self, process: Process) -> str:
        """Learn from the answer what the key may hold; returns an entity tag."""
        operation = process.operation
        assert operation is not None
        before = self.possible.get(operation.key, {None})
        after = operation.content or None
        if operation.outcome is not Outcome.REFUSED:
            self.ever.setdefault(operation.key, set()).add(after)
        if operation.outcome is Outcome.ACKNOWLEDGED:
            self.possible[operation.key] = {after}
        elif operation.outcome is Outcome.UNKNOWN:
            self.possible[operation.key] = before | {after}
        return operation.version.etag if isinstance(operation.version, Version) else "none"

    async def _read(self, key: str) -> bytes | None:
        reader = Process(self.world)
        try:
            _, version = await find_version(reader.runtime, DEFAULT_TENANT, BUCKET, key)
        except ObjectNotFound:
            return None
        async with read_version(reader.runtime, version, 0, version.size_bytes) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def _listed(self) -> list[str]:
        bucket = await self.world.metadata.buckets.get(DEFAULT_TENANT, BUCKET)
        assert bucket is not None
        found = await self.world.metadata.versions.scan(
            DEFAULT_TENANT, bucket.id, prefix="", start="", inclusive=True, limit=100
        )
        return [version.key for version in found]


Objects.TestCase.settings = settings(
    max_examples=80,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestObjects = pytest.mark.timeout(60)(Objects.TestCase)
