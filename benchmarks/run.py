"""Quality runs: (method, problem, seed) -> one JSON line a trial, kept in a file so that a stopped run goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hpo_fast_bench.methods import METHODS
from hpo_fast_bench.scalable import TASKS

Array = npt.NDArray[np.float64]


def before(problem: str, n: int, seed: int) -> tuple[dict[str, Array], Array, Array]:
    """n trials at random points, run before the first one of a study: params by name, values without noise, and noise.

    The same for every method.
    """
    task = TASKS[problem]
    rng = np.random.default_rng([seed, list(TASKS).index(problem), n])
    params = [task.space.decode(u) for u in task.space.from_uniform(rng.random((n, task.space.d)))]
    columns = {name: np.array([one[name] for one in params]) for name in task.space.names}
    values = np.array([task.f(one) for one in params])
    return columns, values, task.noise * rng.standard_normal(n)


def run(method: str, problem: str, seed: int, n_trials: int, threads: int = 1, told: int = 0) -> list[dict[str, Any]]:
    """One study.

    Args:
        method: a name of METHODS.
        problem: a name of TASKS.
        seed: of the method, of the noise and of the history, which are the same for every method.
        n_trials: trials.
        threads: of the method.
        told: random trials that it is told before.

    Returns:
        A dict a trial: number, value (without noise), told (with it), seconds the method took for ask and tell. The
        first of them has number -1 where there was a history: its best value without noise.
    """
    task = TASKS[problem]
    noise = task.noise * np.random.default_rng([seed, list(TASKS).index(problem)]).standard_normal(n_trials)
    session = METHODS[method](task.space, seed, threads)
    lines: list[dict[str, Any]] = []
    if told:
        columns, values, errors = before(problem, told, seed)
        began = time.perf_counter()
        session.add(columns, values + errors)
        seconds = time.perf_counter() - began
        lines.append({"number": -1, "value": float(values.min()), "seconds": seconds})
    for number in range(n_trials):
        began = time.perf_counter()
        params = session.ask()
        asked = time.perf_counter()
        value = task.f(params)
        noisy = value + float(noise[number])
        resumed = time.perf_counter()
        session.tell(noisy)
        seconds = asked - began + time.perf_counter() - resumed
        lines.append({"number": number, "value": value, "told": noisy, "seconds": seconds})
    return lines


def run_seeds(
    method: str, problem: str, seeds: Sequence[int], n_trials: int, scratch: str, threads: int = 1, told: int = 0
) -> dict[str, list[dict[str, Any]]]:
    """Runs the seeds whose file is not there yet, and gives the lines of all of them.

    Args:
        method: a name of METHODS.
        problem: a name of TASKS.
        seeds: which.
        n_trials: trials of each.
        scratch: folder of the files, one a seed.
        threads: of the method.
        told: random trials that each is told before.
    """
    folder = Path(scratch)
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for seed in seeds:
        path = folder / f"{method}--{problem}--{seed}.jsonl"
        if not path.exists():
            lines = run(method, problem, seed, n_trials, threads, told)
            part = path.with_suffix(".part")
            part.write_text("".join(json.dumps(line) + "\n" for line in lines))
            os.replace(part, path)  # the file is there as a whole or not at all
        found[str(seed)] = [json.loads(line) for line in path.read_text().splitlines()]
    return found


def measure(
    method: str, problem: str, seeds: Sequence[int], n_trials: int, scratch: str, threads: int, told: int = 0
) -> dict[str, Any]:
    """One method on one problem; each seed is kept as soon as it is done.

    Returns:
        For each seed the best value so far at 20, 40 and all trials, a history's included, and the method's seconds.
    """
    lines = run_seeds(method, problem, seeds, n_trials, scratch, threads, told)
    out: dict[str, Any] = {"best": {}, "seconds": {}}
    for seed, trials in lines.items():
        best = np.minimum.accumulate([line["value"] for line in trials])[len(trials) - n_trials :]
        at = sorted({min(20, n_trials), min(40, n_trials), n_trials})
        out["best"][seed] = {str(t): float(best[t - 1]) for t in at}
        out["seconds"][seed] = sum(line["seconds"] for line in trials)
    return out
