"""What the faults did, as Markdown and JSON at MEDIAGATE_TEST_FAULTS_REPORT (`make faults`)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

BARS = {
    "F1": "kill -9 of the service under load: nothing acknowledged lost, nothing leaked",
    "F2": "kill -9 of S3 and of MongoDB: nothing acknowledged lost, recovered within 10 s",
    "F3": "SIGSTOP of S3 or MongoDB: bounded 503s, new requests shed, readiness flips within 5 s",
    "F4": "disk full: 507, old data readable, heals by itself",
    "F6": "30% SlowDown: no corruption, at most twice the requests",
    "F7": "answers lost after Complete and commit: no loss, no duplicate",
    "F8": "MongoDB failover again and again: nothing acknowledged lost",
    "F9": "SIGTERM: uploads finish or are undone within 10 s, no 201 lost",
}


class Report:
    """Figures by bar; each test adds its own."""

    def __init__(self) -> None:
        self._figures: dict[str, dict[str, Any]] = {}

    def add(self, bar: str, **figures: Any) -> None:
        self._figures.setdefault(bar, {}).update(figures)

    def write(self) -> None:
        stem = os.environ.get("MEDIAGATE_TEST_FAULTS_REPORT")
        if not stem or not self._figures:
            return
        path = Path(stem)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").write_text(json.dumps(self._figures, indent=1) + "\n")
        path.with_suffix(".md").write_text(self._markdown())

    def _markdown(self) -> str:
        lines = ["# Faults", "", "Real processes on one machine; made by `make faults`.", ""]
        for bar in sorted(self._figures):
            name = bar.split(" ")[0]
            lines += [f"## {bar}", "", BARS.get(name, ""), "", "| figure | value |", "|---|---|"]
            lines += [f"| {key} | {_cell(value)} |" for key, value in self._figures[bar].items()]
            lines.append("")
        return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count}" for key, count in sorted(value.items())) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
