"""The surrogate on its own: a Gaussian process over numbers, in the units of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from hpo_fast.backends import gaussian_process
from hpo_fast.space import Float, Space

Array = npt.NDArray[np.float64]


class GaussianProcess:
    """Regression with a Gaussian process that keeps its factor: a new observation costs O(n^2).

    One output; y is neither warped nor standardised, and every variance is in units of y squared. Parameters
    theta = [ln l_1 .. ln l_d, ln s2, ln noise]: length scales, output variance, noise variance. The default prior and
    the default start suit inputs of about unit range and values of about unit variance.

    Args:
        d: columns of U, >= 1.
        kernel: "matern52", "matern32" or "rbf", each with a length scale a column.
        mean: "constant" (fitted in closed form) or "zero".
        noise: a fixed noise variance >= 0; None: inferred by `refit`.
        prior: "default": l ~ LogNormal(sqrt 2 + 1/2 ln d, sqrt 3), s2 ~ LogNormal(0, 1), noise ~ LogNormal(-4, 1);
            None: maximum likelihood.
        bounds: {"lengthscale": (low, high), "variance": (low, high), "noise": (low, high)} of `refit`, each 0 < low <=
            high; what is left out keeps its default.
        n_threads: threads of the compiled core, 1 to 1024; None: HPO_FAST_NUM_THREADS, or one a core.
        backend: "auto" and "cpu" are the compiled core, "reference" is plain NumPy.

    Raises:
        ValueError: an argument out of its range.
        BackendUnavailable: an unknown backend, or one that this installation lacks.
    """

    def __init__(
        self,
        d: int,
        kernel: str = "matern52",
        *,
        mean: str = "constant",
        noise: float | None = None,
        prior: str | None = "default",
        bounds: Mapping[str, tuple[float, float]] | None = None,
        n_threads: int | None = None,
        backend: str = "auto",
    ) -> None:
        if isinstance(d, bool) or not isinstance(d, int | np.integer) or d < 1:
            raise ValueError(f"d must be an integer >= 1, but got {d!r}; give the number of columns of U")
        self._handle = gaussian_process(
            Space({f"x{j}": Float(0.0, 1.0) for j in range(d)}).layout,
            kernel=kernel,
            standardise=False,
            mean=mean,
            noise=noise,
            prior=prior,
            bounds=bounds,
            n_threads=n_threads,
            backend=backend,
        )

    @property
    def n(self) -> int:
        """Observations told."""
        return self._handle.n

    @property
    def d(self) -> int:
        """Columns of U."""
        return self._handle.d

    @property
    def theta(self) -> Array:
        """(d + 2,) log parameters; setting them refactorises, O(n^3). A fixed noise keeps its entry."""
        theta: Array = self._handle.theta[0]
        return theta

    @theta.setter
    def theta(self, theta: npt.ArrayLike) -> None:
        self._handle.set_theta(self._parameters(theta))

    def append(self, U: npt.ArrayLike, y: npt.ArrayLike, noise: npt.ArrayLike | None = None) -> None:
        """Adds q observations.

        Args:
            U: (q, d) finite inputs, of any range up to 1e150 length scales.
            y: (q,) finite values.
            noise: (q,) known noise variances >= 0, NaN where it is the model's own; None for all. A number counts for
                every row.

        Raises:
            ValueError: wrong shape, or a value that is not finite.
            NumericalError: the covariance is not positive definite, even with jitter; the object is unchanged.

        A bulk, half of all rows then told and 1,000 in all or more, leaves the covariance, and so its NumericalError
        and its O(n^3), to the first method that needs it: rows that have none are then to be taken back by `truncate`.

        Cost: O(q n^2).
        """
        points = self._points(U)
        values = np.array(y, dtype=np.float64, order="C")
        if values.shape != (len(points),):
            raise ValueError(f"y must have one value a row of U, ({len(points)},), but got {values.shape}; reshape it")
        if not np.all(np.isfinite(values)):
            raise ValueError("y must hold finite values, but got NaN or an infinity; leave that row out")
        known = None
        if noise is not None:
            given = np.asarray(noise, dtype=np.float64)
            if given.shape not in ((), (len(points),)):
                raise ValueError(f"noise must be a number or ({len(points)},), but got {given.shape}; reshape it")
            known = np.full((len(points), 1), given[..., None])
        self._handle.append(points, values[:, None], known)

    def truncate(self, n: int) -> None:
        """Forgets all observations after the first n, 0 <= n <= self.n.

        Raises:
            ValueError: n out of range.
        """
        self._handle.truncate(n)

    def refit(self) -> float:
        """Moves theta to the maximum of the log posterior (of the log likelihood with prior=None).

        Returns:
            the log posterior reached, in nats.

        Raises:
            NumericalError: no start gave a finite log posterior.

        Cost: O(n^3) an evaluation, some 20 to 100 of them.
        """
        return float(self._handle.refit().log_posterior[0])

    @overload
    def predict(self, U: npt.ArrayLike, gradient: Literal[False] = False) -> tuple[Array, Array]: ...

    @overload
    def predict(self, U: npt.ArrayLike, gradient: Literal[True]) -> tuple[Array, Array, Array, Array]: ...

    def predict(self, U: npt.ArrayLike, gradient: bool = False) -> tuple[Array, ...]:
        """The posterior mean and variance (m,) of the function at U (m, d), without the noise.

        Args:
            U: (m, d) finite inputs.
            gradient: whether d_mean and d_var (m, d) are wanted as well.

        Cost: O(m n^2).
        """
        return tuple(np.ascontiguousarray(part[:, 0]) for part in self._handle.predict(self._points(U), gradient))

    def sample(self, U: npt.ArrayLike, n_samples: int, seed: int) -> Array:
        """Draws (n_samples, m) from the joint posterior of the function at U (m, d), without the noise.

        Args:
            U: (m, d) finite inputs.
            n_samples: number of draws, >= 0.
            seed: integer in [0, 2**63); equal seeds give equal draws.

        Raises:
            ValueError: wrong shape, n_samples < 0, or a seed out of its range.

        Cost: O(m n^2 + m^2 n + m^3).
        """
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
            raise ValueError(f"seed must be an integer >= 0 and < 2**63, but got {seed!r}; take another one")
        return np.ascontiguousarray(self._handle.sample(self._points(U), n_samples, (seed, 0))[:, :, 0])

    def log_marginal_likelihood(self, theta: npt.ArrayLike) -> tuple[float, Array]:
        """Evaluates the log marginal likelihood at theta (d + 2,), without the prior; the object stays as it is.

        Returns:
            nats, and the gradient (d + 2,) with respect to theta.

        Raises:
            ValueError: wrong shape or an entry that is not finite.
            NumericalError: the covariance is not positive definite, even with jitter.

        Cost: O(n^3 + n^2 d).
        """
        value, gradient = self._handle.log_likelihood(self._parameters(theta), gradient=True)
        assert gradient is not None
        return float(value[0]), gradient[0]

    def __repr__(self) -> str:
        return f"GaussianProcess(d={self.d}, n={self.n})"

    def _points(self, U: npt.ArrayLike) -> Array:
        points = np.ascontiguousarray(U, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != self.d:
            raise ValueError(f"U must have shape (rows, {self.d}), but got {_shape(U)}; reshape it")
        return points

    def _parameters(self, theta: npt.ArrayLike) -> Array:
        row = np.ascontiguousarray(theta, dtype=np.float64)
        if row.shape != (self.d + 2,):
            raise ValueError(f"theta must have shape ({self.d + 2},), but got {_shape(theta)}; reshape it")
        return row[None, :]


def _shape(value: Any) -> tuple[int, ...]:
    return np.shape(value)
