"""Sample efficiency as units and rows: methods on problems with paired seeds, against random search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from hpo_fast_bench.parts import Row, Unit
from hpo_fast_bench.problems import PROBLEMS
from hpo_fast_bench.scalable import TASKS
from hpo_fast_bench.statistics import NOT_WORSE, normalised_regret, upper_bound

Array = npt.NDArray[np.float64]
RANDOM = "hpo_fast_random"  # its median over the seeds is the yardstick
RANDOM_SEEDS = 20
# Whose code a method's result depends on.
USES = {
    RANDOM: ("ours",),
    "hpo_fast": ("ours",),
    "hpo_fast_exact": ("ours",),
    "hpo_fast_vecchia": ("ours",),
    "tpe": ("ours",),
    "optuna_gp": ("optuna",),
    "optuna_tpe": ("optuna_tpe",),
    "optuna_cmaes": ("optuna_cmaes",),
}


def units(
    methods: Iterable[str],
    problems: Sequence[str],
    trials: int,
    seeds: int,
    random_seeds: int = RANDOM_SEEDS,
    told: int = 0,
) -> list[Unit]:
    """A unit for each method and problem, random search among them; one thread each, for no time is compared here."""
    out = []
    for method in (*methods, RANDOM):
        for problem in problems:
            count = random_seeds if method == RANDOM else seeds
            arguments = {"method": method, "problem": problem, "seeds": list(range(count)), "n_trials": trials}
            uses = set(USES[method])
            if told:
                arguments["told"] = told
                uses.add("ours")  # whose space draws the history
            key = f"{method}--{problem}" + (f"--{told}" if told else "")
            out.append(Unit(key, "hpo_fast_bench.run:measure", arguments, tuple(sorted(uses)), threads=1, scratch=True))
    return out


def regret(results: Mapping[str, Any], method: str, problem: str, told: int = 0) -> Array:
    """Normalised regret (seeds,) of a method at the end of its runs."""
    suffix = f"--{told}" if told else ""
    yardstick = float(np.median(_final(results[f"{RANDOM}--{problem}{suffix}"])))
    return normalised_regret(_final(results[f"{method}--{problem}{suffix}"]), TASKS[problem].optimum, yardstick)


def _final(result: Mapping[str, Any]) -> Array:
    return np.array([values[max(values, key=int)] for values in result["best"].values()])


def row(figure: str, ours: Array, theirs: Array, target: float | None = None) -> Row:
    """A line for regrets (problems, seeds); with a target for the bound on ours - theirs."""
    bound = upper_bound(ours - theirs)
    cells = {
        "ours": float(ours.mean()),
        "peer": float(theirs.mean()),
        "ours - peer": float((ours - theirs).mean()),
        "upper 95 %": bound,
        "ours better": f"{int(np.sum(ours < theirs))} of {ours.size}",
    }
    if target is None:
        return Row(figure, cells)
    if target == 0.0:
        return Row(figure, cells, "upper bound < 0", bool(bound < 0.0))
    return Row(figure, cells, f"upper bound <= {target}", bool(bound <= target))


def plain_row(results: Mapping[str, Any], ours: str, theirs: str, label: str = "") -> list[Row]:
    """A line for the problems without conditions, where there are others as well."""
    names = [name for name in PROBLEMS if all(f"{method}--{name}" in results for method in (ours, theirs, RANDOM))]
    plain = [name for name in names if not any(p.conditions for p in PROBLEMS[name].space.values())]
    if not 0 < len(plain) < len(names):
        return []
    sides = [np.array([regret(results, method, name) for name in plain]) for method in (ours, theirs)]
    return [row(f"{label}the {len(plain)} problems without conditions", *sides)]


def rows(
    results: Mapping[str, Any],
    ours: str,
    theirs: str,
    problems: Sequence[str],
    told: int = 0,
    target: float = NOT_WORSE,
    label: str = "",
) -> list[Row]:
    """A line for each problem, and one with the target for all of them; none where a side was not run.

    The target is missed where a problem that was asked for is not there.
    """
    suffix = f"--{told}" if told else ""
    asked = len(problems)
    problems = [name for name in problems if all(f"{m}--{name}{suffix}" in results for m in (ours, theirs, RANDOM))]
    if not problems:
        return []
    sides = [np.array([regret(results, method, name, told) for name in problems]) for method in (ours, theirs)]
    out = []
    for i, name in enumerate(problems):
        problem = TASKS[name]
        figure = f"{label}{name} ({problem.kind}, d = {problem.space.d})"
        out.append(row(figure, sides[0][i : i + 1], sides[1][i : i + 1]))
    if len(problems) < asked:
        some = row(f"{label}{len(problems)} of {asked} problems", *sides, target=target)
        return [*out, replace(some, reached=False)]
    return [*out, row(f"{label}all problems", *sides, target=target)]
