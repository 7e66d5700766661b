"""What a trial costs when the objective costs nothing: random search, five parameters, in memory, against Optuna."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.parts.blocks import RUNS, alternate, cells

from hpo_fast import Categorical, Float, Int, Space, Study

LEAST_RATIO = 10


def space() -> Space:
    return Space(
        rate=Float(1e-5, 1e-1, log=True),
        momentum=Float(0.0, 0.99),
        layers=Int(1, 8),
        units=Int(8, 1024, log=True),
        optimizer=Categorical(["sgd", "adam", "rmsprop"]),
    )


def measure(trials: int, runs: int, threads: int) -> dict[str, Any]:
    """Both by their own `optimize`; the maximum is that of the runs' means, for single trials are not visible."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    where = space()

    def timed(run: Callable[[], None]) -> dict[str, Any]:
        began = time.perf_counter()
        run()
        mean = (time.perf_counter() - began) / trials
        return {"mean": mean, "max": mean, "count": trials}

    def ours(run: int) -> dict[str, Any]:
        study = Study(where, "random", seed=run)
        return timed(lambda: study.optimize(lambda trial: 0.0, trials, progress=False))

    def theirs(trial: optuna.Trial) -> float:
        trial.suggest_float("rate", 1e-5, 1e-1, log=True)
        trial.suggest_float("momentum", 0.0, 0.99)
        trial.suggest_int("layers", 1, 8)
        trial.suggest_int("units", 8, 1024, log=True)
        trial.suggest_categorical("optimizer", ["sgd", "adam", "rmsprop"])
        return 0.0

    def peer(run: int) -> dict[str, Any]:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=run))
        return timed(lambda: study.optimize(theirs, trials))

    for side in (ours, peer):  # the first calls import and fill caches
        side(0)
    return alternate(runs, ours, peer)


def _units(quick: bool) -> list[Unit]:
    arguments = {"trials": 20 if quick else 2000, "runs": 1 if quick else RUNS}
    return [Unit("memory-5", "hpo_fast_bench.parts.noop:measure", arguments, ("ours", "optuna"))]


def _rows(results: Mapping[str, Any]) -> list[Row]:
    result = results["memory-5"]
    shown = cells(result, 1e6, "us")
    return [Row("no-op objective, per trial", shown, f">= {LEAST_RATIO} x", result["ratio"] >= LEAST_RATIO)]


PART = Part(
    "noop",
    "no-op objective, RandomSearch, 5 parameters, in memory, against Optuna RandomSampler",
    _units,
    _rows,
    ("optuna",),
    "optuna",
    note="The maximum is that of the three runs.",
)
