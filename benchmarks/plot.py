"""The growth plots: time and memory of tell + ask against the number of told trials, log-log, from stored results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo_fast_bench.methods import need
from hpo_fast_bench.parts.growth import CURVES, DIMENSIONS

# file -> label of the axis, key of a point, its unit
PICTURES = {
    "growth-time.svg": ("seconds a tell + ask", "mean", 1.0),
    "growth-memory.svg": ("peak megabytes above the imports", "bytes", 1e-6),
}


def draw(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes the pictures of a measured part `growth`; the same results give the same files.

    Returns:
        Where they are.

    Raises:
        ValueError: nothing was measured.
        MissingPeer: matplotlib is not installed.
    """
    need("matplotlib")
    if document["status"] != "measured":
        raise ValueError(f"growth must be measured, but it is {document['status']}: {document['reason']}; run it first")
    import matplotlib

    settings = {"svg.hashsalt": "growth", "font.size": 9.0}
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(settings):
        return [_picture(document, folder / name, *what) for name, what in PICTURES.items()]


def _picture(document: Mapping[str, Any], path: Path, label: str, key: str, scale: float) -> Path:
    from matplotlib.figure import Figure

    curves = {name: kept["result"]["points"] for name, kept in document["units"].items()}
    dimensions = [d for d in DIMENSIONS if any(name.endswith(f"-d{d}") for name in curves)]
    figure = Figure(figsize=(4.6 * len(dimensions), 4.6), layout="constrained")
    axes = figure.subplots(1, len(dimensions), sharey=True, squeeze=False)[0]
    for axis, d in zip(axes, dimensions, strict=True):
        for number, (method, (name, owner)) in enumerate(CURVES.items()):
            points = [p for p in curves.get(f"{method}-d{d}", ()) if p[key] > 0]
            if points:
                style = {"linestyle": "-", "linewidth": 2.0} if owner == "ours" else {"linestyle": "--"}
                x, y = [p["n"] for p in points], [scale * p[key] for p in points]
                axis.plot(x, y, marker="o", markersize=3.0, color=f"C{number}", label=name, **style)
        axis.set(xscale="log", yscale="log", xlabel="trials told", title=f"{d} parameters")
        axis.grid(which="major", alpha=0.3)
    axes[0].set_ylabel(label)
    labels = axes[0].get_legend_handles_labels()
    figure.legend(*labels, loc="outside lower center", ncols=2 * len(dimensions) + 1, fontsize=7.5)  # covers no curve
    figure.savefig(path, metadata={"Date": None})
    return path


def stored(folder: Path) -> dict[str, Any]:
    """The results of the part in an --out of before.

    Raises:
        ValueError: there are none.
    """
    path = folder / "growth.json"
    if not path.exists():
        raise ValueError(f"{folder} must hold growth.json, but it does not; leave --stored out to measure")
    found: dict[str, Any] = json.loads(path.read_text())
    return found
