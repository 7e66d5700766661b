"""tell + ask on a long history: ours over whole refit intervals, the Gaussian processes of peers at their best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hpo_fast_bench.child import warm_blas
from hpo_fast_bench.histories import history
from hpo_fast_bench.methods import METHODS, OPTUNA_GP, STARTUP
from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.parts.blocks import (
    BLOCK_SECONDS,
    RUNS,
    alternate,
    cells,
    fastest,
    figures,
    peer_threads,
    seconds_by_threads,
)
from hpo_fast_bench.parts.loops import Loop, interval, our_loop

LEAST_RATIO = {(100, 5): 40, (100, 20): 40, (300, 5): 75, (300, 20): 75, (1000, 5): 150, (1000, 20): 150}
OTHERS = {"botorch": "BoTorch", "bayes_opt": "bayesian-optimization"}  # beside it, without a target


def measure(
    n: int, d: int, runs: int, trials: int, threads: int, seconds: float, method: str = "optuna_gp"
) -> dict[str, Any]:
    """One (n, d) of the table against one peer."""
    warm_blas()

    def ours(run: int) -> dict[str, Any]:
        _, loop = our_loop(n, d, run, threads)
        times = loop.timed(trials, seconds, trials)
        return {**figures(times), "refits": loop.refits, "best": loop.best}

    def begin(run: int, count: int) -> Loop:
        past = history(n, d, run)
        return Loop(METHODS[method](past.space, run, count), past, run)

    if n < STARTUP:
        raise ValueError(f"n must be at least {STARTUP}, so that a peer fits a model, but got {n}")
    seen = seconds_by_threads(lambda count: begin(runs, count).timed_once, threads)
    count = fastest(seen)

    def peer(run: int) -> dict[str, Any]:
        with peer_threads(count):
            loop = begin(run, count)
            return {**figures(loop.timed(trials, seconds, 1)), "best": loop.best, "threads": count}

    return {**alternate(runs, ours, peer), "peer seconds by threads": seen}


def _units(quick: bool) -> list[Unit]:
    units = []
    for method in ("optuna_gp", *OTHERS):
        for n, d in [(20, 2)] if quick else sorted(LEAST_RATIO):
            arguments = {"n": n, "d": d, "runs": 1 if quick else RUNS, "trials": interval(n), "seconds": BLOCK_SECONDS}
            key, peer = f"n{n}-d{d}", "optuna"
            if method in OTHERS:
                key, peer = f"{key}-{method}", method
                arguments["method"] = method
            units.append(Unit(key, "hpo_fast_bench.parts.tell_ask:measure", arguments, ("ours", peer), timeout=3600))
    return units


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows = []
    for key, result in results.items():
        size, _, other = key.partition("-d")
        dimension, _, method = other.partition("-")
        n, d = int(size[1:]), int(dimension)
        least = None if method else LEAST_RATIO.get((n, d))
        blocks = result["ours"]
        shown = cells(result)
        shown["refits"] = min(b["refits"] for b in blocks)
        shown["peer threads"] = result["peer"][0]["threads"]
        shown["trials ours, peer"] = f"{blocks[0]['count']}, {min(b['count'] for b in result['peer'])}"
        for side in ("ours", "peer"):
            shown[f"best f {side}"] = float(np.median([b["best"] for b in result[side]]))
        rows.append(
            Row(
                f"tell + ask, n = {n}, d = {d}, {OTHERS.get(method, 'Optuna GPSampler')}",
                shown,
                f">= {least} x" if least else "",
                # A mean without its refit would flatter.
                result["ratio"] >= least and shown["refits"] >= 1 if least else None,
            )
        )
    return rows


PART = Part(
    "tell_ask",
    "tell + ask against Optuna GPSampler, BoTorch and bayesian-optimization",
    _units,
    _rows,
    OPTUNA_GP,
    "optuna",
    note="Ours: every trial of one refit interval, its refit inside the clock. A block of a peer ends after 60 s, with "
    "the trial in which they are over; BoTorch and bayesian-optimization have no target. best f: the least noise-free "
    "value that the timed trials found, median of the runs.",
)
