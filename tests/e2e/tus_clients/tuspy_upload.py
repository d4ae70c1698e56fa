"""tuspy, in chunks: it holds each of them in memory."""

from __future__ import annotations

from tusclient.client import TusClient

from tests.e2e.tus_clients.job import read_job

CHUNK_BYTES = 100_000_000


def main() -> None:
    job = read_job()
    uploader = TusClient(job.endpoint, headers=dict(job.headers)).uploader(
        job.file,
        chunk_size=CHUNK_BYTES,
        metadata=dict(job.metadata),
        retries=job.retries,
        retry_delay=job.retry_delay_s,
    )
    uploader.upload()
    print(uploader.url)


if __name__ == "__main__":
    main()
