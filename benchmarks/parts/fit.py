"""How good a refit is: the log posterior it reaches against the best of many starts of SciPy's L-BFGS-B."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hpo_fast_bench.histories import history
from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.problems import PROBLEMS
from scipy.optimize import minimize

from hpo_fast import NumericalError
from hpo_fast.backends import gaussian_process
from hpo_fast.backends.reference import BOUNDS

STARTS = 20
MOST_NATS = 0.5
# (name, n): the first three from the problems at random points, the others as in the timings
SETS = (
    ("branin2", 30),
    ("hartmann6", 60),
    ("switch8_conditional", 100),
    ("bumps5", 200),
    ("levy20", 400),
    ("bumps20", 1000),
)


def data(name: str, n: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """Layout, U and y of a data set."""
    if name.startswith("bumps"):
        past = history(n, int(name[5:]), seed)
        return past.space.layout, past.U, past.y
    problem = PROBLEMS[name]
    U = problem.space.from_uniform(np.random.default_rng([seed, n]).random((n, problem.space.d)))
    return problem.space.layout, U, np.array([problem.f(problem.space.decode(u)) for u in U])


def prior_of_logarithms(layout: Any) -> tuple[Any, Any]:
    """Mean and standard deviation of each logarithm in theta under the prior, read off an empty handle.

    Its log posterior is the log prior, and that of a log-normal x has the slope -1 - (ln x - mean)/sd^2 in ln x.
    """
    handle = gaussian_process(layout)
    at = [handle.log_likelihood(np.full((1, layout.b + 2), x), gradient=True, prior=True)[1] for x in (0.0, 1.0)]
    precision = at[0][0] - at[1][0]
    return (1.0 + at[0][0]) / precision, precision**-0.5


def measure(name: str, n: int, starts: int, threads: int) -> dict[str, Any]:
    """A refit of ours, then the long search on the same log posterior within the same bounds."""
    layout, U, y = data(name, n)
    handle = gaussian_process(layout, n_threads=threads)
    handle.append(U, y[:, None])
    first = handle.theta[0]
    ours = float(handle.refit().log_posterior[0])
    b = layout.b
    box = np.log([BOUNDS["lengthscale"]] * b + [BOUNDS["variance"], BOUNDS["noise"]])

    bounds = [(float(low), float(high)) for low, high in box]

    def loss(theta: Any) -> tuple[float, Any]:
        try:
            value, slope = handle.log_likelihood(theta[None, :], gradient=True, prior=True)
        except NumericalError:
            return 1e25, np.zeros(len(theta))
        assert slope is not None
        return -float(value[0]), -slope[0]

    mean, sd = prior_of_logarithms(layout)
    rng = np.random.default_rng(1)
    reached = []
    for start in range(starts):
        # The default start, then draws from the prior of the parameters' logarithms.
        x = np.clip(first if start == 0 else rng.normal(mean, sd), box[:, 0], box[:, 1])
        found = minimize(
            loss, x, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500, "ftol": 1e-12, "gtol": 1e-5}
        )
        reached.append(-float(found.fun))
    return {"ours": ours, "best": max(reached), "starts": reached, "b": int(b)}


def _units(quick: bool) -> list[Unit]:
    sets, starts = (SETS[:1], 2) if quick else (SETS, STARTS)
    return [
        Unit(f"{name}-n{n}", "hpo_fast_bench.parts.fit:measure", {"name": name, "n": n, "starts": starts})
        for name, n in sets
    ]


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows, behind = [], []
    for key, result in results.items():
        behind.append(result["best"] - result["ours"])
        rows.append(Row(key, {"ours": result["ours"], "best of 20": result["best"], "nats behind": behind[-1]}))
    middle = float(np.median(behind))
    rows.append(
        Row("log posterior after a refit, median", {"nats behind": middle}, f"<= {MOST_NATS}", middle <= MOST_NATS)
    )
    return rows


PART = Part(
    "fit",
    "log posterior after a refit against the best of 20 starts of SciPy's L-BFGS-B",
    _units,
    _rows,
    note="A refit from the default start; negative: ours is above the best of the 20.",
)
