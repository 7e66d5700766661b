"""The history that all timings use: scrambled Sobol points and a shifted sum of four anisotropic Gaussian bumps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpo_fast import Float, Space

Array = npt.NDArray[np.float64]
NOISE = 0.01


@dataclass(frozen=True, slots=True)
class History:
    """What both sides are told before the clock starts.

    Attributes:
        space: d parameters x0, x1, .. in [0, 1].
        U: (n, d) points.
        y: (n,) values with noise.
        f: (d,) -> the value without noise.
    """

    space: Space
    U: Array
    y: Array
    f: Callable[[Array], float]

    def columns(self) -> dict[str, Array]:
        """The points as a mapping name -> array."""
        return {name: self.U[:, j] for j, name in enumerate(self.space.names)}


def bumps(d: int, seed: int) -> Callable[[Array], float]:
    """Four Gaussian bumps turned down; a width grows with the root of d, so that none is a needle."""
    rng = np.random.default_rng([seed, d])
    centres = rng.uniform(0.15, 0.85, (4, d))
    widths = np.exp(rng.uniform(np.log(0.15), np.log(0.8), (4, d))) * np.sqrt(d / 2)
    heights = np.array([1.0, 0.8, 0.6, 0.5])

    def f(u: Array) -> float:
        return float(-heights @ np.exp(-0.5 * np.sum(((u - centres) / widths) ** 2, axis=1)))

    return f


def history(n: int, d: int, seed: int) -> History:
    """n told points in d dimensions; the same for the same arguments on every machine."""
    from scipy.stats import qmc

    sobol = qmc.Sobol(d, scramble=True, rng=np.random.default_rng([seed, n, d]))
    U = sobol.random_base2(int(np.ceil(np.log2(max(n, 2)))))[:n]
    f = bumps(d, seed)
    noise = NOISE * np.random.default_rng([seed, n, d, 1]).standard_normal(n)
    y = np.array([f(u) for u in U]) + noise
    return History(Space({f"x{j}": Float(0.0, 1.0) for j in range(d)}), np.ascontiguousarray(U), y, f)
