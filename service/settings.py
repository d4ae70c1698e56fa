"""Every setting of the service, as one frozen tree.

Sources, strongest first: `MEDIAGATE_<GROUP>__<FIELD>`, the same with `_FILE` for secrets (a path to
a file that holds the value), the TOML file (`MEDIAGATE_CONFIG`, default `config/mediagate.toml`
where it exists), the defaults here. Units stand in the names; `config/mediagate.toml` says why.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
MAX_PARTS = 10_000
MIN_PART_BYTES = 5 * MIB


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Http(_Group):
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=256)
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    keepalive_timeout_s: float = Field(75, gt=0)
    header_timeout_s: float = Field(15, gt=0)
    idle_timeout_s: float = Field(60, gt=0)
    max_download_s: float = Field(24 * 3600, gt=0)
    splice: bool = True
    shutdown_grace_s: float = Field(10, ge=0)


class S3(_Group):
    endpoint: str = "http://127.0.0.1:9000"
    # Without a path: the store checks the signature against the path that reaches it.
    public_endpoint: str | None = Field(None, pattern=r"^https?://[^/?#@\s]+/?$")
    region: str = "us-east-1"
    bucket: str = "mediagate"
    access_key: str = "minioadmin"
    secret_key: SecretStr = SecretStr("minioadmin")
    part_checksum: Literal["auto", "crc64nvme", "crc32c", "md5"] = "auto"
    connect_timeout_s: float = Field(5, gt=0)
    request_timeout_s: float = Field(30, gt=0)
    max_connections: int = Field(128, ge=1)
    max_downloads: int = Field(2_000, ge=1)
    presign_ttl_s: int = Field(300, ge=1, le=7 * 24 * 3600)
    multipart_ttl_s: float = Field(24 * 3600, gt=0)


class Metadata(_Group):
    url: SecretStr = SecretStr("mongodb://127.0.0.1:27017/?replicaSet=rs0")
    database: str = "mediagate"
    timeout_s: float = Field(10, gt=0)
    commit_timeout_s: float = Field(20, gt=0)


class Uploads(_Group):
    lease_s: float = Field(60, gt=0)
    ttl_s: float = Field(7 * 24 * 3600, gt=0)
    idempotency_ttl_s: float = Field(24 * 3600, gt=0)
    tombstone_s: float = Field(25 * 60, ge=0)
    part_bytes: int = Field(8 * MIB, ge=MIN_PART_BYTES)
    large_part_bytes: int = Field(32 * MIB, ge=MIN_PART_BYTES)
    parts_in_flight: int = Field(3, ge=1, le=16)
    copy_part_bytes: int = Field(64 * MIB, ge=MIN_PART_BYTES, le=5 * GIB)


class Sweep(_Group):
    enabled: bool = True
    interval_s: float = Field(30, gt=0)
    grace_s: float = Field(25 * 3600, ge=0)
    batch: int = Field(500, ge=1)


class Audit(_Group):
    enabled: bool = True
    interval_s: float = Field(6 * 3600, gt=0)
    grace_s: float = Field(3600, ge=0)
    batch: int = Field(1000, ge=1)
    quarantine_s: float = Field(7 * 24 * 3600, ge=0)
    fix_strays: bool = False


class Scrub(_Group):
    enabled: bool = True
    interval_s: float = Field(7 * 24 * 3600, gt=0)
    rate_bytes_s: int = Field(8 * MIB, ge=1)


class Journal(_Group):
    enabled: bool = True
    interval_s: float = Field(5, gt=0, le=5)
    batch: int = Field(500, ge=1, le=10_000)
    compact_interval_s: float = Field(300, gt=0)
    retention_s: float = Field(24 * 3600, ge=3600)


class Limits(_Group):
    byte_budget_bytes: int = Field(256 * MIB, ge=16 * MIB)
    max_object_bytes: int = Field(5 * TIB, ge=1)
    max_form_files: int = Field(100, ge=1)
    max_form_field_bytes: int = Field(64 * KIB, ge=1)
    max_archive_entries: int = Field(10_000, ge=1)
    max_archive_bytes: int = Field(100 * GIB, ge=1)
    max_archive_ratio: int = Field(100, ge=1)
    max_atomic_entries: int = Field(1_000, ge=1)
    max_header_bytes: int = Field(16 * KIB, ge=1024)
    max_metadata_bytes: int = Field(16 * KIB, ge=0)
    max_tags: int = Field(50, ge=0)
    max_connections: int = Field(10_000, ge=1)
    min_rate_bytes_s: int = Field(64 * KIB, ge=0)


class Auth(_Group):
    root_key: SecretStr | None = None
    cache_s: float = Field(1, ge=0, le=1)


class Telemetry(_Group):
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "pretty"] = "auto"


class _TomlSource(PydanticBaseSettingsSource):
    """The TOML file; a path named on purpose must exist, the default one may be absent."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        named = os.environ.get("MEDIAGATE_CONFIG")
        path = Path(named or "config/mediagate.toml")
        if not named and not path.is_file():
            return {}
        with path.open("rb") as file:
            return tomllib.load(file)


SECRETS = (
    ("s3", "access_key"),
    ("s3", "secret_key"),
    ("metadata", "url"),
    ("auth", "root_key"),
)
"""Settings that may also be read from a file, by `…_FILE`."""


class _EnvSource(EnvSettingsSource):
    """The environment without the `…_FILE` names, which would look like unknown settings."""

    def __call__(self) -> dict[str, Any]:
        found = super().__call__()
        for group, name in SECRETS:
            if isinstance(found.get(group), dict):
                found[group].pop(f"{name}_file", None)
        return found


class _SecretFileSource(PydanticBaseSettingsSource):
    """`MEDIAGATE_S3__SECRET_KEY_FILE=/run/secrets/s3` sets `s3.secret_key` to what it holds."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for group, name in SECRETS:
            path = os.environ.get(f"MEDIAGATE_{group}__{name}_FILE".upper())
            if path:
                found.setdefault(group, {})[name] = Path(path).read_text().strip()
        return found


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="MEDIAGATE_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    http: Http = Http()
    s3: S3 = S3()
    metadata: Metadata = Metadata()
    uploads: Uploads = Uploads()
    sweep: Sweep = Sweep()
    audit: Audit = Audit()
    scrub: Scrub = Scrub()
    journal: Journal = Journal()
    limits: Limits = Limits()
    auth: Auth = Auth()
    telemetry: Telemetry = Telemetry()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (
            init_settings,
            _EnvSource(settings_cls),
            _SecretFileSource(settings_cls),
            _TomlSource(settings_cls),
        )

    @model_validator(mode="after")
    def _deadlines_fit(self) -> Settings:
        """A blob that is still being downloaded must not be deleted under its reader."""
        if self.sweep.grace_s <= self.http.max_download_s:
            raise ValueError("http.max_download_s must be shorter than sweep.grace_s")
        if self.s3.public_endpoint and self.sweep.grace_s <= self.s3.presign_ttl_s:
            raise ValueError("s3.presign_ttl_s must be shorter than sweep.grace_s")
        return self
