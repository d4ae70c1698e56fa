"""audit, scrub: hold metadata and store against each other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.configuration import EnvFile, load_settings
from service.cli.failures import FAILED
from service.cli.loops import run_until_stopped

if TYPE_CHECKING:
    from service.model.audit import Finding
    from service.settings import Settings
    from service.usecases.audit import AuditReport
    from service.usecases.scrub import ScrubReport

app = typer.Typer()

Once = Annotated[
    bool, typer.Option("--once", help="One cycle, its report on stdout; else for ever.")
]


class Fix(StrEnum):
    STRAYS = "strays"


@app.command()
def audit(
    env_file: EnvFile = None,
    once: Once = False,
    fix: Annotated[
        Fix | None,
        typer.Option(help="Delete strays that have been in quarantine for audit.quarantine_s."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line: each finding, then the report.")
    ] = False,
) -> None:
    """Compare all versions with all blobs and tell what differs; exit 1 where anything does."""
    settings = _settings(env_file)
    if fix is not None:
        audit_settings = settings.audit.model_copy(update={"fix_strays": True})
        settings = settings.model_copy(update={"audit": audit_settings})
    if not once:
        from service.workers.auditor import run_auditor

        asyncio.run(run_until_stopped(settings, run_auditor))
        return
    report = asyncio.run(_audit_once(settings, _tell_json if as_json else _tell))
    typer.echo(json.dumps(report.as_dict()))
    if any(report.drift().values()) or report.failed:
        raise typer.Exit(FAILED)


@app.command()
def scrub(
    env_file: EnvFile = None,
    once: Once = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="With --once: not from where the last one stopped.")
    ] = False,
) -> None:
    """Read all blobs back and check their digests; exit 1 where one is damaged or missing."""
    settings = _settings(env_file)
    if not once:
        from service.workers.scrubber import run_scrubber

        asyncio.run(run_until_stopped(settings, run_scrubber))
        return
    report = asyncio.run(_scrub_once(settings, from_start))
    typer.echo(json.dumps(report.as_dict()))
    if report.damaged or report.missing:
        raise typer.Exit(FAILED)


def _settings(env_file: EnvFile) -> Settings:
    settings = load_settings(env_file)
    from service.telemetry.logging import configure_logging

    configure_logging(settings.telemetry)
    return settings


def _facts(finding: Finding) -> dict[str, object]:
    claim = finding.claim
    facts: dict[str, object] = {"kind": finding.kind.value, "blob_key": finding.blob_key}
    if finding.multipart_id is not None:
        facts["multipart_id"] = finding.multipart_id
    if claim is not None:
        facts |= {"tenant": claim.tenant, "bucket_id": claim.bucket_id, "key": claim.key}
        facts |= {"version": claim.version}
    return facts


def _tell_json(finding: Finding) -> None:
    typer.echo(json.dumps(_facts(finding)))


def _tell(finding: Finding) -> None:
    kind, *rest = _facts(finding).items()
    named = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in rest)
    typer.echo(f"{kind[1]} {named}")


async def _audit_once(settings: Settings, tell: Callable[[Finding], None]) -> AuditReport:
    from service.app import open_runtime
    from service.usecases.audit import audit

    async with open_runtime(settings) as runtime:
        return await audit(runtime, fix_strays=settings.audit.fix_strays, tell=tell)


async def _scrub_once(settings: Settings, from_start: bool) -> ScrubReport:
    from service.app import open_runtime
    from service.usecases.scrub import scrub

    async with open_runtime(settings) as runtime:
        return await scrub(runtime, from_start=from_start)
