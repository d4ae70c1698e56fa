"""The command `mediagate`.

One module per family of commands, each with a `typer` app of its own that is merged here:
`serving` (serve, sweep, health), `auditing` (audit, scrub), `backups` (backup, rebuild),
`depots` (import, export), `stacks` (dev, stack),
`administration` (init, migrate, config, openapi), `keys` (key create, ls, revoke),
`metadata` (metadata copy, backup, restore, check),
`transfers` (put, get), `objects` (ls, stat, rm), `finding` (find), `trees` (sync, cp, mv),
`history` (versions, restore), `packing` (archive, expand), `uploads` (uploads ls, rm).
Whatever is slow to import is imported inside the commands, so that `--help` and the small ones are
quick. The top layer: it may import everything.
"""

from __future__ import annotations

import typer

from service.cli import (
    administration,
    auditing,
    backups,
    depots,
    finding,
    history,
    keys,
    metadata,
    objects,
    packing,
    serving,
    stacks,
    transfers,
    trees,
    uploads,
)
from service.cli.failures import TellingGroup

app = typer.Typer(
    name="mediagate",
    help="Stream files of any size over HTTP into S3, with their metadata in SQLite or MongoDB.",
    cls=TellingGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_OPERATORS = (serving, auditing, backups, stacks, administration, depots)
_USERS = (transfers, objects, finding, trees, history, packing)
for _family in (*_OPERATORS, *_USERS):
    app.add_typer(_family.app)
app.add_typer(keys.app, name="key")
app.add_typer(metadata.app, name="metadata")
app.add_typer(uploads.app, name="uploads")


def main() -> None:
    """The entry point of the installed command."""
    app()
