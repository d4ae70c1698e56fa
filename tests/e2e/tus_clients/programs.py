"""The clients by name, what each needs, and how one is run."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.tus_clients.job import Job
from tests.e2e.tus_clients.npm_packages import NpmFailed, node_modules

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[2]


@dataclass(frozen=True)
class Program:
    """modules: of Python; commands: any of each group will do. npm: whether it needs packages."""

    command: tuple[str, ...]
    modules: tuple[str, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    npm: bool = False

    def missing(self) -> str | None:
        """What is not there and cannot be had; installs what npm has."""
        for module in self.modules:
            if importlib.util.find_spec(module) is None:
                return f"the Python module {module}"
        for names in self.commands:
            if not any(map(shutil.which, names)):
                return names[0]
        if self.npm:
            try:
                node_modules()
            except NpmFailed as error:
                return f"what npm should have installed: {error}"
        return None


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.e2e.tus_clients.{module}")


_NPM = (("node",), ("npm",))
PROGRAMS = {
    "tuspy": Program(_python("tuspy_upload"), modules=("tusclient",)),
    "aiotus": Program(_python("aiotus_upload"), modules=("aiotus",)),
    "tus-js-client": Program(("node", str(_HERE / "tus_js_upload.cjs")), commands=_NPM, npm=True),
    "uppy": Program(
        _python("uppy_upload"),
        modules=("playwright",),
        commands=(*_NPM, ("chromium", "chromium-browser")),
        npm=True,
    ),
}


async def run_program(program: Program, job: Job, *, timeout_s: float) -> str:
    """The URL of the upload."""
    environment = dict(os.environ)
    if program.npm:
        environment["NODE_PATH"] = str(node_modules())
    process = await asyncio.create_subprocess_exec(
        *program.command,
        cwd=_ROOT,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, errors = await process.communicate(job.to_json().encode())
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return output.decode().strip()
