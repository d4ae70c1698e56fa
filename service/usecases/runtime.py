"""What the composition root hands to the use cases: the stores, the budget, the settings."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from service.settings import Settings
from service.stores.breaker import Breakers
from service.stores.ports import BlobStore, MetadataStore
from service.telemetry.metrics import Metrics
from service.usecases.bucket_cache import BucketCache
from service.usecases.byte_budget import ByteBudget
from service.usecases.grace import Grace
from service.usecases.resumable.appends import Appends
from service.usecases.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Runtime:
    """job_bell: set where a job waits, so that the worker of this process looks at once."""

    settings: Settings
    blobs: BlobStore
    metadata: MetadataStore
    budget: ByteBudget
    tasks: Tasks
    metrics: Metrics
    breakers: Breakers = field(default_factory=Breakers)
    grace: Grace = field(default_factory=Grace)
    job_bell: asyncio.Event = field(default_factory=asyncio.Event)
    appends: Appends = field(default_factory=Appends)
    bucket_cache: BucketCache = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bucket_cache", BucketCache(self.metadata.buckets))
