"""python -m tests.load.scale --metadata mongodb://…|sqlite [--sizes 10000 1000000] [--rounds 10]"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path

import pymongo
from pymongo.errors import PyMongoError

from service.model.bucket import Bucket, BucketSettings, BucketState
from service.model.event import Event, EventType
from service.model.ids import DEFAULT_TENANT, BucketId, EventId, new_id
from service.settings import Metadata, Settings
from service.stores.engines import open_metadata
from service.telemetry.metrics import Metrics
from service.usecases.byte_budget import ByteBudget
from service.usecases.runtime import Runtime
from service.usecases.tasks import Tasks
from tests.fakes.blob_store import FakeBlobStore
from tests.load.scale import __doc__ as about
from tests.load.scale.content import objects
from tests.load.scale.pages import kinds, measure

AIM = 2.0
AT_ONCE = 1000
BUCKET = "scale"
SQLITE = "sqlite"
NOT_MEASURED = (
    "not measured: this is the embedded MongoDB server, which reads a range to its end whatever "
    "the page's limit; give METADATA= a real mongod"
)


def main() -> int:
    wanted = _options()
    if wanted.metadata != SQLITE:
        try:
            embedded = _is_embedded(wanted.metadata)
        except PyMongoError as exc:
            print(f"METADATA must be {SQLITE}, or name a MongoDB server: {exc}", file=sys.stderr)
            return 2
        if embedded and not wanted.even_embedded:
            print(NOT_MEASURED)
            return 0
    figures = [asyncio.run(_measured(wanted, size)) for size in wanted.sizes]
    print(table(wanted.sizes, figures))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load.scale", description=about)
    parser.add_argument(
        "--metadata", required=True, help="mongodb://…, where databases are made; or sqlite"
    )
    parser.add_argument("--data", type=Path, default=Path(".dev/scale"), help="for SQLite's files")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=10, help="walks of each kind of page")
    parser.add_argument("--keep", action="store_true", help="the databases, for another run")
    parser.add_argument("--even-embedded", action="store_true", help="figures that say nothing")
    return parser.parse_args()


def _is_embedded(url: str) -> bool:
    with pymongo.MongoClient(url, serverSelectionTimeoutMS=5000) as client:
        return "secantusVersion" in client.admin.command("buildInfo")


async def _measured(wanted: argparse.Namespace, size: int) -> dict[str, float]:
    """Kind of page -> median in seconds, in a bucket of `size` objects."""
    database = f"mediagate-scale-{size}"
    metadata = Metadata(url=_url(wanted, database), database=database, timeout_s=60)
    store = open_metadata(metadata)
    settings = Settings(metadata=metadata)
    runtime = Runtime(settings, FakeBlobStore(), store, ByteBudget(1), Tasks(), Metrics())
    async with AsyncExitStack() as at_the_end:
        if not wanted.keep:
            at_the_end.callback(_drop, wanted, database)
        at_the_end.push_async_callback(store.close)
        await store.start(rebuilding=True)
        bucket = await store.buckets.get(DEFAULT_TENANT, BUCKET) or await _fill(runtime, size)
        found: dict[str, float] = {}
        for kind in kinds(size):
            found[kind.name] = await measure(runtime, bucket, kind, wanted.rounds)
        return found


async def _fill(runtime: Runtime, size: int) -> Bucket:
    """The way of a rebuild: in bulk. The bucket is made last, so that it stands for the whole."""
    begun = time.monotonic()
    restoring = runtime.metadata.restoring
    await restoring.begin()
    at, id = await runtime.metadata.now(), BucketId(new_id())
    bucket = Bucket(id, DEFAULT_TENANT, BUCKET, BucketState.ACTIVE, at, 1, BucketSettings())
    made = objects(DEFAULT_TENANT, id, size)
    while batch := list(islice(made, AT_ONCE)):
        await restoring.add(batch)
    await restoring.add([Event(EventId(id), EventType.BUCKET_CREATED, 1, at, bucket)])
    await restoring.finish(epoch=1, position=size)
    print(f"filled {size:,} objects in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return bucket


def _url(wanted: argparse.Namespace, database: str) -> str:
    if wanted.metadata != SQLITE:
        return str(wanted.metadata)
    wanted.data.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{wanted.data.absolute() / database}.sqlite3"


def _drop(wanted: argparse.Namespace, database: str) -> None:
    if wanted.metadata == SQLITE:
        for file in wanted.data.glob(f"{database}.sqlite3*"):
            file.unlink()
        return
    with pymongo.MongoClient(wanted.metadata) as client:
        client.drop_database(database)


def table(sizes: list[int], figures: list[dict[str, float]]) -> str:
    """One row for each kind of page; `*` marks a ratio that misses the aim."""
    width = max(map(len, figures[0]))
    heads = "".join(f"{f'{size:,}':>14}" for size in sizes)
    lines = [f"{'p50 of a page, in ms':<{width}}{heads}{'ratio':>8}"]
    for name in figures[0]:
        times = [each[name] for each in figures]
        ratio = times[-1] / times[0]
        cells = "".join(f"{1000 * seconds:14.2f}" for seconds in times)
        lines.append(f"{name:<{width}}{cells}{ratio:8.2f}{' *' if ratio >= AIM else ''}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
