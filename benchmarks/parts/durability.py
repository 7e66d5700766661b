"""What a tell costs on file, with durability "power" and "process", and in memory."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.parts.blocks import RUNS, figures
from hpo_fast_bench.parts.noop import space

from hpo_fast import Study


def measure(trials: int, runs: int, threads: int) -> dict[str, Any]:
    """The three in turn, each `runs` times; random search, so that nearly all of an ask is the journal's."""
    out: dict[str, list[dict[str, Any]]] = {"memory": [], "process": [], "power": []}
    # In the working directory: a temporary folder in memory would know no disk.
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        for run in range(runs):
            for name in out:
                path = None if name == "memory" else str(Path(folder) / f"{name}{run}.db")
                durability = "power" if path is None else name
                study = Study(space(), "random", seed=run, storage=path, durability=durability)
                study.tell(study.ask(), 0.0)
                asks, tells = [], []
                for number in range(trials):
                    began = time.perf_counter()
                    trial = study.ask()
                    asked = time.perf_counter()
                    study.tell(trial, float(number))
                    tells.append(time.perf_counter() - asked)
                    asks.append(asked - began)
                out[name].append({"ask": figures(asks), "tell": figures(tells)})
    return out


def _units(quick: bool) -> list[Unit]:
    arguments = {"trials": 5 if quick else 500, "runs": 1 if quick else RUNS}
    return [Unit("journal", "hpo_fast_bench.parts.durability:measure", arguments)]


def _rows(results: Mapping[str, Any]) -> list[Row]:
    from statistics import median

    rows = []
    for name, blocks in results["journal"].items():
        cells = {}
        for verb in ("ask", "tell"):
            cells[f"{verb} mean us"] = 1e6 * median(b[verb]["mean"] for b in blocks)
            cells[f"{verb} max us"] = 1e6 * max(b[verb]["max"] for b in blocks)
        rows.append(Row(name if name == "memory" else f'durability="{name}"', cells))
    return rows


PART = Part(
    "durability",
    "ask and tell with the journal in memory and on file",
    _units,
    _rows,
    note="RandomSearch, 5 parameters, one process; the file lies in the working directory.",
)
