"""Log marginal likelihood with its gradient, Matern-5/2, a length scale an input, white noise: against peers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from hpo_fast_bench.child import warm_blas
from hpo_fast_bench.histories import history
from hpo_fast_bench.parts import Part, Row, Unit, size_of
from hpo_fast_bench.parts.blocks import RUNS, against, cells

from hpo_fast.backends import gaussian_process

Array = npt.NDArray[np.float64]
# (theta, log length scales, variance and noise) -> value and gradient with respect to theta
Evaluate = Callable[[Array], tuple[float, Array]]
NAMES = {"sklearn": "scikit-learn", "botorch": "GPyTorch"}
LEAST_RATIO = {"sklearn": 15, "botorch": 3}
SIZES = {"sklearn": [(300, 20), (1000, 20)], "botorch": [(n, d) for n in (300, 1000) for d in (5, 20)]}
SETS = 4096  # of parameters, so that no evaluation is like the one before


def sklearn_side(U: Array, y: Array) -> Evaluate:
    """scikit-learn's, without a copy of the kernel; it has no output scale, which would only slow it."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel

    d = U.shape[1]
    kernel = Matern(length_scale=np.ones(d), nu=2.5) + WhiteKernel(1e-2)
    model = GaussianProcessRegressor(kernel, optimizer=None, alpha=0.0).fit(U, y)

    def evaluate(theta: Array) -> tuple[float, Array]:
        value, slope = model.log_marginal_likelihood(np.delete(theta, d), eval_gradient=True, clone_kernel=False)
        return float(value), np.insert(slope, d, np.nan)

    return evaluate


def gpytorch_side(U: Array, y: Array) -> Evaluate:
    """GPyTorch's exact marginal log likelihood, backward by automatic differentiation."""
    from hpo_fast_bench.parts.gpytorch_peer import Likelihood

    model = Likelihood(U, y)

    def evaluate(theta: Array) -> tuple[float, Array]:
        value = model.evaluate(theta)()
        return value, model.gradient()

    return evaluate


SIDES: dict[str, Callable[[Array, Array], Evaluate]] = {"sklearn": sklearn_side, "botorch": gpytorch_side}


def measure(
    n: int, d: int, runs: int, evaluations: int, seconds: float, threads: int, peer: str = "sklearn"
) -> dict[str, Any]:
    """Both sides at the same parameters, another set in every evaluation so that nothing can be kept."""
    warm_blas()
    past = history(n, d, 0)
    handle = gaussian_process(past.space.layout, standardise=False, mean="zero", prior=None, n_threads=threads)
    handle.append(past.U, past.standard[:, None])
    side = SIDES[peer](past.U, past.standard)
    rng = np.random.default_rng(0)
    lengths = rng.normal(np.log(0.5 * np.sqrt(d)), 0.3, (SETS, d))
    # The output scale is 1, as it is where a peer has none; its gradient is computed all the same.
    thetas = np.column_stack([lengths, np.zeros(SETS), rng.normal(np.log(1e-2), 0.5, SETS)])
    at = 0

    # Both must compute the same thing.
    value, slope = handle.log_likelihood(thetas[:1], gradient=True)
    assert slope is not None
    other, peer_slope = side(thetas[0])
    has = ~np.isnan(peer_slope)
    mine, theirs = slope[0][has], peer_slope[has]

    def our_step() -> None:
        nonlocal at
        at += 1
        handle.log_likelihood(thetas[at % SETS][None, :], gradient=True)

    def peer_step() -> None:
        nonlocal at
        at += 1
        side(thetas[at % SETS])

    return {
        **against(runs, our_step, {peer: peer_step}, evaluations, seconds, threads),
        "difference": abs(float(value[0]) - other) / abs(other),
        "gradient difference": float(np.max(np.abs(mine - theirs)) / np.max(np.abs(theirs))),
    }


def _units(quick: bool) -> list[Unit]:
    units = []
    for peer, sizes in SIZES.items():
        for n, d in [(30, 3)] if quick else sizes:
            # 15 s a block: thousands of evaluations of ours, about 30 of scikit-learn's at n = 1,000
            arguments = {"n": n, "d": d, "runs": 1 if quick else RUNS, "evaluations": 3 if quick else 2000}
            arguments |= {"seconds": 15.0, "peer": peer}
            key = f"n{n}-d{d}-{peer}"
            units.append(Unit(key, "hpo_fast_bench.parts.likelihood:measure", arguments, ("ours", peer)))
    return units


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows = []
    for key, result in results.items():
        (n, d), peer = size_of(key), key.rsplit("-", 1)[1]
        shown = cells(result)
        shown["peer threads"] = result["peer"][0]["threads"]
        for name in ("difference", "gradient difference"):
            shown[name] = result[name]
        least = LEAST_RATIO[peer]
        rows.append(
            Row(
                f"log likelihood + gradient, n = {n}, d = {d}, {NAMES[peer]}",
                shown,
                f">= {least} x",
                bool(result["ratio"] >= least),
            )
        )
    return rows


PART = Part(
    "likelihood",
    "log marginal likelihood + gradient against scikit-learn and GPyTorch",
    _units,
    _rows,
    note="Both at the same parameters; difference: of the values, relative, and of the gradients, largest entry.",
)
