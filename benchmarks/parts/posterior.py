"""Mean, variance and both gradients of 512 points, Matern-5/2, a length scale an input: against BoTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from hpo_fast_bench.child import warm_blas
from hpo_fast_bench.histories import history
from hpo_fast_bench.methods import PACKAGES
from hpo_fast_bench.parts import Part, Row, Unit, size_of
from hpo_fast_bench.parts.blocks import RUNS, against, cells

from hpo_fast.backends import gaussian_process

LEAST_RATIO = 5
POINTS = 512
WAYS = {"batch": True, "joint": False}  # of asking BoTorch: 512 posteriors of one point, or one of 512


def measure(n: int, d: int, points: int, runs: int, evaluations: int, seconds: float, threads: int) -> dict[str, Any]:
    """Both sides at the same parameters and points, other points in every evaluation."""
    from hpo_fast_bench.parts.gpytorch_peer import posterior_model, predict

    warm_blas()
    past = history(n, d, 0)
    handle = gaussian_process(past.space.layout, standardise=False, mean="zero", n_threads=threads)
    handle.append(past.U, past.standard[:, None])
    theta = np.array([*np.log(0.5 * np.sqrt(d)) + np.linspace(-0.3, 0.3, d), 0.2, np.log(1e-2)])
    handle.set_theta(theta[None, :])
    model = posterior_model(past.U, past.standard, theta)
    ways = {way: predict(model, batch) for way, batch in WAYS.items()}
    U = np.random.default_rng(1).random((16, points, d))
    at = 0

    mine = [part[:, 0] for part in handle.predict(U[0], gradient=True)]
    differences = {
        way: [float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in zip(mine, compute(U[0]), strict=True)]
        for way, compute in ways.items()
    }

    def our_step() -> None:
        nonlocal at
        at += 1
        handle.predict(U[at % len(U)], gradient=True)

    def asked_as(way: str) -> Callable[[], object]:
        def peer_step() -> object:
            nonlocal at
            at += 1
            return ways[way](U[at % len(U)])

        return peer_step

    result = against(runs, our_step, {way: asked_as(way) for way in WAYS}, evaluations, seconds, threads)
    return {**result, "differences": differences}


def _units(quick: bool) -> list[Unit]:
    units = []
    for n, d in [(30, 3)] if quick else [(1000, 5), (1000, 20)]:
        arguments = {"n": n, "d": d, "points": 8 if quick else POINTS, "runs": 1 if quick else RUNS}
        arguments |= {"evaluations": 3 if quick else 2000, "seconds": 15.0}
        units.append(Unit(f"n{n}-d{d}", "hpo_fast_bench.parts.posterior:measure", arguments, ("ours", "botorch")))
    return units


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows = []
    for key, result in results.items():
        n, d = size_of(key)
        shown = cells(result)
        used = result["peer"][0]
        shown |= {"peer threads": used["threads"], "peer asked as": used["way"]}
        values = result["differences"][used["way"]]
        shown |= {"difference": max(values[:2]), "gradient difference": max(values[2:])}
        reached = bool(result["ratio"] >= LEAST_RATIO)
        rows.append(Row(f"posterior + gradients, n = {n}, d = {d}", shown, f">= {LEAST_RATIO} x", reached))
    return rows


PART = Part(
    "posterior",
    "mean, variance and both gradients of 512 points against BoTorch",
    _units,
    _rows,
    PACKAGES["botorch"],
    "botorch",
    note="Both at the same parameters and points; difference: of mean and variance, and of their gradients, the "
    "largest entry relative to the largest value. BoTorch is asked for 512 posteriors of one point or for one of "
    "512, whichever is faster.",
)
