"""The configuration as a table: `python tests/configuration_page.py > docs/configuration.md`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config" / "mediagate.toml"
PAGE = ROOT / "docs" / "configuration.md"

_GROUP = re.compile(r"\[(\w+)\]")
_SETTING = re.compile(r"(?P<unset># )?(?P<name>\w+) = (?P<value>.+?) +# (?P<unit>.+?); (?P<why>.+)")

_INTRO = """\
# Configuration

Every setting, its default, its unit and why one would change it. This page is made from
`config/mediagate.toml` by `python tests/configuration_page.py > docs/configuration.md`; a test
holds the file, this page and the program together.

Sources, strongest first:

1. the environment, `MEDIAGATE_<GROUP>__<FIELD>`: `MEDIAGATE_HTTP__PORT=9090` sets `http.port`.
   Lists are JSON: `MEDIAGATE_HTTP__CORS_ORIGINS='["https://app.example.org"]'`;
2. for secrets, the same name with `_FILE`: a path to a file that holds the value;
3. the TOML file: `MEDIAGATE_CONFIG`, or `config/mediagate.toml` in the working directory;
4. the defaults below.

A name that does not exist, and a value of the wrong kind, stop the start with a message.
`mediagate config` prints what is in force, secrets masked.
"""


class Setting(NamedTuple):
    """default: as the environment writes it, None where there is none."""

    group: str
    name: str
    default: str | None
    unit: str
    why: str

    @property
    def variable(self) -> str:
        return f"MEDIAGATE_{self.group}__{self.name}".upper()


def settings() -> Iterator[Setting]:
    """The lines of the file; a line inside a group that is not understood is an error."""
    group = ""
    for line in CONFIG.read_text("utf-8").splitlines():
        if match := _GROUP.fullmatch(line):
            group = match[1]
        elif group and line:
            match = _SETTING.fullmatch(line)
            if match is None:
                raise ValueError(f"{line!r} is not `name = value  # unit; why`")
            value = None if match["unset"] else match["value"].strip('"')
            yield Setting(group, match["name"], value, match["unit"], match["why"])


def page() -> str:
    lines = [_INTRO]
    group = ""
    for setting in settings():
        if setting.group != group:
            group = setting.group
            lines += [f"\n## {group}\n", "| variable | default | unit | why |", "|---|---|---|---|"]
        default = "none" if setting.default is None else f"`{setting.default}`"
        lines.append(f"| `{setting.variable}` | {default} | {setting.unit} | {setting.why} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
