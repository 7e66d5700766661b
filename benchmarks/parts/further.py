"""500 further trials from a told random history of 4,500, noisy: ours with all defaults against TPE and CMA-ES."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_fast_bench.methods import PACKAGES
from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.parts import regret_table as table
from hpo_fast_bench.scalable import LARGE

OURS = "hpo_fast"
PEERS = {"optuna_tpe": "Optuna TPE", "optuna_cmaes": "Optuna CMA-ES"}
TOLD, TRIALS, SEEDS = 4500, 500, 5
QUICK = ("ackley10_noisy",)


def _units(quick: bool) -> list[Unit]:
    if quick:
        return table.units((OURS, *PEERS), QUICK, 2, 2, 2, told=30)
    return table.units((OURS, *PEERS), list(LARGE), TRIALS, SEEDS, told=TOLD)


def _rows(results: Mapping[str, Any]) -> list[Row]:
    told = int(next(iter(results)).rsplit("--", 1)[1])
    rows = []
    for peer, name in PEERS.items():
        rows += table.rows(results, OURS, peer, list(LARGE), told=told, target=0.0, label=f"{name}, ")
    return rows


PART = Part(
    "further",
    "normalised regret after 500 further trials from 4,500 told ones, noisy, against Optuna TPE and CMA-ES",
    _units,
    _rows,
    PACKAGES["optuna_tpe"],
    "optuna_tpe",
    parallel=2,
    note="The history, random points, is the same for all, and counts among the values found; 0 is the optimum, 1 the "
    "median of 20 runs of random search with 5,000 trials. Mean over 5 paired seeds. Noise: 5 % of the function's "
    "spread. CMA-ES is told the history as source_trials, its warm start. One thread a process.",
)
