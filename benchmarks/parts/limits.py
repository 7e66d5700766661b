"""How close the core comes to what the machine can do: operations at the rate of dgemm, bytes at that of reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np
from hpo_fast_bench.child import warm_blas
from hpo_fast_bench.histories import history
from hpo_fast_bench.parts import Part, Row, Unit, size_of
from hpo_fast_bench.parts.blocks import RUNS, alternate, block, figures
from hpo_fast_bench.rods import gemm, read_rate

from hpo_fast.backends import gaussian_process
from hpo_fast.backends.base import Surrogate

POINTS = 512
APPENDS = 128  # several panels of the factor: one is computed anew as a block where it fills
# kind -> n -> the least fraction of dgemm; the dimensions
FACTOR = {300: 0.50, 1000: 0.60, 3000: 0.75, 10_000: 0.85}
GRADIENT = {1000: 0.50, 3000: 0.70}
POSTERIOR = {1000: 0.70, 3000: 0.70, 10_000: 0.70}
MOST_READINGS = {10_000: 1.5}  # of the lower triangle of V, to append a row
CASES = [
    *(("factor", n, d) for n in FACTOR for d in (5, 20)),
    *(("gradient", n, 20) for n in GRADIENT),
    *(("posterior", n, d) for n in POSTERIOR for d in (5, 20)),
]
LEAST = {"factor": FACTOR, "gradient": GRADIENT, "posterior": POSTERIOR}
NAMES = {
    "factor": "covariance, factor V and weights",
    "gradient": "log likelihood + all gradients",
    "posterior": f"posterior of {POINTS} points with gradients",
}


def operations(kind: str, n: int) -> float:
    """Floating-point operations that the figure cannot do without."""
    return {"factor": 2 * n**3 / 3, "gradient": float(n**3), "posterior": 2.0 * POINTS * n**2}[kind]


def model(n: int, d: int, threads: int | None = None, more: int = 0) -> tuple[Surrogate, Any]:
    """A handle of n told points at a theta that suits them, and the history with `more` points."""
    past = history(n + more, d, 0)
    handle = gaussian_process(past.space.layout, n_threads=threads)
    handle.append(past.U[:n], past.y[:n, None])
    handle.set_theta(np.log([*[0.6 * np.sqrt(d)] * d, 1.0, 1e-3])[None, :])
    return handle, past


def step_of(kind: str, handle: Surrogate, d: int) -> Callable[[], object]:
    theta = handle.theta
    U = np.random.default_rng(1).random((POINTS, d))
    handle.predict(U[:1])  # the weights
    if kind == "posterior":
        return lambda: handle.predict(U, gradient=True)
    return lambda: handle.log_likelihood(theta, gradient=kind == "gradient")


def measure(kind: str, n: int, d: int, runs: int, seconds: float, threads: int) -> dict[str, Any]:
    """Ours and the product of two n x n matrices, in alternating blocks."""
    warm_blas()
    handle, _ = model(n, d, threads)
    ours, product = step_of(kind, handle, d), gemm(n)
    ours()
    product()

    def timed(step: Callable[[], object]) -> Callable[[int], dict[str, Any]]:
        return lambda run: figures(block(step, 100_000, seconds))

    return alternate(runs, timed(ours), timed(product))


def measure_append(n: int, d: int, appends: int, threads: int) -> dict[str, Any]:
    """One row at a time, each beside the reading rate of this machine; and the prediction of a point that follows."""
    handle, past = model(n, d, threads, appends + 1)
    rate = [read_rate(threads)]
    times, weights = [], []
    for i in range(n, n + appends):
        row = slice(i, i + 1)
        times += block(lambda row=row: handle.append(past.U[row], past.y[row, None]), 1)
        weights += block(lambda: handle.predict(past.U[-1:]), 1)
    rate.append(read_rate(threads))
    readings = [8e-9 * i * i / 2 / max(rate) for i in range(n, n + appends)]
    return {"ours": figures(times), "weights": figures(weights), "readings": figures(readings), "GB/s": max(rate)}


def _units(quick: bool) -> list[Unit]:
    runs, seconds, appends = (1, 0.0, 3) if quick else (RUNS, 3.0, APPENDS)
    cases = [("gradient", 50, 2)] if quick else CASES
    units = []
    for kind, n, d in cases:
        arguments = {"kind": kind, "n": n, "d": d, "runs": runs, "seconds": seconds}
        units.append(Unit(f"{kind}-n{n}-d{d}", "hpo_fast_bench.parts.limits:measure", arguments))
    for n, d in [(50, 2)] if quick else [(n, d) for n in MOST_READINGS for d in (5, 20)]:
        arguments = {"n": n, "d": d, "appends": appends}
        units.append(Unit(f"append-n{n}-d{d}", "hpo_fast_bench.parts.limits:measure_append", arguments))
    return units


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows = []
    for key, result in results.items():
        kind = key.split("-", 1)[0]
        n, d = size_of(key)
        if kind == "append":
            mean, reading = result["ours"]["mean"], result["readings"]["mean"]
            shown = {"ours ms": 1e3 * mean, "floor ms": 1e3 * reading, "readings": mean / reading}
            shown |= {"GB/s": result["GB/s"], "max ms": 1e3 * result["ours"]["max"]}
            shown["next prediction ms"] = 1e3 * result["weights"]["mean"]
            target, reached = "", None
            if n in MOST_READINGS:
                target, reached = f"<= {MOST_READINGS[n]} readings", bool(shown["readings"] <= MOST_READINGS[n])
            rows.append(Row(f"append of one row, n = {n}, d = {d}", shown, target, reached))
            continue
        ours, product = (median(b["mean"] for b in result[side]) for side in ("ours", "peer"))
        work = operations(kind, n)
        shown = {
            "ours ms": 1e3 * ours,
            "floor ms": 1e3 * product * work / (2 * n**3),
            # Of dgemm: the median over the runs, each beside the product of its own run.
            "fraction": result["ratio"] * work / (2 * n**3),
            "GFLOP/s": 1e-9 * work / ours,
            "dgemm GFLOP/s": 2e-9 * n**3 / product,
        }
        least = LEAST[kind].get(n)
        rows.append(
            Row(
                f"{NAMES[kind]}, n = {n}, d = {d}",
                shown,
                f">= {least:.0%} of dgemm" if least else "",
                bool(shown["fraction"] >= least) if least else None,
            )
        )
    return rows


PART = Part(
    "limits",
    "fractions of the machine's own rates",
    _units,
    _rows,
    note="The rod is SciPy's dgemm at the same n with the same threads, in turn with ours. Operations: 2 n^3/3 for the "
    "factor V (the covariance before it and the weights after it are inside the clock and count for nothing), n^3 for "
    "likelihood and gradients, 2 m n^2 for the posterior of m points. Append: the mean of 128 single rows with their "
    "share of the block that a full panel is, and with the weights, which go along with the reading for a row, against "
    "the time of reading n^2/2 doubles at the rate at which the threads read memory; the prediction of one point that "
    "follows reads the triangle once.",
)
