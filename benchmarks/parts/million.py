"""tell + ask with all defaults after 100,000 and 1,000,000 told trials, and the memory that it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hpo_fast_bench.parts import Part, Row, Unit, size_of
from hpo_fast_bench.parts.acquisition import OF_MANY, SEARCHES_OF_MANY, SMALL, Effort, grade_some, quality_row, ratios
from hpo_fast_bench.parts.blocks import block
from hpo_fast_bench.parts.large import normalised_cells
from hpo_fast_bench.parts.loops import interval, our_block, our_loop
from hpo_fast_bench.parts.memory import forget_peak, peak
from hpo_fast_bench.rods import RATE_N, gemm_rate

from hpo_fast.strategies.bayesian import SPREAD_FROM, SPREAD_OVER

MOST_SECONDS = {100_000: 0.05, 1_000_000: 0.15}  # normalised
MOST_DATA, MORE_BYTES = 4, 1e9  # memory: so many times the raw data, and so much more
# All of the 6,251 asks over which a refit at 100,000 is spread; those of 1,000,000, ten times as many, take an hour.
TRIALS = {100_000: 100_000 // SPREAD_OVER + 1, 1_000_000: 300}


def measure(n: int, d: int, trials: int, sample: int, effort: Effort, rate_n: int, threads: int) -> dict[str, Any]:
    """Times the first `trials` asks of a refit, then what is left of it at once, and grades some of the asks.

    Returns:
        Figures of the timed block; the seconds of what was left of the refit, and of its end; the bytes
        of the process at its peak before any grading; the ratios of what was graded.
    """
    rate = gemm_rate(rate_n)
    forget_peak()  # that of the rod
    loop = our_loop(n, d, 0, threads)
    timed = our_block(loop, trials)
    rest: list[float] = []
    if n >= SPREAD_FROM and trials <= (n + 1) // SPREAD_OVER:
        # What is left of the refit, on the handle of the strategy itself, which knows what was done; then its end. The
        # strategy is not told of it, so no ask may follow.
        handle = loop.session.study.strategy._handle
        rest = block(lambda: handle.advance_refit(math.inf), 1) + block(handle.finish_refit, 1)
    most = peak()
    timed |= {"rate": max(rate, gemm_rate(rate_n)), "refits": loop.refits + (1 if rest else 0)}
    graded = grade_some(loop, trials, sample, n, effort, threads, "vecchia")
    return {"ours": timed, "rest": rest, "bytes": most, "graded": graded}


def _units(quick: bool) -> list[Unit]:
    units = []
    for n, d in [(300, 2)] if quick else [(n, d) for n in MOST_SECONDS for d in (10, 20)]:
        arguments = {"n": n, "d": d, "trials": 3 if quick else TRIALS[n]}
        arguments |= {
            "sample": 1 if quick else 5,
            "effort": SMALL if quick else OF_MANY,
            "rate_n": 300 if quick else RATE_N,
        }
        units.append(Unit(f"n{n}-d{d}", "hpo_fast_bench.parts.million:measure", arguments))
    return units


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows = []
    everything: list[float] = []
    for key, result in results.items():
        n, d = size_of(key)
        ours, rest = result["ours"], result["rest"]
        everything += ratios(result["graded"])
        # What is left of the refit falls to the other trials of the interval.
        mean = ours["mean"] + sum(rest) / interval(n + 1)
        raw = 8 * n * (d + 1)
        memory = {"peak MB": result["bytes"] / 1e6, "raw MB": raw / 1e6}
        # The ask that ends it does so beside its search.
        longest = max([ours["max"], *(ours["mean"] + end for end in rest[1:])])
        shown = normalised_cells([{**ours, "mean": mean, "max": longest}])
        shown |= {"refits": ours["refits"], "rest of the refit, s": sum(rest), **memory, "best f": ours["best"]}
        label = f"defaults, n = {n}, d = {d}"
        target, reached = "", None
        if n in MOST_SECONDS:
            target = f"mean < {MOST_SECONDS[n]} s"
            reached = shown["mean s, normalised"] < MOST_SECONDS[n] and ours["refits"] >= 1
        rows.append(Row(f"tell + ask, {label}", shown, target, reached))
        fits = result["bytes"] <= MOST_DATA * raw + MORE_BYTES
        rows.append(Row(f"peak memory, {label}", memory, "<= 4 x raw + 1 GB", fits))
    return [*rows, quality_row("all", everything)]


PART = Part(
    "million",
    "tell + ask with all defaults after 100,000 and 1,000,000 told trials",
    _units,
    _rows,
    note="Told by add_trials from arrays. The clock starts with the ask that begins a refit. At 100,000 it stops "
    "after the 6,251 asks over which the refit is spread: their mean is above that of an interval of 10,000, more than "
    "a third of which have no share in a refit. At 1,000,000 it stops after 300 of 62,501; what is left of the "
    "refit is then done at once, and its seconds divided by the trials of an interval and added to the mean; its "
    "end and the mean ask count for the maximum. Seconds are normalised to a machine whose dgemm reaches 90 "
    "GFLOP/s at n = 3,000 with the same threads (measured before and after). Memory: the peak of the whole process, "
    "refit, interpreter, imports, the caller's own arrays and a copy of them included; raw data are 8 n (d + 1) "
    "bytes. EI: of the asked point under a handle of the same kind, relative to the best of two long searches, "
    f"{SEARCHES_OF_MANY}.",
)
