"""Normalised regret and the bound that "not worse" means."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
CLIP = 2.0
NOT_WORSE = 0.02


def normalised_regret(best: Array, optimum: float, random_median: float) -> Array:
    """(best - f*)/(median of random search - f*), in [0, 2]: 0 is the optimum, 1 what random search reaches.

    Args:
        best: the best noise-free values found, any shape.
        optimum: f*.
        random_median: of random search at the same budget.
    """
    return np.asarray(np.clip((best - optimum) / (random_median - optimum), 0.0, CLIP))


def upper_bound(difference: Array, draws: int = 10_000, level: float = 0.95, seed: int = 0) -> float:
    """The bootstrap's upper bound of the mean of `difference`, (problems, seeds), ours - theirs of paired seeds.

    Problems are drawn with replacement, then, for each one drawn, its seeds.
    """
    rng = np.random.default_rng(seed)
    problems, seeds = difference.shape
    rows = rng.integers(problems, size=(draws, problems, 1))
    columns = rng.integers(seeds, size=(draws, problems, seeds))
    return float(np.quantile(difference[rows, columns].mean(axis=(1, 2)), level))
