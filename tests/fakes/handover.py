"""A move that hands the blob over, in memory: prepared first, applied at its commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from service.errors import BucketDeleting, BucketNotFound, Conflict
from service.model.bucket import Bucket, BucketState
from service.model.ids import BucketId, EventId, VersionId
from service.model.preconditions import Preconditions
from service.model.upload import MovedFrom
from service.model.version import HandedOver, Version
from tests.fakes.clock import Clock
from tests.fakes.deletions import FakeDeletion
from tests.fakes.replica import Place, Replica, Tables, current_of, current_seq

Put = Callable[[Tables, Version, str, Bucket], Version]


@dataclass
class FakeHandOver:
    """put: makes a version the latest of its key, as a commit does."""

    clock: Clock
    replica: Replica
    source: MovedFrom
    place: Place
    new_version: VersionId
    preconditions: Preconditions
    put: Put
    _replaced: bool = field(default=False, init=False)

    def prepare(self) -> Callable[[], HandedOver | None]:
        """The commit raises Conflict where another transaction changed either key or bucket."""
        tables = self.replica.writable()
        old = self._old(tables)
        if old is None:
            return lambda: None
        bucket = self._bucket(tables, self.place[1])
        before = current_of(tables, self.place), current_seq(tables, self.place)
        names = before[0] if isinstance(before[0], Version) else None
        self.preconditions.check_write(names)
        source = (self.place[0], old.bucket_id, old.key)
        deletion = FakeDeletion(self.clock, self.replica, source, Preconditions(), hands_over=True)
        remove = deletion.prepare()

        def apply() -> HandedOver:
            tables = self.replica.writable()
            now_there = current_of(tables, self.place), current_seq(tables, self.place)
            if now_there != before or tables.buckets.get(bucket.id) != bucket:
                raise Conflict("another transaction came first")
            last_seq = max(before[1], old.last_seq)
            deletion.after_seq = max(last_seq + 1, self.clock.milliseconds())
            remove()
            moved = replace(
                old,
                id=self.new_version,
                bucket_id=bucket.id,
                key=self.place[2],
                seq=deletion.after_seq,
                changed_seq=0,
                created_at=self.clock.now,
                modified_at=self.clock.now,
                revision=1,
            )
            self._replaced = names is not None
            return HandedOver(self.put(tables, moved, moved.id, bucket), self._replaced)

        return apply

    def landed(self, tables: Tables) -> HandedOver | None:
        published = {name: kept.event for name, kept in tables.published.items()}
        event = (tables.pending | published).get(EventId(self.new_version))
        if event is None:
            return None
        assert isinstance(event.of, Version)
        return HandedOver(event.of, self._replaced)

    def _old(self, tables: Tables) -> Version | None:
        if self._bucket(tables, self.source.bucket_id).settings.versioning:
            return None
        found = current_of(tables, (self.place[0], self.source.bucket_id, self.source.key))
        return found if isinstance(found, Version) and found.id == self.source.version else None

    def _bucket(self, tables: Tables, bucket_id: BucketId) -> Bucket:
        bucket = tables.buckets.get(bucket_id)
        if bucket is None or bucket.tenant != self.place[0]:
            raise BucketNotFound
        if bucket.state is BucketState.DELETING:
            raise BucketDeleting
        return bucket
