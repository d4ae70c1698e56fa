"""A store behind TLS: the certificates that aiobotocore believes, and no socket to lend."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from blob_fixtures import OpenStore
from blobs import put, read, some_chunks
from s3_servers import S3Server

from service.errors import StoreUnavailable
from service.settings import MIB
from service.stores.blob_port import Detachable
from service.stores.s3 import open_blob_store

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 by nobody, with its key beside it."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=store"
        " -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        ["openssl", *command.split(), "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "cert.pem"


@pytest.fixture
async def tls_endpoint(s3_server: S3Server, certificate: Path) -> AsyncIterator[str]:
    """Ends TLS in front of the store."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    store, links = urlsplit(s3_server.endpoint), set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        links.add(asyncio.current_task())
        up_reader, up_writer = await asyncio.open_connection(store.hostname, store.port)
        try:
            with suppress(ConnectionError, ssl.SSLError):
                await asyncio.gather(pass_on(reader, up_writer), pass_on(up_reader, writer))
        finally:
            for end in (writer, up_writer):
                end.transport.abort()
                await asyncio.sleep(0)

    server = await asyncio.start_server(link, "127.0.0.1", 0, ssl=context)
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for task in links:
        task.cancel()
    await asyncio.gather(*links, return_exceptions=True)


async def test_a_certificate_of_the_configured_bundle_is_believed_and_the_body_iterated(
    s3_server: S3Server,
    open_store: OpenStore,
    tls_endpoint: str,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    store = await open_store(s3_server.settings(endpoint=tls_endpoint))
    chunks = some_chunks(2 * MIB)
    key = await put(store, chunks)
    async with store.read(key, 1, 2 * MIB) as body:
        assert isinstance(body, Detachable)
        assert body.detach() is None
        assert b"".join([chunk async for chunk in body]) == b"".join(chunks)[1:]


async def test_a_certificate_by_nobody_is_refused(
    s3_server: S3Server, open_store: OpenStore, tls_endpoint: str
) -> None:
    key = await put(await open_store(s3_server.settings()), some_chunks(10))
    store = await open_blob_store(s3_server.settings(endpoint=tls_endpoint))
    try:
        with pytest.raises(StoreUnavailable):
            await read(store, key, 0, 10)
    finally:
        await store.close()
