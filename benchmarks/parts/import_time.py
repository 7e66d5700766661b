"""The time of `import hpo_fast` against that of NumPy with scipy.linalg."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.parts.blocks import alternate, cells

MOST_RATIO = 1.3
CODE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(modules: str) -> float:
    """The time of an import in a fresh interpreter, whose own start does not count."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE.format(modules)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def measure(runs: int, threads: int) -> dict[str, Any]:
    """Alternately; the first of each only fills the file cache."""

    def timed(modules: str) -> dict[str, Any]:
        value = seconds(modules)
        return {"mean": value, "max": value, "count": 1}

    seconds("hpo_fast")
    seconds("numpy, scipy.linalg")
    return alternate(runs, lambda run: timed("hpo_fast"), lambda run: timed("numpy, scipy.linalg"))


def _units(quick: bool) -> list[Unit]:
    return [Unit("import", "hpo_fast_bench.parts.import_time:measure", {"runs": 1 if quick else 15})]


def _rows(results: Mapping[str, Any]) -> list[Row]:
    result = results["import"]
    shown = cells(result)
    shown["ratio"] = ratio = 1 / result["ratio"]  # ours over theirs: a limit, not a speed
    return [Row("import hpo_fast", shown, f"<= {MOST_RATIO} x", ratio <= MOST_RATIO)]


PART = Part(
    "import_time",
    "import hpo_fast against import numpy, scipy.linalg",
    _units,
    _rows,
    note="The ratio is ours over theirs, median of 15 pairs in fresh interpreters.",
)
