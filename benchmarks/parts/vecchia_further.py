"""300 further trials from told histories: the approximate surrogate against the exact one, paired seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.parts import regret_table as table
from hpo_fast_bench.parts.further import SEEDS

METHODS = ("hpo_fast_vecchia", "hpo_fast_exact")
PROBLEMS = ("ackley10", "levy20", "rastrigin5_noisy", "ellipsoid12_noisy")
TOLD = (2000, 4700)
TRIALS = 300


def _units(quick: bool) -> list[Unit]:
    if quick:
        return table.units(METHODS, PROBLEMS[:1], 2, 2, 2, told=30)
    return [unit for told in TOLD for unit in table.units(METHODS, PROBLEMS, TRIALS, SEEDS, told=told)]


def _rows(results: Mapping[str, Any]) -> list[Row]:
    sizes = sorted({int(key.rsplit("--", 1)[1]) for key in results})
    rows = []
    for told in sizes:
        rows += table.rows(results, *METHODS, PROBLEMS, told=told, label=f"{told} told, ")
    return rows


PART = Part(
    "vecchia_further",
    'normalised regret after 300 further trials: surrogate="vecchia" (ours) against "exact" (peer)',
    _units,
    _rows,
    parallel=2,
    note="The history, random points, is the same for both, and counts among the values found; 0 is the optimum, 1 the "
    "median of 20 runs of random search with as many trials in all. Mean over 5 paired seeds. One thread a process.",
)
