"""import, export: objects from and to S3 buckets and folders, past HTTP. For operators: they have
the settings of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.configuration import EnvFile, load_settings
from service.cli.remote import SCHEME, Json
from service.cli.reports import DEFAULT_PARALLEL, DryRun, Parallel, report_to_terminal

if TYPE_CHECKING:
    from service.client.sync import Report
    from service.settings import Settings
    from service.stores.depot_port import Depot
    from service.usecases.runtime import Runtime

app = typer.Typer()
S3_SCHEME = "s3://"
Endpoint = Annotated[
    str | None,
    typer.Option(
        help="Another S3 store than the service's; its keys as AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY or a profile.",
        show_default=False,
    ),
]
Tenant = Annotated[str, typer.Option(help="Whose bucket this is.")]


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(metavar="s3://BUCKET[/PREFIX]|FOLDER")],
    bucket: Annotated[str, typer.Argument(metavar="BUCKET[/PREFIX]", show_default=False)],
    endpoint: Endpoint = None,
    move: Annotated[
        bool, typer.Option("--move", help="Remove from the source what was stored.")
    ] = False,
    tenant: Tenant = "default",
    parallel: Parallel = DEFAULT_PARALLEL,
    dry_run: DryRun = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Store what lies under a prefix of an S3 bucket, or in a folder, as objects.

    What is there already with the same bytes is passed over, so a run that was stopped is gone on
    with by the next. Where the source is an export, its manifest gives the metadata back.
    """
    settings = load_settings(env_file)
    name, prefix = _bucket_of(bucket)

    async def work(runtime: Runtime, depot: Depot, report: Report) -> None:
        from service.model.ids import TenantId
        from service.usecases.import_objects import ImportRequest, import_objects

        request = ImportRequest(TenantId(tenant), name, prefix, move, parallel, dry_run)
        await import_objects(runtime, request, depot, report)

    _run(settings, source, endpoint, work, as_json=as_json)


@app.command()
def export(
    bucket: Annotated[str, typer.Argument(metavar="BUCKET[/PREFIX]", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="FOLDER|s3://BUCKET[/PREFIX]")],
    endpoint: Endpoint = None,
    tenant: Tenant = "default",
    parallel: Parallel = DEFAULT_PARALLEL,
    dry_run: DryRun = False,
    env_file: EnvFile = None,
    as_json: Json = False,
) -> None:
    """Write the objects of a bucket under their names into a folder or an S3 bucket.

    Their metadata goes into mediagate-manifest.jsonl beside them, at the end of the run. What is
    there already with the same digest is passed over.
    """
    settings = load_settings(env_file)
    name, prefix = _bucket_of(bucket)

    async def work(runtime: Runtime, depot: Depot, report: Report) -> None:
        from service.model.ids import TenantId
        from service.usecases.export_objects import ExportRequest, export_objects

        request = ExportRequest(TenantId(tenant), name, prefix, parallel, dry_run)
        await export_objects(runtime, request, depot, report)

    _run(settings, target, endpoint, work, as_json=as_json)


def _bucket_of(text: str) -> tuple[str, str]:
    """`mg://` may stand before it; a prefix is a folder."""
    bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
    return bucket, prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def _run(
    settings: Settings,
    place: str,
    endpoint: str | None,
    work: Callable[[Runtime, Depot, Report], Awaitable[None]],
    *,
    as_json: bool,
) -> None:
    from service.telemetry.logging import configure_logging

    configure_logging(settings.telemetry)
    found = _s3_place(place)
    if found:
        refuse_our_own(settings, *found)
    with report_to_terminal(as_json=as_json, sums=True) as report:

        async def run() -> None:
            from service.app import open_runtime
            from service.stores.depot_folder import FolderDepot
            from service.stores.s3.depot import open_s3_depot

            async with AsyncExitStack() as stack:
                runtime = await stack.enter_async_context(open_runtime(settings))
                depot: Depot = FolderDepot(Path(place), report.failed)
                if found:
                    opened = open_s3_depot(settings.s3, *found, endpoint=endpoint)
                    depot = await stack.enter_async_context(opened)
                await work(runtime, depot, report)

        asyncio.run(run())


def _s3_place(place: str) -> tuple[str, str] | None:
    """Bucket and prefix; None for a folder."""
    if not place.startswith(S3_SCHEME):
        return None
    return _bucket_of(place.removeprefix(S3_SCHEME))


def refuse_our_own(settings: Settings, bucket: str, prefix: str) -> None:
    """Blobs and journal are nobody's objects. An endpoint of another spelling may be ours too, so
    the name of the bucket is enough. Raises Invalid."""
    from service.errors import Invalid
    from service.stores.blob_layout import JOURNAL_PREFIX, PREFIX, PROBE_PREFIX

    if bucket != settings.s3.bucket:
        return
    for ours in (f"{PREFIX}/", f"{JOURNAL_PREFIX}/", f"{PROBE_PREFIX}/"):
        if prefix.startswith(ours) or ours.startswith(prefix):
            raise Invalid(f"{S3_SCHEME}{bucket}/{prefix} is where the service keeps its own data")
