"""The figure of docs/performance.md, from the JSON of a run: `python -m tests.load.bench.plot`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

WAYS = {"direct": "#9aa5b1", "nginx": "#3e8e5a", "plain": "#c98b2c", "mediagate": "#2f5fb3"}
PANELS = (
    ("1 GiB, MB/s", ("upload", "download", "8 uploads", "8 downloads"), "MB/s"),
    ("1 GiB, CPU s per GiB in the middle", ("upload", "download"), "CPU s/GiB"),
    ("16 KiB, requests a second", ("16 KiB GET", "16 KiB PUT"), "requests/s"),
)


def draw(run: dict[str, Any], path: Path) -> None:
    """Bars of medians with whiskers from the least to the most, one panel for each quantity."""
    figures = run["figures"]
    figure, axes = plt.subplots(1, len(PANELS), figsize=(14, 4.2), width_ratios=(4, 2, 2))
    for axis, (title, kinds, what) in zip(axes, PANELS, strict=True):
        present = [kind for kind in kinds if kind in figures]
        for number, (way, colour) in enumerate(WAYS.items()):
            for place, kind in enumerate(present):
                found = figures[kind].get(way, {}).get(what)
                if found is None:
                    continue
                spread = [[found["median"] - found["min"]], [found["max"] - found["median"]]]
                axis.bar(
                    place + (number - 1.5) * 0.2,
                    found["median"],
                    0.19,
                    yerr=spread,
                    color=colour,
                    label=way if place == 0 else None,
                    error_kw={"elinewidth": 0.8, "capsize": 2},
                )
        axis.set_xticks(range(len(present)), present)
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=9)
    machine = run["machine"]
    figure.text(
        0.01,
        0.01,
        f"{machine['cpu']}, {machine['cores']} cores, {machine['store']}, loopback; medians of "
        f"{machine['rounds']} rounds in turns, whiskers from least to most",
        fontsize=8,
        color="#555555",
    )
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load.bench.plot", description=__doc__)
    parser.add_argument("--run", default=".dev/bench.json")
    parser.add_argument("--out", default="docs/performance.png")
    options = parser.parse_args()
    draw(json.loads(Path(options.run).read_text()), Path(options.out))


if __name__ == "__main__":
    main()
