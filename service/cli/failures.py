"""What the command says, and exits with, when something expected goes wrong.

    0  done                      1  refused or failed
    2  wrong usage or settings   3  a server does not answer, or is not ready: try again
    130  interrupted

One line on stderr and no traceback; a traceback is a bug.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from service.devstack.errors import StackError
from service.errors import MediagateError, StoreUnavailable

FAILED, MISUSED, UNAVAILABLE, INTERRUPTED = 1, 2, 3, 130


class SettingsError(Exception):
    """The settings make no sense; the message names each setting."""


class TellingGroup(TyperGroup):
    """Turns expected errors of any command into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except (MediagateError, StackError, SettingsError, OSError) as error:
            if isinstance(error, BrokenPipeError):  # `| head`: click ends quietly
                raise
            typer.echo(f"mediagate: {_line(error)}", err=True)
            raise typer.Exit(_exit_code(error)) from error


def _line(error: Exception) -> str:
    return error.detail if isinstance(error, MediagateError) else str(error)


def _exit_code(error: Exception) -> int:
    if isinstance(error, StoreUnavailable):
        return UNAVAILABLE
    return MISUSED if isinstance(error, SettingsError) else FAILED
