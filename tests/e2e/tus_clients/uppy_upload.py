"""Uppy in Chromium: a page from one origin, uploads to another."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from tests.chromium import FLAGS
from tests.e2e.tus_clients.job import Job, read_job

SCRIPT = Path(__file__).with_name("uppy_page.js")
PAGE = "<!doctype html><title>upload</title><input type=file><script src=page.js></script>"


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served_page() -> Iterator[str]:
    """Its URL."""
    with TemporaryDirectory() as folder:
        esbuild = Path(os.environ["NODE_PATH"]) / ".bin" / "esbuild"
        script = Path(folder, "page.js")
        subprocess.run(
            [esbuild, SCRIPT, "--bundle", f"--outfile={script}", "--log-level=warning"], check=True
        )
        Path(folder, "index.html").write_text(PAGE)
        handler = partial(_Silent, directory=folder)
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/"
            server.shutdown()


def upload(job: Job) -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with served_page() as url, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page()
        page.goto(url)
        page.set_input_files("input", job.file)
        found: str = page.evaluate("job => uploadFile(job)", asdict(job))
        browser.close()
    return found


if __name__ == "__main__":
    print(upload(read_job()))
