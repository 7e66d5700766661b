"""tell + ask with all defaults at 10,000 told trials, against Optuna's TPE on the same history."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from hpo_fast_bench.child import warm_blas
from hpo_fast_bench.histories import history
from hpo_fast_bench.methods import METHODS, PACKAGES
from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.parts.acquisition import OF_MANY, SMALL, WANTED, Effort, good, grade, longer, quality, spread
from hpo_fast_bench.parts.blocks import (
    RUNS,
    alternate,
    cells,
    fastest,
    figures,
    peer_threads,
    seconds_by_threads,
)
from hpo_fast_bench.parts.loops import Loop, interval, our_loop

LEAST_RATIO = 1.0
SIZES = [(10_000, 5), (10_000, 20)]
PEER_TRIALS = 200


def measure(
    n: int, d: int, runs: int, trials: int, peer_trials: int, sample: int, efforts: Mapping[str, Effort], threads: int
) -> dict[str, Any]:
    """Ours over the interval that begins with a refit; then some of its asks are graded, by two models."""
    warm_blas()
    graded: dict[str, list[float]] = {kind: [] for kind in efforts}

    def ours(run: int) -> dict[str, Any]:
        session, loop = our_loop(n, d, run, threads, refit_first=True)
        out = {**figures(loop.timed(trials, 0.0, trials)), "refits": loop.refits, "best": loop.best}
        for kind, count in (("vecchia", sample), ("exact", 1)):
            for number in spread(trials, count):
                seed, layout = run * 100_000 + n + number, session.study.space.layout
                graded[kind].append(grade(loop, layout, number, seed, efforts[kind], threads, kind)[0])
        return out

    def begin(run: int, count: int) -> Loop:
        past = history(n, d, run)
        return Loop(METHODS["optuna_tpe"](past.space, run, count), past, run)

    seen = seconds_by_threads(lambda count: begin(runs, count).timed_once, threads)
    count = fastest(seen)

    def peer(run: int) -> dict[str, Any]:
        with peer_threads(count):
            loop = begin(run, count)
            return {**figures(loop.timed(peer_trials, 60.0, 1)), "best": loop.best, "threads": count}

    return {**alternate(runs, ours, peer), "peer seconds by threads": seen, "graded": graded}


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
        n, d = (int(part[1:]) for part in key.split("-"))
        shown = cells(result)
        shown["refits"] = min(b["refits"] for b in result["ours"])
        shown["peer threads"] = result["peer"][0]["threads"]
        shown["EI, exact model"] = quality(result["graded"]["exact"])["median"]
        everything += result["graded"]["vecchia"]
        for side in ("ours", "peer"):
            shown[f"best f {side}"] = median(b["best"] for b in result[side])
        reached = bool(result["ratio"] >= LEAST_RATIO and shown["refits"] >= 1)
        rows.append(Row(f"tell + ask, defaults, n = {n}, d = {d}", shown, f">= {LEAST_RATIO:g} x", reached))
    shown = quality(everything)
    return [*rows, Row("EI of the asked point, all", shown, WANTED, good(shown))]


PART = Part(
    "auto",
    "tell + ask with all defaults against Optuna TPESampler",
    _units,
    _rows,
    PACKAGES["optuna_tpe"],
    "optuna_tpe",
    note="Ours: every trial of one refit interval, all of the refit's work inside the clock. EI: of the asked point "
    "under the model that asked it, relative to the best of two long searches, our own 20 times and an "
    "independent one with 512 candidates and 3 starts; and, of one trial a run, the same under the exact Gaussian"
    " process with the same theta, the searches 4 times as long as ours. best f: the least noise-free value that "
    "the timed trials found, median of the runs.",
)
