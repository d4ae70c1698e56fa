"""Settings for a command: the environment, over an env file, over the TOML file, over defaults."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, SecretStr, ValidationError

from service.cli.failures import SettingsError
from service.settings import Settings

JsonDocument = Annotated[bool, typer.Option("--json", help="One JSON document.")]
EnvFile = Annotated[
    Path | None,
    typer.Option(
        "--env-file",
        help="A file of NAME=value lines, such as DATA/env; the environment wins over it.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]


def load_settings(env_file: Path | None = None, **environment: object) -> Settings:
    """environment: variables that win over everything, as MEDIAGATE_HTTP__PORT=…; None is absent.

    All of it becomes part of this process's environment, so its children see the same settings.
    Raises SettingsError with one line that names what is wrong.
    """
    if env_file is not None:
        for name, value in read_env_file(env_file):
            os.environ.setdefault(name, value)
    os.environ |= {name: str(value) for name, value in environment.items() if value is not None}
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(_in_one_line(error)) from error
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"the settings cannot be read: {error}") from error


def read_env_file(path: Path) -> Iterator[tuple[str, str]]:
    """NAME=value lines; empty ones and `#` comments are skipped, quotes around a value dropped.

    Raises SettingsError.
    """
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise SettingsError(f"{path}, line {number}: not of the form NAME=value")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        yield name.strip(), value


def _in_one_line(error: ValidationError) -> str:
    """Never the values: they may be secrets."""
    problems = [
        f"{'.'.join(str(part) for part in problem['loc']) or 'settings'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)
    ]
    return "; ".join(problems)


def as_toml(settings: Settings) -> str:
    """The whole tree, secrets masked; settings without a value as comments."""
    lines: list[str] = []
    for group_name in type(settings).model_fields:
        group: BaseModel = getattr(settings, group_name)
        lines.append(f"[{group_name}]")
        lines += [_toml_line(name, getattr(group, name)) for name in type(group).model_fields]
        lines.append("")
    return "\n".join(lines).rstrip()


def _toml_line(name: str, value: Any) -> str:
    if value is None:
        return f"# {name} is not set"
    # For strings, numbers, booleans and lists of them JSON is TOML.
    masked = str(value) if isinstance(value, SecretStr) else value
    return f"{name} = {json.dumps(masked, ensure_ascii=False)}"
