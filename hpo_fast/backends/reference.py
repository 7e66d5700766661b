"""The Gaussian process in plain NumPy and SciPy, refactorised every time: the executable specification.

Written to be read beside the formulas of `base.py`; the compiled backend is tested against it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

from hpo_fast.backends.base import KERNELS, PI_MARGIN, Array, Fit, Maximum, Utility
from hpo_fast.backends.reference_factor import Factor, factorise
from hpo_fast.backends.reference_search import Search
from hpo_fast.backends.reference_utility import LOG_2PI, utility_value
from hpo_fast.backends.reference_warp import plain, warp
from hpo_fast.errors import NumericalError
from hpo_fast.space.layout import CATEGORICAL, Layout

VAR_FLOOR = 1e-12  # times s2
NOISE_MODE = -5.0  # ln of the mode of LogNormal(-4, 1)
LENGTHSCALE_MODE = float(np.exp(np.sqrt(2.0) - 3.0))  # 0.205: the mode of LogNormal(sqrt 2, sqrt 3)
# Below 0.025 a length scale sees no neighbour; a noise of 1e-6 is a standard deviation of 0.1 % of the values' spread.
BOUNDS = {"lengthscale": (0.025, 1e3), "variance": (1e-3, 1e3), "noise": (1e-6, 10.0)}
RAW_BOUNDS = {"lengthscale": (0.025, 1e3), "variance": (1e-6, 1e6), "noise": (1e-10, 1e3)}  # values in their own units


@dataclass(frozen=True, eq=False)
class _Posterior:
    """What `predict` needs."""

    factor: Factor
    U: Array  # (r, d)
    alpha: Array  # (r,)
    mu: float
    residual: Array  # (r,) w - mu


class GaussianProcess:
    """A Surrogate in plain NumPy. See `hpo_fast.backends.base` for the meaning of every verb.

    Args:
        layout: the columns of a point.
        outputs: number of outputs; 1.
        kernel: "matern52", "matern32" or "rbf".
        standardise: whether values are warped and standardised, or taken as they are.
        mean: "constant" or "zero".
        noise: the noise variance, in standardised units, >= 0; None: inferred.
        prior: "default" or None.
        bounds: of "lengthscale", "variance" and "noise" in `refit`, each a pair of positive numbers.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        outputs: int = 1,
        kernel: str = "matern52",
        standardise: bool = True,
        mean: str = "constant",
        noise: float | None = None,
        prior: str | None = "default",
        bounds: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        if outputs != 1:
            raise ValueError(f"outputs must be 1 in this version, but got {outputs!r}; use one handle an output")
        if kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, but got {kernel!r}; choose one of them")
        if mean not in ("constant", "zero"):
            raise ValueError(f'mean must be "constant" or "zero", but got {mean!r}; choose one of them')
        if prior not in ("default", None):
            raise ValueError(f'prior must be "default" or None, but got {prior!r}; choose one of them')
        if noise is not None and not 0.0 <= noise < np.inf:
            raise ValueError(f"noise must be a finite variance >= 0 or None, but got {noise!r}; None infers it")
        self._layout, self._kernel, self._standardise, self._mean = layout, kernel, standardise, mean
        self._prior, self._noise = prior, noise
        self._bounds = _merged_bounds(BOUNDS if standardise else RAW_BOUNDS, bounds)
        self._columns = layout.start[:-1]
        self._conditional = np.isin(np.arange(layout.b), layout.cond_child)
        self._U, self._y, self._known = np.empty((0, layout.d)), np.empty(0), np.empty(0)
        self._theta = self._prior_mode()
        self._planned: GaussianProcess | None = None  # what it was when a refit was begun
        self._renew(self._U, self._y, self._known, self._theta)

    # -- what is told ------------------------------------------------------------------------------------------------

    @property
    def n(self) -> int:
        """Observations told."""
        return len(self._y)

    @property
    def d(self) -> int:
        """Columns of a point."""
        return int(self._layout.d)

    @property
    def k(self) -> int:
        """Outputs."""
        return 1

    @property
    def theta(self) -> Array:
        """(1, p) log parameters."""
        return self._theta[None, :].copy()

    @property
    def shift(self) -> Array:
        """(1,) in the units of Y."""
        return np.array([self._shift])

    @property
    def scale(self) -> Array:
        """(1,) in the units of Y."""
        return np.array([self._scale])

    def append(self, U: Array, Y: Array, noise: Array | None = None) -> None:
        """Adds q observations after those told."""
        U = self._points("U", U)
        Y = _matrix("Y", Y, (len(U), 1))
        known = np.full((len(U), 1), np.nan) if noise is None else _matrix("noise", noise, (len(U), 1))
        if np.any(np.isnan(Y) | (Y == -np.inf)):
            raise ValueError("Y must be finite, or +inf for a failed trial, but got NaN or -inf; leave that row out")
        if np.any(known < 0.0) or np.any(np.isinf(known)):
            raise ValueError("noise must hold finite variances >= 0, or NaN where it is inferred; correct that row")
        self._renew(
            np.concatenate([self._U, U]),
            np.concatenate([self._y, Y[:, 0]]),
            np.concatenate([self._known, known[:, 0]]),
            self._theta,
        )

    def truncate(self, n: int) -> None:
        """Forgets all observations after the first n."""
        if not 0 <= n <= self.n:
            raise ValueError(f"n must be between 0 and the {self.n} rows told, but got {n}; forget fewer rows")
        self._renew(self._U[:n], self._y[:n], self._known[:n], self._theta)
        if self._planned is not None and n < self._planned.n:
            self._planned = None

    def set_theta(self, theta: Array) -> None:
        """Sets theta (1, p) and refactorises."""
        self._renew(self._U, self._y, self._known, self._parameters(theta))
        self._planned = None

    def _renew(self, U: Array, y: Array, known: Array, theta: Array) -> None:
        w, shift, scale = warp(y) if self._standardise else (plain(y), 0.0, 1.0)
        posterior = self._condition(U, w, known, scale, theta)  # raises before anything is changed
        self._U, self._y, self._known, self._theta = U, y, known, theta
        self._w, self._shift, self._scale, self._posterior = w, shift, scale, posterior
        finite = np.isfinite(y)
        self._best = float(np.min(w[finite])) if np.any(finite) else 0.0

    # -- the covariance ----------------------------------------------------------------------------------------------

    def _block_distance(self, j: int, A: Array, B: Array) -> Array:
        """Squared distance of block j between A (m, d) and B (r, d), before the division by l^2."""
        a, b = A[:, self._columns[j], None], B[None, :, self._columns[j]]
        if self._layout.kind[j] == CATEGORICAL:
            return np.asarray(np.where(np.isnan(a), -1.0, a) != np.where(np.isnan(b), -1.0, b), dtype=np.float64)
        if not self._conditional[j]:
            return np.asarray((a - b) ** 2)
        (a, height_a), (b, height_b) = _embedded(a), _embedded(b)
        return np.asarray((a - b) ** 2 + (height_a - height_b) ** 2)

    def _distance(self, theta: Array, A: Array, B: Array) -> Array:
        r2 = np.zeros((len(A), len(B)))
        for j in range(self._layout.b):
            r2 += self._block_distance(j, A, B) * np.exp(-2.0 * theta[j])
        return r2

    def _covariance(self, theta: Array, r2: Array) -> tuple[Array, Array]:
        """k and h = -2 dk/d(r2)."""
        s2 = np.exp(theta[-2])
        if self._kernel == "matern52":
            t = np.sqrt(5.0 * r2)
            e = s2 * np.exp(-t)
            return (1.0 + t + t * t / 3.0) * e, 5.0 / 3.0 * (1.0 + t) * e
        if self._kernel == "matern32":
            t = np.sqrt(3.0 * r2)
            e = s2 * np.exp(-t)
            return (1.0 + t) * e, 3.0 * e
        e = s2 * np.exp(-0.5 * r2)
        return e, e

    def _variances(self, known: Array, scale: float, theta: Array) -> Array:
        """v (n,): the noise of each row, in standardised units."""
        quantised = _quantised(scale)
        return np.asarray(np.where(np.isnan(known), np.exp(theta[-1]), known / quantised / quantised))

    def _condition(self, U: Array, w: Array, known: Array, scale: float, theta: Array) -> _Posterior:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is the guard's business
            r2 = self._distance(theta, U, U)
            K, _ = self._covariance(theta, r2)
            v, s2 = self._variances(known, scale, theta), float(np.exp(theta[-2]))
        factor = factorise(r2, K, v, s2)
        r = len(factor.rows)
        w = np.bincount(factor.group, weights=w, minlength=r) / np.maximum(np.bincount(factor.group, minlength=r), 1)
        mu = 0.0
        if self._mean == "constant" and r:
            weight = cho_solve((factor.L, True), np.ones(r))
            mu = float(weight @ w / np.sum(weight))
        alpha = cho_solve((factor.L, True), w - mu) if r else np.empty(0)
        return _Posterior(factor, U[factor.rows], alpha, mu, w - mu)

    # -- the likelihood ----------------------------------------------------------------------------------------------

    def log_likelihood(self, theta: Array, gradient: bool = False, prior: bool = False) -> tuple[Array, Array | None]:
        """Evaluates the log marginal likelihood at another theta."""
        theta = self._parameters(theta)
        value, slope = self._evidence(theta)
        if prior and self._prior is not None:
            more, d_more = self._log_prior(theta)
            value, slope = value + more, slope + d_more
        return np.array([value]), slope[None, :] if gradient else None

    def _evidence(self, theta: Array) -> tuple[float, Array]:
        posterior = self._condition(self._U, self._w, self._known, self._scale, theta)
        factor, U, alpha = posterior.factor, posterior.U, posterior.alpha
        r = len(alpha)
        if r == 0:
            return 0.0, np.zeros(len(theta))
        value = -0.5 * posterior.residual @ alpha - np.sum(np.log(np.diag(factor.L))) - 0.5 * r * LOG_2PI
        # d value = 1/2 tr(W dK), W = alpha alpha' - K^-1.
        W = np.outer(alpha, alpha) - cho_solve((factor.L, True), np.eye(r))
        K, h = self._covariance(theta, self._distance(theta, U, U))
        slope = np.empty(len(theta))
        for j in range(self._layout.b):
            slope[j] = 0.5 * np.sum(W * h * self._block_distance(j, U, U)) * np.exp(-2.0 * theta[j])
        slope[-2] = 0.5 * np.sum(W * K) + 0.5 * np.diag(W) @ factor.jitter  # jitter is in units of s2
        inferred = np.isnan(self._known[factor.rows])
        slope[-1] = 0.5 * np.sum(np.diag(W)[inferred]) * np.exp(theta[-1]) if self._noise is None else 0.0
        return float(value), slope

    def _log_prior(self, theta: Array) -> tuple[float, Array]:
        """Log densities of the parameters themselves, with the derivative in their logarithms."""
        b = self._layout.b
        mu = np.r_[np.full(b, np.sqrt(2.0) + 0.5 * np.log(b)), 0.0, -4.0]
        variance = np.r_[np.full(b, 3.0), 1.0, 1.0]
        use = np.arange(b + 2) < (b + 2 if self._noise is None else b + 1)
        e = np.where(use, theta - mu, 0.0)
        each = -np.where(use, theta, 0.0) - 0.5 * np.log(variance) - 0.5 * LOG_2PI - 0.5 * e * e / variance
        return float(np.sum(each[use])), np.where(use, -1.0 - e / variance, 0.0)

    def refit(self) -> Fit:
        """Moves theta to the maximum of the log posterior."""
        self.begin_refit(self.n)
        return self.finish_refit()

    def begin_refit(self, n: int) -> None:
        """Plans a refit on the first n observations."""
        if not 0 <= n <= self.n:
            raise ValueError(f"n must be between 0 and the {self.n} rows told, but got {n}; fit to fewer rows")
        part = copy.copy(self)  # a verb makes new arrays, so that the two share none that changes
        part._renew(self._U[:n], self._y[:n], self._known[:n], self._theta)
        self._planned = part

    def advance_refit(self, work: float) -> float:
        """Does nothing: the reference works in one step."""
        return 0.0

    def refit_work(self, n: int) -> float:
        """Some 60 evaluations of the likelihood."""
        return 60.0 * n**3

    def finish_refit(self) -> Fit:
        """Does the refit that was planned."""
        if self._planned is None:
            raise ValueError("a refit must be begun before it is finished; call begin_refit")
        part, self._planned = self._planned, None
        if part.n:
            self._renew(self._U, self._y, self._known, part._most_probable())
        likelihood, _ = self._evidence(self._theta)
        return Fit(self.theta, np.array([likelihood]), np.array([self._log_posterior(self._theta)[0]]))

    def _most_probable(self) -> Array:
        """Theta at the maximum of the log posterior."""
        best: Array | None = None
        best_value = -np.inf
        b = self._layout.b
        free = b + 2 if self._noise is None else b + 1
        names = ["lengthscale"] * b + ["variance", "noise"]
        box = np.log([self._bounds[name] for name in names])[:free]
        bounds: list[tuple[float, float]] = [(low, high) for low, high in box.tolist()]

        def loss(x: Array) -> tuple[float, Array]:
            try:
                value, slope = self._log_posterior(np.r_[x, self._theta[free:]])
            except NumericalError:
                return 1e25, np.zeros(free)
            return -value, -slope[:free]

        for start in (self._theta, self._prior_mode()):
            x = np.clip(start[:free], box[:, 0], box[:, 1])
            result = minimize(loss, x, jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-3})
            if result.fun < 1e25 and -result.fun > best_value:
                best, best_value = np.r_[result.x, self._theta[free:]], -result.fun
        if best is None:
            raise NumericalError("a refit needs a finite log posterior, but no start has one; raise the noise")
        return best

    def _log_posterior(self, theta: Array) -> tuple[float, Array]:
        value, slope = self.log_likelihood(theta[None, :], gradient=True, prior=True)
        assert slope is not None
        return float(value[0]), slope[0]

    # -- the posterior -----------------------------------------------------------------------------------------------

    def predict(self, U: Array, gradient: bool = False) -> tuple[Array, ...]:
        """The posterior at U (m, d), in warped, standardised units."""
        U = self._points("U", U)
        mean, var, d_mean, d_var = self._predict(self._posterior, U, gradient)
        if d_mean is None or d_var is None:
            return mean[:, None], var[:, None]
        return mean[:, None], var[:, None], d_mean[:, None, :], d_var[:, None, :]

    def _predict(
        self, posterior: _Posterior, U: Array, gradient: bool
    ) -> tuple[Array, Array, Array | None, Array | None]:
        """Mean and variance (m,), and with `gradient` their derivatives (m, d)."""
        theta, L = self._theta, posterior.factor.L
        s2 = np.exp(theta[-2])
        K, h = self._covariance(theta, self._distance(theta, U, posterior.U))
        Vk = solve_triangular(L, K.T, lower=True) if len(L) else np.zeros((0, len(U)))
        mean = posterior.mu + K @ posterior.alpha
        var = np.maximum(s2 - np.sum(Vk * Vk, axis=0), VAR_FLOOR * s2)
        if not gradient:
            return mean, var, None, None
        weight = solve_triangular(L, Vk, lower=True, trans="T").T if len(L) else np.zeros((len(U), 0))  # K^-1 k
        d_mean, d_var = np.zeros(U.shape), np.zeros(U.shape)
        for j, c in enumerate(self._columns):
            if self._layout.kind[j] == CATEGORICAL:
                continue
            x, _ = _embedded(posterior.U[None, :, c])
            dK = np.where(np.isnan(U[:, c, None]), 0.0, -h * (U[:, c, None] - x)) * np.exp(-2.0 * theta[j])
            d_mean[:, c] = dK @ posterior.alpha
            d_var[:, c] = -2.0 * np.sum(weight * dK, axis=1)
        return mean, var, d_mean, d_var

    def sample(self, U: Array, n_samples: int, key: tuple[int, int]) -> Array:
        """Draws from the joint posterior of the function at U."""
        U = self._points("U", U)
        if n_samples < 0:
            raise ValueError(f"n_samples must be >= 0, but got {n_samples}; ask for at least none")
        posterior, L = self._posterior, self._posterior.factor.L
        K, _ = self._covariance(self._theta, self._distance(self._theta, posterior.U, U))
        mean = posterior.mu + K.T @ posterior.alpha
        cov, _ = self._covariance(self._theta, self._distance(self._theta, U, U))
        if len(L):
            Vk = solve_triangular(L, K, lower=True)
            cov = cov - Vk.T @ Vk
        # A root by eigenvectors: points that coincide, or were told, leave the covariance singular.
        values, vectors = np.linalg.eigh(0.5 * (cov + cov.T))
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        z = _generator(key).standard_normal((n_samples, len(U)))
        return np.ascontiguousarray((mean + z @ root.T)[:, :, None])

    # -- the utility -------------------------------------------------------------------------------------------------

    def score(self, utility: Utility, U: Array) -> Array:
        """The utility (m,) of the points U."""
        mean, var, _, _ = self._predict(self._posterior, self._points("U", U), False)
        return utility_value(utility, mean, var, self._best - _margin(utility))[0]

    def maximise(
        self,
        utility: Utility,
        q: int,
        pending: Array | None,
        key: tuple[int, int],
        starts: Array | None = None,
        avoid_known: bool = False,
        n_candidates: int = 2048,
        n_starts: int = 10,
    ) -> Maximum:
        """Searches for the q best points; `n_candidates` points are scored, and climbed from the best `n_starts`."""
        if q < 1:
            raise ValueError(f"q must be at least 1, but got {q}; ask for one point or more")
        waiting = np.empty((0, self.d)) if pending is None else self._points("pending", pending)
        starts = np.empty((0, self.d)) if starts is None else _matrix("starts", starts, (len(starts), self.d))
        search = Search(self._layout, _generator(key), n_candidates, n_starts)
        by_mean = self._U[np.argsort(self._predict(self._posterior, self._U, False)[0], kind="stable")]
        known = self._known / _quantised(self._scale) / _quantised(self._scale)  # standardised, as `certain` is
        certain = 1e-6 * np.exp(self._theta[-2])
        margin = _margin(utility)
        avoid = self._U if avoid_known else self._U[~np.isfinite(self._y)]
        chosen: list[tuple[Array, float, float, float]] = []
        optima = np.empty((0, self.d))
        for i in range(q):
            # Believer rows: only the factor grows; alpha and mu stay those of the told rows.
            n_waiting = len(waiting)
            given = self._condition(
                np.concatenate([self._U, waiting]),
                np.concatenate([self._w, np.zeros(n_waiting)]),
                np.concatenate([known, np.full(n_waiting, certain)]),
                1.0,
                self._theta,
            )
            believed, _, _, _ = self._predict(self._posterior, waiting, False)
            best = min(self._best, float(np.min(believed, initial=np.inf))) - margin

            def evaluate(
                U: Array, gradient: bool, given: _Posterior = given, best: float = best
            ) -> tuple[Array, Array | None]:
                mean, _, d_mean, _ = self._predict(self._posterior, U, gradient)
                _, var, _, d_var = self._predict(given, U, gradient)
                value, by_mean_, by_var = utility_value(utility, mean, var, best)
                if d_mean is None or d_var is None:
                    return value, None
                return value, by_mean_[:, None] * d_mean + by_var[:, None] * d_var

            found = search.run(evaluate, by_mean, starts, waiting, avoid)
            optima = found if i == 0 else optima
            u = search.chosen
            value, _ = evaluate(u[None, :], False)
            mean, _, _, _ = self._predict(self._posterior, u[None, :], False)
            _, var, _, _ = self._predict(given, u[None, :], False)
            chosen.append((u, value[0], mean[0], var[0]))
            waiting = np.concatenate([waiting, u[None, :]])
        U, values, means, variances = (np.array(column) for column in zip(*chosen, strict=True))
        return Maximum(U, values, means[:, None], variances[:, None], optima)

    # -- arguments ---------------------------------------------------------------------------------------------------

    def _prior_mode(self) -> Array:
        b = self._layout.b
        theta = np.r_[np.full(b, np.log(LENGTHSCALE_MODE) + 0.5 * np.log(b)), 0.0, NOISE_MODE]
        return self._with_noise(theta)

    def _with_noise(self, theta: Array) -> Array:
        if self._noise is not None:
            theta[-1] = np.log(self._noise) if self._noise > 0.0 else -np.inf
        return theta

    def _parameters(self, theta: Array) -> Array:
        p = self._layout.b + 2
        row = self._with_noise(_matrix("theta", theta, (1, p))[0].copy())
        if not np.all(np.isfinite(row[: p if self._noise is None else p - 1])):
            raise ValueError("theta must hold finite logarithms, but got NaN or an infinity; correct that entry")
        return row

    def _points(self, name: str, U: Array) -> Array:
        U = _matrix(name, U, (len(U), self.d))
        if np.any(np.isinf(U)):
            raise ValueError(f"{name} must hold finite codes, but got an infinity; correct that row")
        if np.any(np.isnan(U[:, self._columns[~self._conditional]])):
            raise ValueError(f"{name} must have a code in every block without conditions, but got NaN; give one")
        return U


def _margin(utility: Utility) -> float:
    return PI_MARGIN if utility.kind in ("pi", "log_pi") else 0.0


def _quantised(scale: float) -> float:
    return float(2.0 ** (np.rint(8.0 * np.log2(scale)) / 8.0))


def _merged_bounds(
    default: Mapping[str, tuple[float, float]], given: Mapping[str, tuple[float, float]] | None
) -> dict[str, tuple[float, float]]:
    bounds = dict(default)
    for name, (low, high) in (given or {}).items():
        if name not in default:
            raise ValueError(f"bounds must name {', '.join(default)}, but got {name!r}; use these names")
        if not 0.0 < low <= high < np.inf:
            raise ValueError(
                f"bounds of {name} must be 0 < low <= high < inf, but got ({low!r}, {high!r}); correct them"
            )
        bounds[name] = (float(low), float(high))
    return bounds


def _matrix(name: str, value: Array, shape: tuple[int, int]) -> Array:
    """A copy, so that nobody else can change it."""
    matrix = np.array(value, dtype=np.float64, order="C")
    if matrix.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, but got {matrix.shape}; reshape it")
    return matrix


def _embedded(code: Array) -> tuple[Array, Array]:
    """Where a number stands: itself and the height 1/2, or 1/2 and the height 0 where it does not exist."""
    missing = np.isnan(code)
    return np.where(missing, 0.5, code), np.where(missing, 0.0, 0.5)


def _generator(key: tuple[int, int]) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
