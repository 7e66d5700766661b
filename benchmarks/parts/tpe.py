"""TPE against Optuna's: tell + ask at 10,000 told trials, and regret after 300."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from hpo_fast_bench.histories import history
from hpo_fast_bench.methods import METHODS, PACKAGES
from hpo_fast_bench.parts import Part, Row, Unit, size_of
from hpo_fast_bench.parts import regret_table as table
from hpo_fast_bench.parts.blocks import BLOCK_SECONDS, RUNS, cells, figures
from hpo_fast_bench.parts.loops import Loop, against_peer
from hpo_fast_bench.problems import PROBLEMS

LEAST_RATIO = 20
SIZES = [(10_000, 5), (10_000, 20)]
STEPS, PEER_STEPS = 2000, 200
TRIALS, SEEDS = 300, 10
QUICK = ("branin2", "func2c")


def measure(n: int, d: int, runs: int, trials: int, peer_trials: int, threads: int) -> dict[str, Any]:
    """Both told the same history; neither has a refit, so that every trial costs about the same."""

    def ours(run: int) -> dict[str, Any]:
        past = history(n, d, run)
        loop = Loop(METHODS["tpe"](past.space, run, threads), past, run)
        return {**figures(loop.timed(trials, BLOCK_SECONDS, 1)), "best": loop.best}

    return against_peer(runs, ours, "optuna_tpe", (n, d), peer_trials, BLOCK_SECONDS, threads)


def _units(quick: bool) -> list[Unit]:
    units = []
    for n, d in [(50, 2)] if quick else SIZES:
        arguments = {"n": n, "d": d, "runs": 1 if quick else RUNS}
        arguments |= {"trials": 3 if quick else STEPS, "peer_trials": 3 if quick else PEER_STEPS}
        units.append(Unit(f"n{n}-d{d}", "hpo_fast_bench.parts.tpe:measure", arguments, ("ours", "optuna_tpe")))
    methods = ("tpe", "optuna_tpe")
    if quick:
        return units + table.units(methods, QUICK, 12, 2, 2)
    return units + table.units(methods, list(PROBLEMS), TRIALS, SEEDS)


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows = []
    for key, result in results.items():
        if "--" in key:
            continue
        n, d = size_of(key)
        shown = cells(result)
        shown["peer threads"] = result["peer"][0]["threads"]
        for side in ("ours", "peer"):
            shown[f"best f {side}"] = median(b["best"] for b in result[side])
        reached = bool(result["ratio"] >= LEAST_RATIO)
        rows.append(Row(f"TPE, tell + ask, n = {n}, d = {d}", shown, f">= {LEAST_RATIO} x", reached))
    regrets = table.rows(results, "tpe", "optuna_tpe", list(PROBLEMS), label="regret, ")
    plain = table.plain_row(results, "tpe", "optuna_tpe", label="regret, ")
    return [*rows, *regrets[:-1], *plain, *regrets[-1:]]


PART = Part(
    "tpe",
    "TPE against Optuna TPESampler: time on a long history, and normalised regret after 300 trials",
    _units,
    _rows,
    PACKAGES["optuna_tpe"],
    "optuna_tpe",
    note="Time: 2,000 trials of ours and 200 of the peer's after the first ask, three times in turn. Regret: mean over "
    "10 paired seeds on the twelve problems of the part `regret`; 0 is the optimum, 1 the median of 20 runs of random "
    "search. One thread a process for the regret. Of the conditional problem Optuna's TPE draws each parameter by "
    "itself; so the bound is also printed without that problem.",
)
