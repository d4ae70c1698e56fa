"""aiotus, as it comes: chunks of 4 MiB, each a request."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiotus

from tests.e2e.tus_clients.job import Job, read_job


async def upload(job: Job) -> str:
    config = aiotus.RetryConfiguration(
        retry_attempts=job.retries, max_retry_period_seconds=job.retry_delay_s
    )
    metadata = {name: value.encode() for name, value in job.metadata.items()}
    with Path(job.file).open("rb") as file:
        location = await aiotus.upload(
            job.endpoint, file, metadata, config=config, headers=job.headers
        )
    assert location is not None, "aiotus gave up"
    return str(location)


if __name__ == "__main__":
    print(asyncio.run(upload(read_job())))
