"""What `package.json` names, installed once into `.dev` and kept there until it changes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

PACKAGE = Path(__file__).with_name("package.json")
CACHE = Path(__file__).parents[3] / ".dev" / "npm"
_INSTALL = ("npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
_TIMEOUT_S = 80


class NpmFailed(Exception):
    pass


def node_modules() -> Path:
    """The folder of them. Raises NpmFailed."""
    folder = CACHE / hashlib.sha256(PACKAGE.read_bytes()).hexdigest()[:16]
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        made = Path(mkdtemp(dir=CACHE))
        try:
            _install(made)
            with suppress(OSError):  # somebody else was faster
                made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder / "node_modules"


def _install(folder: Path) -> None:
    shutil.copy(PACKAGE, folder)
    try:
        subprocess.run(
            _INSTALL, cwd=folder, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        raise NpmFailed(error.stderr) from error
    except subprocess.TimeoutExpired as error:
        raise NpmFailed(f"npm did not end within {_TIMEOUT_S} s") from error
