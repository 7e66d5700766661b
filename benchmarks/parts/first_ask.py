"""The first ask after a bulk of trials that no refit has seen, and after the load of a stored study."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hpo_fast_bench.histories import history
from hpo_fast_bench.methods import OurSession, bayesian
from hpo_fast_bench.parts import Part, Row, Unit, size_of
from hpo_fast_bench.parts.acquisition import OF_MANY, SEARCHES_OF_MANY, SMALL, Effort, grade, quality_row
from hpo_fast_bench.parts.loops import Loop, before_refit, begins_refit
from hpo_fast_bench.rods import RATE_N, gemm_rate, normalised

from hpo_fast import Study
from hpo_fast.backends.base import EXACT_BELOW
from hpo_fast.strategies._refits import shares

MOST_SECONDS = {1000: 0.5, 5000: 5.0, 10_000: 20.0, 1_000_000: 10.0}  # normalised
MOST_UNDER_WAY = 35.0
PLACES = {
    "memory": "after add_trials, in memory",
    "file": "after Study.load",
    "under_way": "after Study.load in the middle of a spread refit",
}


def told(
    n: int, d: int, place: str, surrogate: str | None, path: str | None, threads: int
) -> tuple[Study, int, float | None]:
    """A study that was told n trials, how many refits are under way in it, and the seconds of a bulk of them all."""
    past = history(n, d, 0)
    session = OurSession(past.space, 0, bayesian(surrogate, threads), path)
    if place != "under_way":
        columns = past.columns()
        began = time.perf_counter()
        session.add(columns, past.y)
        return session.study, 0, time.perf_counter() - began
    loop = Loop(session, past, 0, before_refit(n))
    for _ in range(max(1, shares(n + 1, surrogate == "exact"))):  # all shares: the next ask ends the refit
        loop.step()
        loop.evaluate()
    session.tell(loop.told[-1])
    return session.study, sum(map(begins_refit, loop.notes[1:])) - loop.refits, None


def measure(
    n: int, d: int, place: str, surrogate: str | None, rate_n: int, effort: Effort | None, threads: int
) -> dict[str, Any]:
    """Seconds of the first ask; the clock starts when add_trials or load has returned.

    Args:
        n: told trials.
        d: parameters.
        place: of PLACES.
        surrogate: forced, where it is given.
        rate_n: of the rod.
        effort: of the searches that grade the ask; None: it is not graded.
        threads: of ours.
    """
    before = gemm_rate(rate_n)
    # In the working directory: a temporary folder in memory would know no disk.
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        path = None if place == "memory" else str(Path(folder) / "study.db")
        study, under_way, add_seconds = told(n, d, place, surrogate, path, threads)
        load_seconds = None
        if path is not None:
            del study
            began = time.perf_counter()
            study = Study.load(path)
            load_seconds = time.perf_counter() - began
        began = time.perf_counter()
        trial = study.ask()
        seconds = time.perf_counter() - began
        record = study.find_trial(trial.number)
        assert record is not None
        del study
    rate = max(before, gemm_rate(rate_n))
    past = history(n, d, 0)
    u, note = np.array(list(trial.params.values())), record.note
    ratio = None
    if effort is not None and note["kind"] != "model":
        ratio = 0.0  # it filled the space because the model failed
    elif effort is not None:
        fit = np.array([note["fit"]["theta"]]), int(note["fit"]["n"])
        judge = surrogate or ("exact" if n < EXACT_BELOW else "vecchia")
        ratio, _ = grade((past.U, past.y), fit, u, past.space.layout, n, effort, threads, judge)
    return {
        "seconds": seconds,
        "add_trials": add_seconds,
        "load": load_seconds,
        "rate": rate,
        "value": past.f(u),
        "best told": float(past.y.min()),
        "kind": note["kind"],
        "under way": under_way,
        "ratio": ratio,
    }


def _units(quick: bool) -> list[Unit]:
    cases: list[tuple[int, int, str, str | None]] = []
    for n in [200] if quick else MOST_SECONDS:
        for d in (2,) if quick else (5, 20):
            for place in ("memory", "file"):
                cases.append((n, d, place, None))
                if 5000 <= n <= 10_000:  # where the defaults may be another model
                    cases.append((n, d, place, "exact"))
    for d in (2,) if quick else (5, 20):
        kinds = (None,) if quick else (None, "exact")
        cases += [(1100 if quick else 10_000, d, "under_way", surrogate) for surrogate in kinds]
    units = []
    for n, d, place, surrogate in cases:
        arguments = {"n": n, "d": d, "place": place, "surrogate": surrogate, "rate_n": 300 if quick else RATE_N}
        arguments["effort"] = (SMALL if quick else OF_MANY) if place == "memory" else None
        key = f"n{n}-d{d}-{place}" + (f"-{surrogate}" if surrogate else "")
        units.append(Unit(key, "hpo_fast_bench.parts.first_ask:measure", arguments))
    return units


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows, found = [], []
    for key, result in results.items():
        n, d = size_of(key)
        place, *forced = key.split("-")[2:]
        seconds = normalised(result["seconds"], result["rate"])
        shown = {
            "s, normalised": seconds,
            "s": result["seconds"],
            "dgemm GFLOP/s": result["rate"],
            "f asked": result["value"],
            "best told": result["best told"],
        }
        shown |= {f"{verb}, s": result[verb] for verb in ("add_trials", "load") if result[verb] is not None}
        if result["ratio"] is not None:
            found.append(result["ratio"])
            shown["EI"] = result["ratio"]
        most = MOST_UNDER_WAY if place == "under_way" else MOST_SECONDS.get(n)
        # An ask that filled the space because the model failed, or that found no refit under way, is no success.
        valid = result["kind"] == "model" and (place != "under_way" or result["under way"] == 1)
        rows.append(
            Row(
                f"{PLACES[place]}, {forced[0] if forced else 'defaults'}, n = {n}, d = {d}",
                shown,
                f"< {most:g} s" if most else "",
                bool(seconds < most and valid) if most else None,
            )
        )
    return [*rows, quality_row("all that are graded", found)]


PART = Part(
    "first_ask",
    "the first ask after many trials that no refit has seen",
    _units,
    _rows,
    note="The clock starts when add_trials or load has returned. Seconds are also given normalised to a machine whose "
    "dgemm reaches 90 GFLOP/s at n = 3,000 with the same threads (measured before and after). In the middle of a "
    "spread refit: a stored study that began a refit and asked all of the trials over which it is spread; the "
    "ask after the load makes up for all of it and ends it. f asked: the noise-free value of the point, beside the "
    "least value told. add_trials: seconds of the bulk that told all trials, in memory or into the file; load: of the "
    "Study.load that opens it. EI: in memory, that of the asked point relative to the best of two long "
    f"searches on the same model, {SEARCHES_OF_MANY}; a study from a file asks the same point. The others are "
    "judged by f alone.",
)
