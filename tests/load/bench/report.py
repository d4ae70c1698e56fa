"""The figures of one run: a table to read, JSON to keep, ratios to promise, a plot for the page."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from tests.load.bench.meters import Figure

_RATES = ("MB/s", "requests/s")
_SHOWN = (*_RATES, "CPU s/GiB", "CPU ms", "ms", "peak RSS MiB")
_WAYS = ("direct", "nginx", "plain", "mediagate")


class Report:
    """Figures by kind of work, way and quantity; in the order in which they came."""

    def __init__(self, **machine: object) -> None:
        self.machine = {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            **machine,
        }
        self._figures: dict[str, dict[str, dict[str, Figure]]] = {}
        self.notes: list[str] = []

    def add(self, kind: str, way: str, what: str, found: Figure) -> None:
        self._figures.setdefault(kind, {}).setdefault(way, {})[what] = found

    def ratios(self) -> dict[str, dict[str, float]]:
        """Mediagate's rate to each other way's, and its CPU to nginx' and plain's, by kind."""
        found: dict[str, dict[str, float]] = {}
        for kind, ways in self._figures.items():
            ours = ways.get("mediagate")
            for way, figures in ways.items() if ours else ():
                if way == "mediagate":
                    continue
                for what in (*_RATES, "CPU s/GiB", "CPU ms", "ms"):
                    if what in figures and what in ours and figures[what].median:
                        ratio = ours[what].median / figures[what].median
                        found.setdefault(kind, {})[f"{what} / {way}"] = round(ratio, 3)
        # A PUT of unknown length has no presigned rival: nginx with a known one is the yardstick.
        unknown = self._figures.get("upload, unknown length", {}).get("mediagate")
        nginx = self._figures.get("upload", {}).get("nginx")
        if unknown and nginx:
            ratio = unknown["MB/s"].median / nginx["MB/s"].median
            found["upload, unknown length"]["MB/s / nginx"] = round(ratio, 3)
        return found

    def as_dict(self) -> dict[str, Any]:
        figures = {
            kind: {way: {q: f.as_dict() for q, f in all_.items()} for way, all_ in ways.items()}
            for kind, ways in self._figures.items()
        }
        return {
            "machine": self.machine,
            "notes": self.notes,
            "figures": figures,
            "ratios": self.ratios(),
        }

    def as_text(self) -> str:
        lines = [", ".join(f"{name}: {value}" for name, value in self.machine.items()), ""]
        for kind, ways in self._figures.items():
            lines.append(f"{kind}")
            for way, figures in ways.items():
                cells = [_cell(what, found) for what, found in figures.items()]
                lines.append(f"  {way:<22}" + "  ".join(cells))
            lines += [
                f"  mediagate's {name}: {ratio:.2f}"
                for name, ratio in self.ratios().get(kind, {}).items()
            ]
            lines.append("")
        return "\n".join([*lines, *self.notes])

    def as_markdown(self) -> str:
        """The table of docs/performance.md: medians, the noise beside them."""
        lines = [
            "| work | quantity | direct | nginx | plain | mediagate | mediagate / nginx |",
            "|---|---|---|---|---|---|---|",
        ]
        for kind, ways in self._figures.items():
            for what in _SHOWN if {*ways} & {"direct", "plain"} else ():
                cells = [_short(ways.get(way, {}).get(what)) for way in _WAYS]
                if any(cell != "–" for cell in cells):
                    ratio = self.ratios().get(kind, {}).get(f"{what} / nginx")
                    shown = "–" if ratio is None else f"{ratio:.2f}"
                    lines.append(f"| {kind} | {what} | {' | '.join(cells)} | {shown} |")
        return "\n".join(lines)

    def write(self, stem: Path) -> None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_suffix(".md").write_text(self.as_markdown() + "\n")
        stem.with_suffix(".json").write_text(json.dumps(self.as_dict(), indent=1) + "\n")
        stem.with_suffix(".txt").write_text(self.as_text() + "\n")


def _cell(what: str, found: Figure) -> str:
    low, high = min(found.values), max(found.values)
    noise = f" ({low:.4g}–{high:.4g})" if len(found.values) > 1 else ""
    return f"{found.median:.4g}{noise} {what}"


def _short(found: Figure | None) -> str:
    if found is None:
        return "–"
    low, high = min(found.values), max(found.values)
    return f"{_three(found.median)} ({_three(low)}–{_three(high)})"


def _three(value: float) -> str:
    """Three digits, but never as 1.5e+03."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
