"""An objective and a space for the command line, from the folder of this file:

hpo-fast optimize train.py:objective --space train.py:space --trials 40 --storage train.db
"""

import numpy as np

import hpo_fast as hpo

space = hpo.Space(
    degree=hpo.Int(1, 12),
    penalty=hpo.Categorical(["none", "ridge"]),
    strength=hpo.Float(1e-8, 1e2, log=True).when(penalty="ridge"),
)

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(-1.0, 1.0, 60))
y = np.sin(4.0 * x) + 0.2 * rng.standard_normal(60)
held_out = np.arange(60) % 3 == 0


def objective(trial):
    """Mean squared error on held-out points of a polynomial that is fitted to the others."""
    A = np.polynomial.chebyshev.chebvander(x, trial["degree"])
    fit, rows = A[~held_out], trial.get("strength", 0.0) * np.eye(A.shape[1])
    weights = np.linalg.lstsq(fit.T @ fit + rows, fit.T @ y[~held_out], rcond=None)[0]
    return float(np.mean((A[held_out] @ weights - y[held_out]) ** 2))
