"""The Gaussian process in plain NumPy and SciPy, refactorised every time: the executable specification.

Written to be read beside the formulas of `base.py`; the compiled backend is tested against it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

from hpo_fast.backends.base import EXACT_BELOW, KERNELS, PI_MARGIN, SURROGATES, Array, Fit, Maximum, Utility
from hpo_fast.backends.reference_kernel import Kernel
from hpo_fast.backends.reference_local import Local, by_distance, in_turn
from hpo_fast.backends.reference_posterior import Posterior, condition
from hpo_fast.backends.reference_search import Evaluate, Search
from hpo_fast.backends.reference_utility import LOG_2PI, utility_value
from hpo_fast.backends.reference_warp import frozen
from hpo_fast.errors import NumericalError
from hpo_fast.space.layout import Layout

BEST, OPTIMISM = 50, 2.0  # told points, and standard deviations, that the value to improve on is taken from
BEST_OF_FIT = 4  # told points that a refit to the nearest is about
GAIN_A_PARAMETER = 2.0  # nats of log likelihood that it must gain for each entry of theta that may move
NOISE_MODE = -5.0  # ln of the mode of LogNormal(-4, 1)
LENGTHSCALE_MODE = float(np.exp(np.sqrt(2.0) - 3.0))  # 0.205: the mode of LogNormal(sqrt 2, sqrt 3)
# Below 0.025 a length scale sees no neighbour; a noise of 1e-6 is a standard deviation of 0.1 % of the values' spread.
BOUNDS = {"lengthscale": (0.025, 1e3), "variance": (1e-3, 1e3), "noise": (1e-6, 10.0)}
RAW_BOUNDS = {"lengthscale": (0.025, 1e3), "variance": (1e-6, 1e6), "noise": (1e-10, 1e3)}  # values in their own units


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
        surrogate: "exact", "vecchia" or "auto".
        exact_below: observations from which on "auto" is "vecchia".
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
        surrogate: str = "exact",
        exact_below: int = EXACT_BELOW,
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
        if surrogate not in SURROGATES:
            raise ValueError(f"surrogate must be one of {', '.join(SURROGATES)}, but got {surrogate!r}; choose one")
        if exact_below < 1:
            raise ValueError(f"exact_below must be a number of observations >= 1, but got {exact_below!r}; 1 is always")
        self._layout, self._kernel, self._standardise, self._mean = layout, Kernel(layout, kernel), standardise, mean
        self._prior, self._noise = prior, noise
        self._bounds = _merged_bounds(BOUNDS if standardise else RAW_BOUNDS, bounds)
        self._surrogate, self._exact_below = surrogate, exact_below
        self._U, self._y, self._known = np.empty((0, layout.d)), np.empty(0), np.empty(0)
        self._theta = self._prior_mode()
        self._fitted = 0  # observations told when theta was fitted, 0 where that is not known
        self._planned: GaussianProcess | None = None  # what it was when a refit was begun
        self._about_one_place = False  # whether that one is to the nearest
        self._renew(self._U, self._y, self._known, self._theta, 0)

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
    def regime(self) -> str:
        """Which model answers: "exact" or "vecchia"."""
        return "vecchia" if self._is_local(self.n) else "exact"

    @property
    def theta(self) -> Array:
        """(1, p) log parameters."""
        return self._theta[None, :].copy()

    @property
    def shift(self) -> Array:
        """(1,) in the units of Y."""
        return np.array([self._warp.shift])

    @property
    def scale(self) -> Array:
        """(1,) in the units of Y."""
        return np.array([self._warp.scale])

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
            self._fitted,
        )

    def truncate(self, n: int) -> None:
        """Forgets all observations after the first n."""
        if not 0 <= n <= self.n:
            raise ValueError(f"n must be between 0 and the {self.n} rows told, but got {n}; forget fewer rows")
        self._renew(self._U[:n], self._y[:n], self._known[:n], self._theta, self._fitted)
        if self._planned is not None and n < self._planned.n:
            self._planned = None

    def set_theta(self, theta: Array, n: int = 0) -> None:
        """Sets theta (1, p), fitted when n observations were told, and refactorises."""
        if n < 0:
            raise ValueError(f"n must be the number of observations told when theta was fitted, or 0, but got {n}")
        self._renew(self._U, self._y, self._known, self._parameters(theta), n)
        self._planned = None

    def _renew(self, U: Array, y: Array, known: Array, theta: Array, fitted: int) -> None:
        local = self._is_local(len(y))
        w, warp, base = frozen(y, self._begins_with(len(y), fitted) if local else len(y), self._standardise)
        v = self._variances(known, warp.scale, theta)
        model = None if local else self._condition(U, w, v, theta)  # raises before anything is changed
        self._U, self._y, self._known, self._theta, self._fitted = U, y, known, theta, fitted
        self._w, self._warp, self._v, self._base = w, warp, v, base
        self._exact: Posterior | None = model
        self._local: Local | None = None  # made when it is needed

    def _is_local(self, n: int) -> bool:
        return n > 0 and (self._surrogate == "vecchia" or (self._surrogate == "auto" and n >= self._exact_below))

    def _begins_with(self, n: int, fitted: int) -> int:
        """With how many of n observations the local model's warp and sums begin."""
        if fitted > 0:
            return min(n, fitted)
        return min(n, self._exact_below) if self._surrogate == "auto" else n

    def _variances(self, known: Array, scale: float, theta: Array) -> Array:
        """v (n,): the noise of each row, in standardised units."""
        quantised = _quantised(scale)
        with np.errstate(over="ignore"):  # what is not finite is the guard's business
            return np.asarray(np.where(np.isnan(known), np.exp(theta[-1]), known / quantised / quantised))

    def _condition(self, U: Array, w: Array, v: Array, theta: Array) -> Posterior:
        return condition(self._kernel, theta, U, w, v, None if self._mean == "constant" else 0.0)

    def _model(self, U: Array | None, pending: Array | None = None) -> Posterior:
        """What answers at U (m, d) given `pending`; of the local model, with U None, that which was not told where."""
        pending = np.empty((0, self.d)) if pending is None else pending
        if self._exact is not None:
            if not len(pending):
                return self._exact
            # Believer rows: only the variance of this one counts.
            certain = np.full(len(pending), 1e-6 * np.exp(self._theta[-2]))
            return self._condition(
                np.concatenate([self._U, pending]),
                np.concatenate([self._w, np.zeros(len(pending))]),
                np.concatenate([self._v, certain]),
                self._theta,
            )
        local = self._many()
        return local.far(pending) if U is None else local.near(U, pending)

    def _many(self) -> Local:
        if self._local is None:
            constant = self._mean == "constant"
            self._local = Local(self._kernel, self._theta, self._U, self._w, self._v, self._base, constant)
        return self._local

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
        v = self._variances(self._known, self._warp.scale, theta)
        posterior = self._condition(self._U, self._w, v, theta)
        factor, U, alpha = posterior.factor, posterior.U, posterior.alpha
        r = len(alpha)
        if r == 0:
            return 0.0, np.zeros(len(theta))
        value = -0.5 * posterior.residual @ alpha - np.sum(np.log(np.diag(factor.L))) - 0.5 * r * LOG_2PI
        # d value = 1/2 tr(W dK), W = alpha alpha' - K^-1.
        W = np.outer(alpha, alpha) - cho_solve((factor.L, True), np.eye(r))
        K, h = self._kernel.covariance(theta, self._kernel.distance(theta, U, U))
        slope = np.empty(len(theta))
        for j in range(self._layout.b):
            slope[j] = 0.5 * np.sum(W * h * self._kernel.block_distance(j, U, U)) * np.exp(-2.0 * theta[j])
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

    def begin_refit(self, n: int, nearest: int = 0) -> None:
        """Plans a refit on the first n observations, or those nearest to the best of them."""
        if not 0 <= n <= self.n:
            raise ValueError(f"n must be between 0 and the {self.n} rows told, but got {n}; fit to fewer rows")
        if nearest < 0:
            raise ValueError(f"nearest must be a number of rows, or 0 for all, but got {nearest}; leave it out")
        part = copy.copy(self)  # a verb makes new arrays, so that the two share none that changes
        part._surrogate = "vecchia"  # no model of its own, so that nothing can fail under theta as it is
        part._renew(self._U[:n], self._y[:n], self._known[:n], self._theta, n)
        if 0 < nearest < n:  # what the likelihood reads
            best = part._U[np.argsort(part._w, kind="stable")[:BEST_OF_FIT]]
            found = [by_distance(self._kernel, self._theta, part._U, u[None, :])[:nearest].tolist() for u in best]
            rows = sorted(in_turn(found, nearest, []))
            if rows:
                part._U, part._w, part._known = part._U[rows], part._w[rows], part._known[rows]
                part._about_one_place = True
        self._planned = part

    def advance_refit(self, work: float) -> float:
        """Does nothing: the reference works in one step."""
        return 0.0

    def refit_work(self, n: int, nearest: int = 0) -> float:
        """Some 60 evaluations of the likelihood, and the new factor."""
        return 60.0 * (min(n, nearest) if nearest else n) ** 3 + n**3

    def finish_refit(self) -> Fit:
        """Does the refit that was planned."""
        if self._planned is None:
            raise ValueError("a refit must be begun before it is finished; call begin_refit")
        part, self._planned = self._planned, None
        moved = copy.copy(self)
        if part.n:
            moved._renew(self._U, self._y, self._known, part._most_probable(), part.n)
        likelihood = moved._evidence(moved._theta)[0] if moved._exact else moved._many().log_likelihood
        self.__dict__.update(moved.__dict__)
        prior = 0.0 if self._prior is None else self._log_prior(self._theta)[0]
        return Fit(self.theta, np.array([likelihood]), np.array([likelihood + prior]))

    def _most_probable(self, anyway: bool = False) -> Array:
        """Theta at the maximum of the log posterior; of the nearest, as it is unless they gain enough, or `anyway`."""
        best: Array | None = None
        best_value = -np.inf
        b = self._layout.b
        free = b + 2 if self._noise is None else b + 1
        names = ["lengthscale"] * b + ["variance", "noise"]
        box = np.log([self._bounds[name] for name in names])[:free]
        if self._about_one_place:  # what they say nothing about stays
            same = []
            for j, c in enumerate(self._kernel.columns):
                if np.all((self._U[:, c] == self._U[0, c]) | (np.isnan(self._U[:, c]) & np.isnan(self._U[0, c]))):
                    box[j] = self._theta[j]
                    same.append(j)
            if len(same) == b:  # one point
                box[b] = self._theta[b]
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
        least = GAIN_A_PARAMETER * np.count_nonzero(box[:, 0] < box[:, 1])
        if self._about_one_place and not anyway and not self._gain(best) > least:
            return self._theta
        return best

    def _gain(self, theta: Array) -> float:
        """What the log likelihood gains over theta as it is."""
        try:
            return self._evidence(theta)[0] - self._evidence(self._theta)[0]
        except NumericalError:  # of theta as it is: the other one was found by its own
            return np.inf

    def _log_posterior(self, theta: Array) -> tuple[float, Array]:
        value, slope = self.log_likelihood(theta[None, :], gradient=True, prior=True)
        assert slope is not None
        return float(value[0]), slope[0]

    # -- the posterior -----------------------------------------------------------------------------------------------

    def predict(self, U: Array, gradient: bool = False) -> tuple[Array, ...]:
        """The posterior at U (m, d), in warped, standardised units."""
        U = self._points("U", U)
        if self._exact is not None:
            mean, var, d_mean, d_var = self._exact.predict(U, gradient)
        else:
            mean, var = np.empty(len(U)), np.empty(len(U))
            d_mean, d_var = (np.empty(U.shape), np.empty(U.shape)) if gradient else (None, None)
            for i, u in enumerate(U):  # each point has neighbours of its own
                near = self._model(u[None, :])
                mean[i : i + 1], var[i : i + 1], slope, d_slope = near.predict(u[None, :], gradient)
                if d_mean is not None and d_var is not None:
                    d_mean[i], d_var[i] = slope, d_slope
        if d_mean is None or d_var is None:
            return mean[:, None], var[:, None]
        return mean[:, None], var[:, None], d_mean[:, None, :], d_var[:, None, :]

    def sample(self, U: Array, n_samples: int, key: tuple[int, int]) -> Array:
        """Draws from the joint posterior of the function at U."""
        U = self._points("U", U)
        if n_samples < 0:
            raise ValueError(f"n_samples must be >= 0, but got {n_samples}; ask for at least none")
        mean, covariance = self._model(U).joint(U)
        # A root by eigenvectors: points that coincide, or were told, leave the covariance singular.
        values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        z = _generator(key).standard_normal((n_samples, len(U)))
        return np.ascontiguousarray((mean + z @ root.T)[:, :, None])

    # -- the utility -------------------------------------------------------------------------------------------------

    def score(self, utility: Utility, U: Array) -> Array:
        """The utility (m,) of the points U."""
        mean, var = self.predict(U)
        return utility_value(utility, mean[:, 0], var[:, 0], self.incumbent() - _margin(utility))[0]

    def incumbent(self) -> float:
        """The value to improve on."""
        rows = np.flatnonzero(np.isfinite(self._y))
        rows = rows[np.argsort(self._y[rows], kind="stable")[:BEST]]
        if not len(rows):
            return 0.0
        if self._exact is None:
            mean, var, _, _ = self._model(None).predict(self._U[rows])
            known = self._many().has(rows) | (var <= self._v[rows])
            mean, var = mean[known], var[known]
        else:
            factor = self._exact.factor
            place = factor.group[rows]
            v = self._v[factor.rows[place]]
            inverse = np.sum(solve_triangular(factor.L, np.eye(len(factor.L))[:, place], lower=True) ** 2, axis=0)
            mean = self._exact.mu + self._exact.residual[place] - v * self._exact.alpha[place]
            var = np.maximum(v * (1.0 - v * inverse), 0.0)
        told = float(np.min(self._w[rows]))
        return max(told, float(np.min(mean - OPTIMISM * np.sqrt(var)))) if len(mean) else told

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
        by_mean = self._U[np.argsort(self._model(None).predict(self._U)[0], kind="stable")]
        incumbent = self.incumbent()
        avoid = self._U if avoid_known else self._U[~np.isfinite(self._y)]
        chosen: list[tuple[Array, float, float, float]] = []
        optima = np.empty((0, self.d))
        for i in range(q):
            believed = self._model(waiting).predict(waiting)[0]
            best = min(incumbent, float(np.min(believed, initial=np.inf))) - _margin(utility)
            answer, evaluate = self._given(utility, None, waiting, best)
            found = search.run(evaluate, by_mean, starts, waiting, avoid)
            if self._exact is None:
                looked = search.free(np.concatenate([search.chosen[None, :], found]), waiting, avoid)[:1]
                answer, evaluate = self._given(utility, looked, waiting, best)
                found = search.refine(evaluate, looked, found, waiting, avoid)
            optima = found if i == 0 else optima
            u = search.chosen
            mean, var = answer(u[None, :])
            chosen.append((u, evaluate(u[None, :], False)[0][0], mean, var))
            waiting = np.concatenate([waiting, u[None, :]])
        U, values, means, variances = (np.array(column) for column in zip(*chosen, strict=True))
        return Maximum(U, values, means[:, None], variances[:, None], optima)

    def _given(
        self, utility: Utility, looked: Array | None, pending: Array, best: float
    ) -> tuple[Callable[[Array], tuple[float, float]], Evaluate]:
        """Mean and variance, and the utility, of the model that was told to look at `looked`, given `pending`."""
        told, given = self._model(looked), self._model(looked, pending)

        def answer(u: Array) -> tuple[float, float]:
            return float(told.predict(u)[0][0]), float(given.predict(u)[1][0])

        def evaluate(U: Array, gradient: bool) -> tuple[Array, Array | None]:
            mean, _, d_mean, _ = told.predict(U, gradient)
            _, var, _, d_var = given.predict(U, gradient)
            value, by_mean, by_var = utility_value(utility, mean, var, best)
            if d_mean is None or d_var is None:
                return value, None
            return value, by_mean[:, None] * d_mean + by_var[:, None] * d_var

        return answer, evaluate

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
        if np.any(np.isnan(U[:, self._kernel.columns[~self._kernel.conditional]])):
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


def _generator(key: tuple[int, int]) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
