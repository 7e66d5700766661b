"""tell + ask on a long history: ours over whole refit intervals, Optuna's GPSampler at its best installation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hpo_fast_bench.child import warm_blas
from hpo_fast_bench.histories import NOISE, History, history
from hpo_fast_bench.methods import METHODS, OPTUNA_GP, OPTUNA_STARTUP, OurSession, Session
from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.parts.blocks import (
    BLOCK_SECONDS,
    RUNS,
    alternate,
    block,
    cells,
    fastest,
    figures,
    peer_threads,
    seconds_by_threads,
)

from hpo_fast.strategies.bayesian import REFIT_ALWAYS, REFIT_GROWTH

LEAST_RATIO = {(100, 5): 20, (100, 20): 20, (300, 5): 40, (300, 20): 40, (1000, 5): 50, (1000, 20): 80}


def interval(n: int) -> int:
    """Trials from one refit of ours, at n told ones, to the next."""
    m = 1
    while n + m > REFIT_ALWAYS and n + m < REFIT_GROWTH * n:
        m += 1
    return m


class Loop:
    """tell and ask after a history; the values are computed outside the clock."""

    def __init__(self, session: Session, past: History, seed: int) -> None:
        self._session, self._past = session, past
        self._noise = np.random.default_rng([seed, 7])
        session.add(past.columns(), past.y)
        self._params = session.ask()  # the first fit, from no theta, is not the steady state
        self.best = np.inf
        self.evaluate()

    def evaluate(self) -> None:
        """Compute what the trial asked last will be told; not a part of the step, so that no clock sees it."""
        value = self._past.f(np.array(list(self._params.values())))
        self.best = min(self.best, value)
        self._told = value + NOISE * float(self._noise.standard_normal())

    def step(self) -> None:
        self._session.tell(self._told)
        self._params = self._session.ask()

    def timed_once(self) -> float:
        return self.timed(1, 0.0, 1)[0]

    def timed(self, most: int, seconds: float, least: int) -> list[float]:
        times: list[float] = []
        left = seconds
        while len(times) < most and (len(times) < least or left > 0):
            times += block(self.step, 1)
            left -= times[-1]
            self.evaluate()
        return times


def our_loop(n: int, d: int, seed: int, threads: int) -> tuple[OurSession, Loop]:
    """The loop that is timed; the same arguments give the same trials, so others may look at them again."""
    past = history(n, d, seed)
    session = METHODS["hpo_fast"](past.space, seed, threads)
    assert isinstance(session, OurSession)
    return session, Loop(session, past, seed)


def measure(n: int, d: int, runs: int, trials: int, threads: int, seconds: float) -> dict[str, Any]:
    """One (n, d) of the table."""
    warm_blas()

    def ours(run: int) -> dict[str, Any]:
        session, loop = our_loop(n, d, run, threads)
        times = loop.timed(trials, seconds, trials)
        refits = sum("fit" in record.note for record in session.study.trials[n + 1 :])
        return {**figures(times), "refits": refits, "best": loop.best}

    def begin(run: int, count: int) -> Loop:
        past = history(n, d, run)
        return Loop(METHODS["optuna_gp"](past.space, run, count), past, run)

    if n < OPTUNA_STARTUP:
        raise ValueError(f"n must be at least {OPTUNA_STARTUP}, so that GPSampler fits a model, but got {n}")
    seen = seconds_by_threads(lambda count: begin(runs, count).timed_once, threads)
    count = fastest(seen)

    def peer(run: int) -> dict[str, Any]:
        with peer_threads(count):
            loop = begin(run, count)
            return {**figures(loop.timed(trials, seconds, 1)), "best": loop.best, "threads": count}

    return {**alternate(runs, ours, peer), "peer seconds by threads": seen}


def _units(quick: bool) -> list[Unit]:
    sizes = [(20, 2)] if quick else sorted(LEAST_RATIO, key=lambda size: (size[0], size[1]))
    units = []
    for n, d in sizes:
        arguments = {"n": n, "d": d, "runs": 1 if quick else RUNS, "trials": interval(n), "seconds": BLOCK_SECONDS}
        units.append(
            Unit(f"n{n}-d{d}", "hpo_fast_bench.parts.tell_ask:measure", arguments, ("ours", "optuna"), timeout=3600)
        )
    return units


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows = []
    for key, result in results.items():
        n, d = (int(part[1:]) for part in key.split("-"))
        least = LEAST_RATIO.get((n, d))
        blocks = result["ours"]
        shown = cells(result)
        shown["refits"] = min(b["refits"] for b in blocks)
        shown["peer threads"] = result["peer"][0]["threads"]
        shown["trials ours, peer"] = f"{blocks[0]['count']}, {min(b['count'] for b in result['peer'])}"
        for side in ("ours", "peer"):
            shown[f"best f {side}"] = float(np.median([b["best"] for b in result[side]]))
        rows.append(
            Row(
                f"tell + ask, n = {n}, d = {d}",
                shown,
                f">= {least} x" if least else "",
                # A mean without its refit would flatter.
                result["ratio"] >= least and shown["refits"] >= 1 if least else None,
            )
        )
    return rows


PART = Part(
    "tell_ask",
    "tell + ask against Optuna GPSampler",
    _units,
    _rows,
    OPTUNA_GP,
    "optuna",
    note="Ours: every trial of one refit interval, its refit inside the clock. A block of the peer ends after 60 s. "
    "best f: the least noise-free value that the timed trials found, median of the runs.",
)
