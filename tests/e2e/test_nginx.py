"""The nginx configuration of docs/deploy.md, as it stands there, in front of the real service."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.devstack import Stack
from service.devstack.ports import choose_ports
from service.devstack.servers import find_binary
from service.settings import GIB, MIB

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
ROOT_KEY = "mg_nginx_test_root_key"
BUCKET = "behind"
OBJECTS = f"/v1/buckets/{BUCKET}/objects"
LONG = "UTF-8''" + "%C3%BC" * 2500
BIG_BYTES = GIB + 12_345

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Front:
    """The proxy, and the folder of its log."""

    port: int
    trust: ssl.SSLContext
    folder: Path

    def connect(self, timeout_s: float = 120) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=timeout_s, context=self.trust
        )

    def ask(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        key: str = ROOT_KEY,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self.connect()
        try:
            given = {"Authorization": f"Bearer {key}", **(headers or {})}
            connection.request(method, target, body=body, headers=given)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def buffered(self) -> list[str]:
        """Bodies that nginx put on its disk; it removes the names of the files at once."""
        log = (self.folder / "error.log").read_text()
        return [line for line in log.splitlines() if "buffered to a temporary file" in line]


@contextmanager
def running(
    command: list[str], log: Path, ready: Callable[[], bool], **options: object
) -> Iterator[None]:
    """A child process, from when it is ready until SIGTERM."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **options)
    try:
        deadline = time.monotonic() + 60
        while not ready():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"{command[0]} is not ready"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def configuration(folder: Path, port: int, service_port: int) -> str:
    """The page's server, with this test's names, ports and certificates, in a whole file."""
    (server,) = re.findall(r"^```nginx\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for documented, here in (
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{service_port};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/ssl/files.example.org.pem", str(folder / "certificate.pem")),
        ("/etc/ssl/files.example.org.key", str(folder / "key.pem")),
    ):
        assert server.count(documented) == 1, documented
        server = server.replace(documented, here)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/temp/{kind};\n" for kind in kinds)
    (folder / "temp").mkdir()
    return (
        f"pid {folder}/nginx.pid;\nerror_log {folder}/error.log info;\ndaemon off;\n"
        f"events {{}}\nhttp {{\naccess_log {folder}/access.log;\n{temporary}{server}}}\n"
    )


def make_certificate(folder: Path) -> None:
    subject = ["-subj", "/CN=files.example.org", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def stores(request: pytest.FixtureRequest) -> Stack:
    """MinIO where there is one: SeaweedFS hashes a GiB for many seconds."""
    return request.getfixturevalue("minio_stack" if find_binary("minio") else "devstack")


@pytest.fixture(scope="module")
def front(stores: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must provide nginx and openssl")
        pytest.skip("nginx and openssl are needed")
    folder = tmp_path_factory.mktemp("nginx")
    port, service_port = choose_ports(2)
    make_certificate(folder)
    conf = folder / "nginx.conf"
    conf.write_text(configuration(folder, port, service_port))
    settings = {
        "MEDIAGATE_AUTH__ROOT_KEY": ROOT_KEY,
        "MEDIAGATE_HTTP__PORT": str(service_port),
        "MEDIAGATE_HTTP__TRUSTED_PROXIES": '["127.0.0.1"]',
        "MEDIAGATE_S3__BUCKET": "behind-nginx",
        "MEDIAGATE_METADATA__DATABASE": "behind_nginx",
        "MEDIAGATE_LIMITS__MAX_OBJECT_BYTES": str(2 * GIB),
    }
    command = [str(Path(sys.executable).with_name("mediagate")), "serve"]
    service = running(
        command,
        folder / "service.log",
        lambda: is_ready(service_port),
        env={**os.environ, **stores.env, **settings},
    )
    nginx = running(
        ["nginx", "-p", str(folder), "-c", str(conf)], folder / "nginx.log", lambda: listens(port)
    )
    trust = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    with service, nginx:
        made = Front(port, trust, folder)
        answer, _ = made.ask("PUT", f"/v1/buckets/{BUCKET}")
        assert answer.status == 201
        yield made


class Big:
    """BIG_BYTES reproducible bytes, and the digest of what was sent of them."""

    def __init__(self) -> None:
        self._block = os.urandom(MIB)
        self.digest = hashlib.sha256()

    def slice(self, start: int, end: int) -> bytes:
        whole = b"".join(self.blocks(start // MIB, -(-end // MIB)))
        return whole[start % MIB :][: end - start]

    def blocks(self, first: int, last: int) -> Iterator[bytes]:
        for number in range(first, last):
            block = number.to_bytes(8, "big") + self._block[8:]
            yield block[: BIG_BYTES - number * MIB]

    def __iter__(self) -> Iterator[bytes]:
        for block in self.blocks(0, -(-BIG_BYTES // MIB)):
            self.digest.update(block)
            yield block


@pytest.fixture(scope="module")
def big(front: Front) -> Big:
    """Uploaded through nginx by chunked encoding."""
    big = Big()
    # http.client sends an iterator without a Content-Length in chunks.
    answer, body = front.ask("PUT", f"{OBJECTS}/big.bin", body=iter(big))
    assert answer.status == 201, body
    assert json.loads(body)["size_bytes"] == BIG_BYTES
    return big


def test_gibibyte_of_unknown_length_goes_through_and_never_lies_on_the_proxys_disk(
    front: Front, big: Big
) -> None:
    connection = front.connect()
    connection.request("GET", f"{OBJECTS}/big.bin", headers={"Authorization": f"Bearer {ROOT_KEY}"})
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.length == BIG_BYTES
    got = hashlib.sha256()
    while block := answer.read(MIB):
        got.update(block)
    connection.close()
    assert got.hexdigest() == big.digest.hexdigest()
    assert front.buffered() == []


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1048570-1048590", 1_048_570, 1_048_591),
        ("bytes=734003200-738197503", 700 * MIB, 704 * MIB),
        ("bytes=-5", BIG_BYTES - 5, BIG_BYTES),
        (f"bytes={BIG_BYTES - 3}-", BIG_BYTES - 3, BIG_BYTES),
        (f"bytes={BIG_BYTES - 3}-{BIG_BYTES * 2}", BIG_BYTES - 3, BIG_BYTES),
    ],
)
def test_range_through_the_proxy_is_exact(
    front: Front, big: Big, asked: str, start: int, end: int
) -> None:
    answer, body = front.ask("GET", f"{OBJECTS}/big.bin", {"Range": asked})
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{BIG_BYTES}"
    assert body == big.slice(start, end)


def test_range_past_the_end_is_416_from_the_service(front: Front, big: Big) -> None:
    answer, body = front.ask("GET", f"{OBJECTS}/big.bin", {"Range": f"bytes={BIG_BYTES}-"})
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{BIG_BYTES}"
    assert json.loads(body)["code"] == "range_not_satisfiable"


def test_keys_and_metadata_names_pass_unchanged(front: Front) -> None:
    target = f"{OBJECTS}/a%2Fb%20c/%C3%BC%25.txt"
    headers = {"X-Meta-my_name": "one", "X-Meta-a.b": "two", "X-Meta-long": LONG}
    answer, body = front.ask("PUT", target, headers, b"some text")
    assert answer.status == 201, body
    made = json.loads(body)
    assert made["key"] == "a/b c/ü%.txt"
    assert made["user_metadata"] == {"my_name": "one", "a.b": "two", "long": "ü" * 2500}
    assert answer.headers["Location"].startswith(f"https://127.0.0.1:{front.port}/v1/")
    answer, body = front.ask("GET", target)
    assert (answer.status, body) == (200, b"some text")
    assert answer.headers["ETag"] == f'"{made["version"]}"'


@pytest.mark.parametrize("length", ["declared", "unknown"])
def test_early_refusal_reaches_a_client_that_is_still_sending(front: Front, length: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(256):
            sent += MIB
            yield bytes(MIB)

    headers = {"Content-Length": str(256 * MIB)} if length == "declared" else {}
    connection = front.connect()
    try:
        given = {"Authorization": "Bearer nobody", **headers}
        with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            connection.request("PUT", f"{OBJECTS}/refused", body=endless(), headers=given)
        answer = connection.getresponse()
        assert answer.status == 401
        assert json.loads(answer.read())["code"] == "unauthenticated"
    finally:
        connection.close()


def test_upload_cut_in_the_middle_leaves_nothing_visible(front: Front) -> None:
    connection = front.connect()
    connection.putrequest("PUT", f"{OBJECTS}/cut")
    connection.putheader("Authorization", f"Bearer {ROOT_KEY}")
    connection.putheader("Content-Length", str(64 * MIB))
    connection.endheaders()
    for _ in range(20):
        connection.send(bytes(MIB))
    connection.close()
    time.sleep(1)
    answer, _ = front.ask("HEAD", f"{OBJECTS}/cut")
    assert answer.status == 404


def test_cut_download_is_an_error_for_the_client_not_a_short_file(front: Front, big: Big) -> None:
    """The client leaves; the next one on the same kept upstream connections is served right."""
    for _ in range(3):
        connection = front.connect()
        given = {"Authorization": f"Bearer {ROOT_KEY}"}
        connection.request("GET", f"{OBJECTS}/big.bin", headers=given)
        assert connection.getresponse().read(MIB) == big.slice(0, MIB)
        connection.close()
    answer, body = front.ask("GET", f"{OBJECTS}/big.bin", {"Range": "bytes=0-99"})
    assert (answer.status, body) == (206, big.slice(0, 100))


def test_object_over_the_limit_is_refused_by_the_service_not_by_nginx(front: Front) -> None:
    connection = front.connect()
    try:
        connection.putrequest("PUT", f"{OBJECTS}/huge")
        connection.putheader("Authorization", f"Bearer {ROOT_KEY}")
        connection.putheader("Content-Length", str(3 * GIB))
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 413
        assert json.loads(answer.read())["code"] == "too_large"
    finally:
        connection.close()
