"""tell + ask with all defaults after 100,000 and 1,000,000 told trials, and the memory that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_fast_bench.parts import Part, Row, Unit, size_of
from hpo_fast_bench.parts.acquisition import OF_MANY, SEARCHES_OF_MANY, SMALL, Effort, grade_some, quality_row, ratios
from hpo_fast_bench.parts.large import normalised_cells
from hpo_fast_bench.parts.loops import our_block, our_loop, refits_within
from hpo_fast_bench.parts.memory import forget_peak, peak
from hpo_fast_bench.rods import RATE_N, gemm_rate

MOST_SECONDS = {100_000: 0.05, 1_000_000: 0.15}  # normalised
MOST_DATA, MORE_BYTES = 4, 1e9  # memory: so many times the raw data, and so much more
# As many as were measured when a refit at 100,000 took them all; so many of 1,000,000 would take minutes more.
TRIALS = {100_000: 6251, 1_000_000: 300}


def measure(n: int, d: int, trials: int, sample: int, effort: Effort, rate_n: int, threads: int) -> dict[str, Any]:
    """Times the first `trials` asks after the one that fitted the bulk, and grades some of them.

    Returns:
        Figures of the timed block; the bytes of the process at its peak before any grading; the ratios of what was
        graded.
    """
    rate = gemm_rate(rate_n)
    forget_peak()  # that of the rod
    loop = our_loop(n, d, 0, threads)
    timed = our_block(loop, trials)
    most = peak()
    timed["rate"] = max(rate, gemm_rate(rate_n))
    graded = grade_some(loop, trials, sample, n, effort, threads, "vecchia")
    return {"ours": timed, "bytes": most, "graded": graded}


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
        ours = result["ours"]
        everything += ratios(result["graded"])
        raw = 8 * n * (d + 1)
        memory = {"peak MB": result["bytes"] / 1e6, "raw MB": raw / 1e6}
        shown = {**normalised_cells([ours]), "refits": ours["refits"], "that moved theta": ours["moved"], **memory}
        shown["best f"] = ours["best"]
        label = f"defaults, n = {n}, d = {d}"
        target, reached = "", None
        if n in MOST_SECONDS:
            target = f"mean < {MOST_SECONDS[n]} s"
            reached = shown["mean s, normalised"] < MOST_SECONDS[n] and ours["refits"] >= refits_within(n, TRIALS[n])
        rows.append(Row(f"tell + ask, {label}", shown, target, reached))
        fits = result["bytes"] <= MOST_DATA * raw + MORE_BYTES
        rows.append(Row(f"peak memory, {label}", memory, "<= 4 x raw + 1 GB", fits))
    return [*rows, quality_row("all", everything)]


PART = Part(
    "million",
    "tell + ask with all defaults after 100,000 and 1,000,000 told trials",
    _units,
    _rows,
    note="Told by add_trials from arrays. The clock starts after the ask that fits theta to them, and stops after "
    "6,251 trials at 100,000 and 300 at 1,000,000: refits are due after 128, 256 and so on, each spread over 64 asks, "
    "so that the mean is above that of all trials until a tenth more were told; "
    "one that leaves theta makes the local model anew as well. "
    "Seconds are normalised to a machine whose dgemm reaches 90 GFLOP/s at n = 3,000 with the same threads (measured "
    "before and after). Memory: the peak of the whole process, "
    "refit, interpreter, imports, the caller's own arrays and a copy of them included; raw data are 8 n (d + 1) "
    "bytes. EI: of the asked point under a handle of the same kind, relative to the best of two long searches, "
    f"{SEARCHES_OF_MANY}.",
)
