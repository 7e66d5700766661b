"""The history that all timings use: scrambled Sobol points and a shifted sum of four anisotropic Gaussian bumps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpo_fast import Float, Space

Array = npt.NDArray[np.float64]
NOISE = 0.01
ROWS_AT_ONCE = 4096  # points valued together: a million at once would need gigabytes


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

    @property
    def n(self) -> int:
        return len(self.y)

    @property
    def standard(self) -> Array:
        """y of mean 0 and standard deviation 1."""
        return (self.y - self.y.mean()) / self.y.std()

    def columns(self) -> dict[str, Array]:
        """The points as a mapping name -> array."""
        return {name: self.U[:, j] for j, name in enumerate(self.space.names)}


def bumps(d: int, seed: int) -> Callable[[Array], Array]:
    """Points (m, d) -> values (m,): four Gaussian bumps turned down, wider where d is larger: no needles."""
    rng = np.random.default_rng([seed, d])
    centres = rng.uniform(0.15, 0.85, (4, d))
    widths = np.exp(rng.uniform(np.log(0.15), np.log(0.8), (4, d))) * np.sqrt(d / 2)
    heights = np.array([1.0, 0.8, 0.6, 0.5])

    def f(U: Array) -> Array:
        y = np.empty(len(U))
        for i in range(0, len(U), ROWS_AT_ONCE):
            rows = U[i : i + ROWS_AT_ONCE, None, :]
            y[i : i + ROWS_AT_ONCE] = -np.exp(-0.5 * np.sum(((rows - centres) / widths) ** 2, axis=2)) @ heights
        return y

    return f


def history(n: int, d: int, seed: int) -> History:
    """n told points in d dimensions; the same for the same arguments on every machine."""
    from scipy.stats import qmc

    sobol = qmc.Sobol(d, scramble=True, rng=np.random.default_rng([seed, n, d]))
    U = np.ascontiguousarray(sobol.random_base2(int(np.ceil(np.log2(max(n, 2)))))[:n])
    f = bumps(d, seed)
    y = f(U) + NOISE * np.random.default_rng([seed, n, d, 1]).standard_normal(n)
    return History(Space({f"x{j}": Float(0.0, 1.0) for j in range(d)}), U, y, lambda u: float(f(u[None, :])[0]))
