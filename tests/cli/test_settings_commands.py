"""The command as a user runs it: settings, first buckets, keys, sweeping, exit codes."""

from __future__ import annotations

import json
import re
import secrets
import socket
from pathlib import Path

import pytest

from service.devstack import Stack
from service.settings import Settings
from service.stores.mongo.schema import SCHEMA_VERSION
from tests.cli.commands import mediagate

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def database() -> dict[str, str]:
    """Variables that name a database nobody else uses."""
    return {
        "MEDIAGATE_METADATA__DATABASE": f"test_{secrets.token_hex(6)}",
        "MEDIAGATE_S3__BUCKET": "cli-tests",
    }


def is_one_line(text: str) -> bool:
    return text.startswith("mediagate: ") and text.count("\n") == 1


def test_config_prints_every_group_with_secrets_masked() -> None:
    done = mediagate("config", MEDIAGATE_S3__SECRET_KEY="hunter2", MEDIAGATE_HTTP__PORT="8123")
    assert done.returncode == 0
    assert "hunter2" not in done.stdout
    assert 'secret_key = "**********"' in done.stdout
    assert "port = 8123" in done.stdout
    groups = re.findall(r"^\[(\w+)\]$", done.stdout, re.M)
    assert groups == list(Settings.model_fields)


def test_config_is_toml_that_can_be_read_back(tmp_path: Path) -> None:
    first = mediagate("config").stdout
    (tmp_path / "mediagate.toml").write_text(first)
    again = mediagate("config", MEDIAGATE_CONFIG=str(tmp_path / "mediagate.toml"))
    assert again.stdout == first


def test_environment_wins_over_the_env_file_and_that_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(
        "# a comment\n\nMEDIAGATE_HTTP__PORT=8200\nexport MEDIAGATE_S3__REGION='eu-1'\n"
        "MEDIAGATE_S3__ENDPOINT=http://127.0.0.1:1/?a=b\n"
    )
    done = mediagate("config", "--env-file", file, MEDIAGATE_HTTP__PORT="8300")
    assert "port = 8300" in done.stdout
    assert 'region = "eu-1"' in done.stdout
    assert 'endpoint = "http://127.0.0.1:1/?a=b"' in done.stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [("no equals sign", "line 1: not of the form"), ("MEDIAGATE_HTTP__PORT=x", "http.port")],
)
def test_wrong_settings_are_one_line_and_exit_code_2(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "env").write_text(line + "\n")
    done = mediagate("serve", "--env-file", tmp_path / "env")
    assert done.returncode == 2
    assert is_one_line(done.stderr)
    assert said in done.stderr


def test_wrong_settings_never_show_their_values() -> None:
    done = mediagate("config", MEDIAGATE_HTTP__PORT="hunter2")
    assert done.returncode == 2
    assert "hunter2" not in done.stderr


def test_servers_that_do_not_answer_are_one_line_and_exit_code_3() -> None:
    done = mediagate(
        "init",
        MEDIAGATE_METADATA__URL="mongodb://127.0.0.1:1/?directConnection=true",
        MEDIAGATE_METADATA__TIMEOUT_S="0.5",
    )
    assert done.returncode == 3
    assert is_one_line(done.stderr)


def test_health_of_nothing_is_exit_code_3() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = mediagate("health", "--port", unused.getsockname()[1])
    assert done.returncode == 3
    assert is_one_line(done.stderr)


def test_check_tells_what_the_stores_can_do(devstack: Stack, database: dict[str, str]) -> None:
    done = mediagate("config", "--check", "--env-file", devstack.env_file, **database)
    assert done.returncode == 0, done.stderr
    assert "part checksum crc64nvme" in done.stdout
    assert "schema fits" in done.stdout


def test_init_makes_what_is_missing_and_keeps_what_is_there(
    devstack: Stack, database: dict[str, str]
) -> None:
    command = ("init", "--env-file", devstack.env_file, "--bucket", "films", "--bucket", "songs")
    assert "bucket films: made\nbucket songs: made\n" in mediagate(*command, **database).stdout
    again = mediagate(*command, **database)
    assert again.returncode == 0
    assert "bucket films: there already\nbucket songs: there already\n" in again.stdout


def test_init_refuses_a_bad_bucket_name(devstack: Stack, database: dict[str, str]) -> None:
    done = mediagate("init", "--env-file", devstack.env_file, "--bucket", "No!", **database)
    assert done.returncode == 1
    assert is_one_line(done.stderr)


def test_migrate_and_an_idle_sweep(devstack: Stack, database: dict[str, str]) -> None:
    migrated = mediagate("migrate", "--env-file", devstack.env_file, **database)
    assert migrated.stdout == f"schema {SCHEMA_VERSION}\n"
    swept = mediagate("sweep", "--once", "--env-file", devstack.env_file, **database)
    assert swept.returncode == 0
    report = json.loads(swept.stdout)
    assert set(report) >= {"aborted", "rolled_forward", "blobs_deleted", "open", "tombstones"}
    assert not any(report.values())


def test_keys_are_made_listed_and_revoked(devstack: Stack, database: dict[str, str]) -> None:
    env_file = ("--env-file", devstack.env_file)
    limited = mediagate(
        *("key", "create", *env_file, "--name", "reader", "--scope", "read", "--bucket", "films"),
        *("--prefix", "a/", "--expires-days", "1.5"),
        **database,
    )
    token = limited.stdout.strip()
    assert re.fullmatch(r"mg_\w{26}_[\w-]{43}", token)
    mediagate("key", "create", *env_file, **database)
    revoked = mediagate("key", "revoke", token, *env_file, **database)
    assert revoked.returncode == 0
    reader, everything = (
        json.loads(line)
        for line in mediagate("key", "ls", *env_file, **database).stdout.splitlines()
    )
    assert reader["name"] == "reader"
    assert (reader["scopes"], reader["buckets"], reader["prefixes"]) == (
        ["read"],
        ["films"],
        ["a/"],
    )
    assert reader["revoked_at"]
    assert reader["expires_at"] > reader["created_at"]
    assert len(everything["scopes"]) == 5
    assert everything["revoked_at"] is None
    unknown = mediagate("key", "revoke", "nothing", *env_file, **database)
    assert unknown.returncode == 1
    assert is_one_line(unknown.stderr)


def test_the_api_document_is_printed_without_a_store() -> None:
    done = mediagate("openapi", MEDIAGATE_HTTP__PUBLIC_URL="https://files.example")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": "https://files.example"}]
    assert "/v1/buckets/{bucket}/objects/{key}" in document["paths"]
