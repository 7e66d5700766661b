"""tell + ask with all defaults after 100,000 and 1,000,000 told trials, and the memory that it takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from hpo_fast_bench.histories import history
from hpo_fast_bench.methods import METHODS, OurSession
from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.parts.acquisition import OF_MANY, SMALL, Effort, grade, spread
from hpo_fast_bench.parts.blocks import figures
from hpo_fast_bench.parts.loops import Loop, interval
from hpo_fast_bench.parts.memory import peak
from hpo_fast_bench.rods import RATE_N, gemm_rate, normalised

MOST_SECONDS = {100_000: 0.05, 1_000_000: 0.15}  # normalised
MOST_DATA, MORE_BYTES = 4, 1e9  # memory: so many times the raw data, and so much more
TRIALS = 100


def measure(n: int, d: int, trials: int, sample: int, effort: Effort, rate_n: int, threads: int) -> dict[str, Any]:
    """Tells the history in bulk, asks once, then times `trials` times tell + ask.

    Returns:
        Seconds of each phase, of the timed block, the bytes of the process at its peak before any grading, and the
        ratios of what was graded.
    """
    past = history(n, d, 0)
    session = METHODS["hpo_fast"](past.space, 0, threads)
    assert isinstance(session, OurSession)
    began = time.perf_counter()
    loop = Loop(session, past, 0)  # told in bulk, and asked once
    first = time.perf_counter() - began
    block = figures(loop.timed(trials, 0.0, trials))
    most = peak()
    rate = gemm_rate(rate_n)
    ratios = [
        grade(loop, past.space.layout, number, n + number, effort, threads, "vecchia")[0]
        for number in spread(trials, sample)
    ]
    return {"first": first, "ours": {**block, "rate": rate, "best": loop.best}, "bytes": most, "ratios": ratios}


def _units(quick: bool) -> list[Unit]:
    units = []
    for n, d in [(300, 2)] if quick else [(n, d) for n in MOST_SECONDS for d in (10, 20)]:
        arguments = {"n": n, "d": d, "trials": 3 if quick else TRIALS}
        arguments |= {
            "sample": 1 if quick else 5,
            "effort": SMALL if quick else OF_MANY,
            "rate_n": 300 if quick else RATE_N,
        }
        units.append(Unit(f"n{n}-d{d}", "hpo_fast_bench.parts.million:measure", arguments))
    return units


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows = []
    for key, result in results.items():
        n, d = (int(part[1:]) for part in key.split("-"))
        block = result["ours"]
        # No refit falls into so few trials: the first ask's seconds, which hold one, are divided by the interval.
        mean = block["mean"] + result["first"] / interval(n)
        raw = 8 * n * (d + 1)
        shown = {
            "mean s, normalised": normalised(mean, block["rate"]),
            "max s, normalised": normalised(block["max"], block["rate"]),
            "mean s": mean,
            "max s": block["max"],
            "dgemm GFLOP/s": block["rate"],
            "trials": block["count"],
            "add_trials + first ask, s": result["first"],
            "peak MB": result["bytes"] / 1e6,
            "raw MB": raw / 1e6,
            "EI of the asked": median(result["ratios"]),
            "best f": block["best"],
        }
        label = f"defaults, n = {n}, d = {d}"
        target, reached = "", None
        if n in MOST_SECONDS:
            target, reached = f"mean < {MOST_SECONDS[n]} s", bool(shown["mean s, normalised"] < MOST_SECONDS[n])
        rows.append(Row(f"tell + ask, {label}", shown, target, reached))
        fits = result["bytes"] <= MOST_DATA * raw + MORE_BYTES
        rows.append(
            Row(f"peak memory, {label}", {"peak MB": shown["peak MB"], "raw MB": raw / 1e6}, "<= 4 x raw + 1 GB", fits)
        )
    return rows


PART = Part(
    "million",
    "tell + ask with all defaults after 100,000 and 1,000,000 told trials",
    _units,
    _rows,
    note="Told by add_trials from arrays. The mean of 100 trials after the first ask; the seconds of add_trials and "
    "the first ask, divided by the trials of a refit interval, are added to it. Memory: the peak of the whole "
    "process, the interpreter, the imports and the caller's own arrays included; raw data are 8 n (d + 1) bytes. "
    "EI: of the asked point under a handle of the same kind, relative to the best of two long searches, our own "
    "20 times and an independent one with 512 candidates and 3 starts.",
)
