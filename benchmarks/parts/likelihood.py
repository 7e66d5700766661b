"""Log marginal likelihood with its gradient, Matern-5/2, a length scale an input, white noise: against scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hpo_fast_bench.child import warm_blas
from hpo_fast_bench.histories import history
from hpo_fast_bench.methods import SKLEARN
from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.parts.blocks import (
    RUNS,
    alternate,
    block,
    cells,
    fastest,
    figures,
    peer_threads,
    seconds_by_threads,
)

from hpo_fast.backends import gaussian_process

LEAST_RATIO = 15


def measure(n: int, d: int, runs: int, evaluations: int, seconds: float, threads: int) -> dict[str, Any]:
    """Both sides at the same parameters, another set in every evaluation so that nothing can be kept."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel

    warm_blas()
    past = history(n, d, 0)
    y = (past.y - past.y.mean()) / past.y.std()
    handle = gaussian_process(past.space.layout, standardise=False, mean="zero", prior=None, n_threads=threads)
    handle.append(past.U, y[:, None])
    # The peer has no output scale, which would only slow it: ours is held at 1 and its gradient is computed all the
    # same. No copy of the kernel is made either.
    kernel = Matern(length_scale=np.ones(d), nu=2.5) + WhiteKernel(1e-2)
    sklearn = GaussianProcessRegressor(kernel, optimizer=None, alpha=0.0).fit(past.U, y)
    rng = np.random.default_rng(0)
    lengths = rng.normal(np.log(0.5 * np.sqrt(d)), 0.3, (4096, d))
    noises = rng.normal(np.log(1e-2), 0.5, 4096)
    at = 0

    def theta_ours() -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.concatenate([lengths[at % 4096], [0.0], [noises[at % 4096]]])[None, :]

    def theta_peer() -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.concatenate([lengths[at % 4096], [noises[at % 4096]]])

    # Both must compute the same thing.
    value, slope = handle.log_likelihood(theta_ours(), gradient=True)
    assert slope is not None
    other, peer_slope = sklearn.log_marginal_likelihood(theta_peer(), eval_gradient=True, clone_kernel=False)
    mine = np.delete(slope[0], d)

    def one() -> None:
        nonlocal at
        at += 1
        handle.log_likelihood(theta_ours(), gradient=True)

    def theirs() -> None:
        nonlocal at
        at += 1
        sklearn.log_marginal_likelihood(theta_peer(), eval_gradient=True, clone_kernel=False)

    one()
    seen = seconds_by_threads(lambda _: lambda: block(theirs, 1)[0], threads)
    count = fastest(seen)

    def peer_block(run: int) -> dict[str, Any]:
        with peer_threads(count):
            return {**figures(block(theirs, evaluations, seconds)), "threads": count}

    result = alternate(runs, lambda run: figures(block(one, evaluations, seconds)), peer_block)
    return {
        **result,
        "peer seconds by threads": seen,
        "difference": abs(float(value[0]) - float(other)) / abs(float(other)),
        "gradient difference": float(np.max(np.abs(mine - peer_slope)) / np.max(np.abs(peer_slope))),
    }


def _units(quick: bool) -> list[Unit]:
    units = []
    for n, d in [(30, 3)] if quick else [(300, 20), (1000, 20)]:
        # 15 s a block: thousands of evaluations of ours, about 30 of the peer's at n = 1,000
        arguments = {"n": n, "d": d, "runs": 1 if quick else RUNS, "evaluations": 3 if quick else 2000, "seconds": 15.0}
        units.append(Unit(f"n{n}-d{d}", "hpo_fast_bench.parts.likelihood:measure", arguments, ("ours", "sklearn")))
    return units


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows = []
    for key, result in results.items():
        n, d = (int(part[1:]) for part in key.split("-"))
        shown = cells(result)
        shown["peer threads"] = result["peer"][0]["threads"]
        for name in ("difference", "gradient difference"):
            shown[name] = result[name]
        rows.append(
            Row(
                f"log likelihood + gradient, n = {n}, d = {d}",
                shown,
                f">= {LEAST_RATIO} x",
                bool(result["ratio"] >= LEAST_RATIO),
            )
        )
    return rows


PART = Part(
    "likelihood",
    "log marginal likelihood + gradient against scikit-learn",
    _units,
    _rows,
    SKLEARN,
    "sklearn",
    note="Both at the same parameters; difference: of the values, relative, and of the gradients, largest entry.",
)
