"""Sample efficiency: normalised regret after 60 trials, twelve problems, paired seeds, against Optuna GPSampler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hpo_fast_bench.methods import OPTUNA_GP
from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.parts import regret_table as table
from hpo_fast_bench.problems import PROBLEMS

TRIALS = 60
SEEDS = 10
METHODS = ("hpo_fast", "optuna_gp")
QUICK = ("branin2", "func2c")


def _units(quick: bool) -> list[Unit]:
    if quick:
        return table.units(METHODS, QUICK, 12, 2, 2)
    return table.units(METHODS, list(PROBLEMS), TRIALS, SEEDS)


def _rows(results: Mapping[str, Any]) -> list[Row]:
    names = [name for name in PROBLEMS if f"optuna_gp--{name}" in results]
    mine, other = (np.array([table.regret(results, method, name) for name in names]) for method in METHODS)
    *rows, overall = table.rows(results, *METHODS, list(PROBLEMS))
    for kind in dict.fromkeys(PROBLEMS[name].kind for name in names):
        chosen = [PROBLEMS[name].kind == kind for name in names]
        rows.append(table.row(f"class {kind}", mine[chosen], other[chosen]))
    return [*rows, *table.plain_row(results, *METHODS), overall]


PART = Part(
    "regret",
    "normalised regret after 60 trials against Optuna GPSampler",
    _units,
    _rows,
    OPTUNA_GP,
    "optuna",
    parallel=2,
    note="Mean over the paired seeds; 0 is the optimum, 1 the median of 20 runs of random search. The bound comes from "
    "a bootstrap over problems and, in each, seeds; in the line of one problem, over its seeds. One thread a process. "
    "The conditional problem is a composite of our own, of public functions. On it Optuna's GPSampler models only the "
    "intersection search space, the parameters that all trials have, here the choice of the function alone, and draws "
    "the others at random; so the bound is also printed without that problem.",
)
