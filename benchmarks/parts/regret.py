"""Sample efficiency: normalised regret after 60 trials, twelve problems, paired seeds, against Optuna GPSampler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hpo_fast_bench.methods import OPTUNA_GP
from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.problems import PROBLEMS
from hpo_fast_bench.statistics import NOT_WORSE, normalised_regret, upper_bound

TRIALS = 60
SEEDS = 10
RANDOM_SEEDS = 20  # of random search, whose median is the yardstick
USES = {"hpo_fast": ("ours",), "hpo_fast_random": ("ours",), "optuna_gp": ("optuna",)}
QUICK = ("branin2", "func2c")


def _units(quick: bool) -> list[Unit]:
    trials, seeds, random_seeds = (12, 2, 2) if quick else (TRIALS, SEEDS, RANDOM_SEEDS)
    units = []
    for method in USES:
        for problem in QUICK if quick else PROBLEMS:
            count = random_seeds if method == "hpo_fast_random" else seeds
            arguments = {"method": method, "problem": problem, "seeds": list(range(count)), "n_trials": trials}
            function = "hpo_fast_bench.run:measure"
            # One thread a process, two processes: no time is compared here.
            units.append(Unit(f"{method}--{problem}", function, arguments, USES[method], threads=1, scratch=True))
    return units


def _final(result: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([values[max(values, key=int)] for values in result["best"].values()])


def _rows(results: Mapping[str, Any]) -> list[Row]:
    names = [name for name in PROBLEMS if f"optuna_gp--{name}" in results]
    ours, theirs, rows = [], [], []
    for name in names:
        problem = PROBLEMS[name]
        yardstick = float(np.median(_final(results[f"hpo_fast_random--{name}"])))
        pair = [
            normalised_regret(_final(results[f"{method}--{name}"]), problem.optimum, yardstick)
            for method in ("hpo_fast", "optuna_gp")
        ]
        ours.append(pair[0])
        theirs.append(pair[1])
        rows.append(_row(f"{name} ({problem.kind}, d = {problem.space.d})", pair[0][None], pair[1][None]))
    mine, other = np.array(ours), np.array(theirs)
    for kind in dict.fromkeys(PROBLEMS[name].kind for name in names):
        chosen = [PROBLEMS[name].kind == kind for name in names]
        rows.append(_row(f"class {kind}", mine[chosen], other[chosen]))
    plain = [not any(parameter.conditions for parameter in PROBLEMS[name].space.values()) for name in names]
    if 0 < sum(plain) < len(plain):
        rows.append(_row(f"the {sum(plain)} problems without conditions", mine[plain], other[plain]))
    overall = _row("all problems", mine, other)
    reached = bool(overall.cells["upper 95 %"] <= NOT_WORSE)
    rows.append(replace(overall, target=f"upper bound <= {NOT_WORSE}", reached=reached))
    return rows


def _row(figure: str, ours: Any, theirs: Any) -> Row:
    cells = {
        "ours": float(ours.mean()),
        "peer": float(theirs.mean()),
        "ours - peer": float((ours - theirs).mean()),
        "upper 95 %": upper_bound(ours - theirs),
        "ours better": f"{int(np.sum(ours < theirs))} of {ours.size}",
    }
    return Row(figure, cells)


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
