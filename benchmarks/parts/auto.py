"""tell + ask with all defaults at 10,000 told trials, against Optuna's TPE on the same history."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from hpo_fast_bench.child import warm_blas
from hpo_fast_bench.methods import PACKAGES
from hpo_fast_bench.parts import Part, Row, Unit, size_of
from hpo_fast_bench.parts.acquisition import (
    OF_MANY,
    SEARCHES_OF_MANY,
    SMALL,
    Effort,
    grade_some,
    longer,
    quality,
    quality_row,
    ratios,
)
from hpo_fast_bench.parts.blocks import BLOCK_SECONDS, RUNS, cells
from hpo_fast_bench.parts.loops import against_peer, interval, our_block, our_loop, refits_within

LEAST_RATIO = 1.0
SIZES = [(10_000, 5), (10_000, 20)]
PEER_TRIALS = 200


def measure(
    n: int, d: int, runs: int, trials: int, peer_trials: int, sample: int, efforts: Mapping[str, Effort], threads: int
) -> dict[str, Any]:
    """Ours over a whole refit interval; then some of its asks are graded, by two models."""
    warm_blas()
    graded: dict[str, list[Any]] = {kind: [] for kind in efforts}

    def ours(run: int) -> dict[str, Any]:
        loop = our_loop(n, d, run, threads)
        out = our_block(loop, trials)
        for kind, count in (("vecchia", sample), ("exact", 1)):
            graded[kind] += grade_some(loop, trials, count, run * 100_000 + n, efforts[kind], threads, kind)
        return out

    result = against_peer(runs, ours, "optuna_tpe", (n, d), peer_trials, BLOCK_SECONDS, threads)
    return {**result, "graded": graded}


def _units(quick: bool) -> list[Unit]:
    units = []
    for n, d in [(70, 2)] if quick else SIZES:
        arguments = {"n": n, "d": d, "runs": 1 if quick else RUNS, "trials": interval(n + 1)}
        arguments |= {"peer_trials": 3 if quick else PEER_TRIALS, "sample": 1 if quick else 5}
        arguments["efforts"] = {"vecchia": SMALL, "exact": SMALL} if quick else {"vecchia": OF_MANY, "exact": longer(4)}
        units.append(Unit(f"n{n}-d{d}", "hpo_fast_bench.parts.auto:measure", arguments, ("ours", "optuna_tpe")))
    return units


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows = []
    everything: list[float] = []
    for key, result in results.items():
        n, d = size_of(key)
        shown = cells(result)
        shown["refits"] = min(b["refits"] for b in result["ours"])
        shown["that moved theta"] = min(b["moved"] for b in result["ours"])
        shown["peer threads"] = result["peer"][0]["threads"]
        shown["EI, exact model"] = quality(ratios(result["graded"]["exact"]))["median"]
        everything += ratios(result["graded"]["vecchia"])
        for side in ("ours", "peer"):
            shown[f"best f {side}"] = median(b["best"] for b in result[side])
        reached = bool(result["ratio"] >= LEAST_RATIO and shown["refits"] >= refits_within(n, interval(n + 1)))
        rows.append(Row(f"tell + ask, defaults, n = {n}, d = {d}", shown, f">= {LEAST_RATIO:g} x", reached))
    return [*rows, quality_row("all", everything)]


PART = Part(
    "auto",
    "tell + ask with all defaults against Optuna TPESampler",
    _units,
    _rows,
    PACKAGES["optuna_tpe"],
    "optuna_tpe",
    note="Ours: every trial of one refit interval, all of its refits' work inside the clock; one that leaves "
    "theta makes the local model anew as well. EI: of the asked point "
    f"under the model that asked it, relative to the best of two long searches, {SEARCHES_OF_MANY}; and, of one "
    "trial a run, the same under the exact Gaussian process with the same theta, the searches 4 times as long as "
    "ours. best f: the least noise-free value that the timed trials found, median of the runs.",
)
