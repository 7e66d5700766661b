"""The handle of a Gaussian process surrogate: the contract that every backend keeps.

A backend sees arrays and one Layout, never a Space, a Trial or a dict. Letters: `n` observations told, `d` columns of
the unit cube, `b` blocks of the layout (one a parameter), `k` outputs, `p` = b + 2 kernel parameters, `q` points asked
or told at once, `m` points evaluated, `s` starts. All arrays are C-contiguous float64 (others are converted);
read-only ones are accepted and none is changed. A verb that raises leaves its handle as it was, but for a refit that
was planned: see `begin_refit`.

The model of one output
    theta = [ln l_1 .. ln l_b, ln s2, ln noise].
    k(u, u') = s2 g(r2), r2 a sum over blocks: ((u - u')/l)^2 of two numbers; [codes differ]/l^2 of two choices, where
    "does not exist" is one more choice; a number that need not exist stands at 1/2 where it is missing, and beside it
    a second coordinate of height 1/2 tells the two apart: ((u - 1/2)^2 + 1/4)/l^2 between present and missing.
    matern52: t = sqrt(5 r2), (1 + t + t^2/3) e^-t. matern32: t = sqrt(3 r2), (1 + t) e^-t. rbf: e^(-r2/2).
    K = k(U, U) + diag(v), v_i the noise, or the variance known of row i over scale_q^2, where
    scale_q = 2^(rint(8 log2 scale)/8): quantised, so that a tell seldom changes the factor.
    Guard: the pivot of row i (its variance given the rows before it, noise included) is positive, finite and at least
    max(1e-10, 32 eps (i + 1)) (s2 + v_i). Else, if r2(i, j) < 1e-16 for an earlier row j that is in the model, row i is
    merged into the first such j: it leaves the model (no alpha, no row in the likelihood), and row j stands for the
    mean of its group. Else s2 10^-8 is added to v_i, or s2 10^-7, .. s2 10^-4, the first that passes. Else
    NumericalError(row=i).
    The mean is constant, mu = (1'K^-1 w)/(1'K^-1 1), or zero; var does not include the uncertainty of mu.
    log likelihood = -1/2 (w - mu)'K^-1(w - mu) - 1/2 ln|K| - n/2 ln 2 pi, n the rows in the model; 0 where nothing was
    told. log posterior = that + the log densities of l, s2 and noise themselves (not of their logarithms):
    l ~ LogNormal(sqrt 2 + 1/2 ln b, sqrt 3), s2 ~ LogNormal(0, 1), noise ~ LogNormal(-4, 1).
    Bounds of a refit: l in [0.025, 1e3]; s2 in [1e-3, 1e3] and noise in [1e-6, 10] where values are standardised, else
    s2 in [1e-6, 1e6] and noise in [1e-10, 1e3].

The warp (standardise=True): with the finite values in order, y_0 <= .. <= y_(m-1), med their median and
    t = 1.5 (y_(3m//4) - y_(m//4)), or, where that is 0, 1.5 times their standard deviation, a value y > med + t becomes
    w = med + t + t min(ln(1 + (y - med - t)/t), 12); the others stay. shift = mean of w, scale = its standard deviation
    (of the population); if scale <= 1e-12 max|w|, then w := 0 and scale = 1. The model sees (w - shift)/scale, and for
    a failed row the worst of these values (0 where none is finite). standardise=False: the values as they are, shift 0,
    scale 1.

The local model (surrogate="vecchia"; "auto": from `exact_below` observations on), in place of K of all rows:
    Base: the first rows, those told when theta was fitted. Where that is not known, all n; of "auto", `exact_below`.
    The warp is that of the base, scale_q too, and is applied to the rows after it as it is; one that failed counts as
    the worst of the base. A foreign value ends that: the base becomes the rows up to it. Foreign is what comes as the
    first finite value; and, with standardise=True, what differs from equal values by more than 1e-9 of them, or is
    more than 10 below the best value before it.
    Inducing rows: j base // M for j < M = min(base, 512), or 256 where base >= 8192. Of these, those whose pivot in
    A = K_mm + 1e-8 s2 I is at most 1e-6 s2 are redundant and left out, again until there are none.
    With k_i = k(inducing, row i): p_i = A^-1 k_i, lam_i = max(0, s2 - k_i'p_i) + v_i. Summed are, of the base, every
    ceil(base/65536)-th row and the inducing ones, and after it all panels of 64 rows that are full; the rest is the
    tail:
        P = sum p_i p_i'/lam_i + 1e-6/s2 I,   b = sum p_i (w_i - mu)/lam_i,
    worth the pseudo-observations mu + P^-1 b of the function at the inducing rows, with noise covariance P^-1 (FITC:
    Snelson and Ghahramani, NIPS 2005). The guard of P counts in units of its diagonal, in place of s2 + v and of s2.
    mu = 0, or by generalised least squares from the rows summed. Their log likelihood is that of
    N(mu, [p_i'K_mm p_j] + diag(lam)).
    The neighbours of some points: the nearest row of each, then the second nearest, and so on, of those before the
    tail that are not inducing, by the squared distance r2 in single precision, of equal ones the first. B: the 16 rows
    of the smallest w before the tail, of equal ones the first.
    Far from all, the rows R stand as they are: the tail and N, the first 1024 neighbours of B, or 2048 where at most
    5000 rows are before the tail. Near points X so do some of theirs: of each
    point the first 128, and in all at most 128 that are not in N, in their order; but none for a point whose share of
    rows in N among these is at least 1/16, and min(4 s, (1 + s)/2) with s = |N| / (rows before the tail). What R
    brought to the sums is taken out of P and b (PIC: Snelson and Ghahramani, AISTATS 2007), and mean and variance are
    those of the exact model given the pseudo-observations, then R in the order of rows. (The nearest alone, Vecchia
    1988, lose a trend, and the average over a cluster of noisy rows; without those of B, mean and variance around the
    best change from point to point.) predict and score are near each point by itself; sample is near all its points
    together. maximise searches far from all first, then near the best point; its values, mean and var are those near
    the point that it looked at.
    Fit.log_likelihood is that of the rows summed; log_likelihood that of K of all rows.
    append, truncate and set_theta compute no covariance. NumericalError comes from the verb that needs one, its row -1.

Everything after any sequence of append, truncate and set_theta is a function of (U, Y, noise, theta) alone, and, of the
local model, of how many rows were told when theta was fitted, bit for bit: a handle rebuilt from a journal continues as
the one that wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Kernel = Literal["matern52", "matern32", "rbf"]
KERNELS: tuple[str, ...] = ("matern52", "matern32", "rbf")
UTILITIES: tuple[str, ...] = ("log_ei", "ei", "log_pi", "pi", "ucb")
SURROGATES: tuple[str, ...] = ("exact", "vecchia", "auto")
EXACT_BELOW = 5000  # observations: from here on an exact ask takes longer, and its factors more than 200 MB
PI_MARGIN = 0.01  # in standardised units; the usual xi of Kushner's criterion
BETA = 1.8  # of the confidence bound; Song et al. 2024, arXiv 2408.11527, section 3


@dataclass(frozen=True, slots=True)
class Utility:
    """What makes a point worth asking; larger is better, and values are minimised.

    With z = (best - mean)/sd, best the value to improve on and h(z) = phi(z) + z Phi(z): log_ei ln sd + ln h(z);
    ei sd h(z); log_pi ln Phi(z); pi Phi(z); ucb beta sd - mean. For pi and log_pi, best is PI_MARGIN less: the
    improvement that counts.
    best = max(min w, min over i of mean_i - 2 sd_i), i the 50 told rows of the smallest finite values (0 where there
    are none): without noise the best value told, with noise what its point may well have. With g the row in the model
    that stands for row i, w_g the mean of its group: mean_i = w_g - v_g alpha_g, sd_i^2 = v_g (1 - v_g (K^-1)_gg); in
    the local model, mean and variance far from all at those of the 50 that are inducing, in its R, or of a variance of
    at most v_i.

    Attributes:
        kind: "log_ei", "ei", "log_pi", "pi" or "ucb".
        beta: weight of the standard deviation, >= 0; read by "ucb" alone.
    """

    kind: str = "log_ei"
    beta: float = BETA

    def __post_init__(self) -> None:
        if self.kind not in UTILITIES:
            raise ValueError(f"kind must be one of {', '.join(UTILITIES)}, but got {self.kind!r}; choose one of them")
        if not 0.0 <= self.beta < np.inf:
            raise ValueError(f"beta must be a finite number >= 0, but got {self.beta!r}; {BETA} is the usual value")


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The outcome of a refit, one row an output.

    Attributes:
        theta: (k, p) log parameters, now those of the handle.
        log_likelihood: (k,) nats.
        log_posterior: (k,) nats; the log likelihood itself where prior is None.
    """

    theta: Array
    log_likelihood: Array
    log_posterior: Array


@dataclass(frozen=True, slots=True, eq=False)
class Maximum:
    """The points that one `maximise` chose.

    Attributes:
        U: (q, d) distinct points, representable as the layout says, NaN where a block does not exist.
        values: (q,) utility of each, given the pending points and those chosen before it.
        mean: (q, k) posterior mean, warped and standardised.
        var: (q, k) posterior variance, noise not included, given the pending points and those chosen before it.
        optima: (s, d) distinct local optima of the first search, best first: starts for the next one.
    """

    U: Array
    values: Array
    mean: Array
    var: Array
    optima: Array


class Surrogate(Protocol):
    """A Gaussian process over one Layout that keeps its observations, its factor and its parameters."""

    @property
    def n(self) -> int:
        """Observations told."""

    @property
    def d(self) -> int:
        """Columns of a point."""

    @property
    def k(self) -> int:
        """Outputs; 1 in this version."""

    @property
    def theta(self) -> Array:
        """(k, p) log parameters, a copy; with a fixed noise the last entry is its logarithm (-inf for 0)."""

    @property
    def shift(self) -> Array:
        """(k,) in the units of Y: a standardised value w stands for shift + scale w."""

    @property
    def scale(self) -> Array:
        """(k,) > 0, in the units of Y."""

    def append(self, U: Array, Y: Array, noise: Array | None = None) -> None:
        """Adds q observations after those told; theta stays, the warp is renewed (that of the local model stays).

        Args:
            U: (q, d) codes; NaN where a block with conditions does not exist, and nowhere else.
            Y: (q, k) raw values, minimised; +inf marks a failed trial, which counts as the worst warped value, anew at
                every warp. With several outputs NaN leaves that output alone.
            noise: (q, k) known variances >= 0 in the units of Y squared, in place of the inferred one; NaN, or None
                for all, means inferred.

        Raises:
            ValueError: wrong shape, a NaN in a block that always exists, an infinite code; a Y of -inf or, of
                a single output, NaN; a negative or infinite noise.
            NumericalError: the guard failed at row `error.row`, counted from the first row told.

        A bulk, half of all rows then told and 1,000 in all or more, may leave its factor, and so its NumericalError and
        its O(n^3), to the first verb that needs one; the appends that follow then do as well.

        Cost: O(q n^2). Of the local model O(q d), and at the next verb, when a panel of 64 is full, O(n d + (m + r)^3)
        with m inducing rows and r that are taken as they are; where the base grows O(n log n), and O(base m^2) at the
        next verb.
        """

    def truncate(self, n: int) -> None:
        """Forgets all observations after the first n, 0 <= n <= self.n; theta stays.

        Raises:
            ValueError: n out of range.
        """

    def refit(self) -> Fit:
        """Moves theta to the maximum of the log posterior within the bounds.

        L-BFGS-B in log space from two starts: theta as it is, and l = 0.205 sqrt(b), s2 = 1, noise = e^-5 (the mode of
        the prior). A function of (U, Y, noise, theta) alone: what is fitted is the exact model, of values warped anew,
        in every regime. Where nothing was told, theta stays as it is. A backend may choose between the starts by a fit
        on fewer observations, and fit more than some thousand of them by a part; the likelihood returned is that of
        all, of the local model that of the rows it sums up.

        Raises:
            NumericalError: no start gave a finite log posterior.

        Cost: O(n^3) an evaluation, some 20 to 100 of them; of the local model O(n m^2) besides.
        """

    def begin_refit(self, n: int, nearest: int = 0) -> None:
        """Plans a refit on the first n observations; theta stays as it is until `finish_refit`.

        Args:
            n: of the observations told.
            nearest: fit to so many of these n alone, if there are more: in turn the nearest to each of the 4 whose
                values are the smallest, of equal ones the first, by r2 in single precision under theta as it is, of
                equal ones the first. Their values are those of the warp of all n. The length scale of a block that is
                the same in all of them stays, and the variance where all blocks are; and all of theta does, also
                outside the bounds, unless their log likelihood, or of more than some thousand that of a part, grows by
                more than 2 nats for each entry of theta that may move, or cannot be computed at theta as it is. 0, or
                no distance that is finite: fit to all n.

        What comes of it is a function of those observations and of theta at this moment, whatever is told meanwhile and
        in whatever steps it is done. An older plan is dropped; so is this one by `set_theta`, by a `truncate` to fewer
        than n, and by an `advance_refit` or `finish_refit` that fails.

        Raises:
            ValueError: n is not between 0 and self.n, or nearest < 0.

        Cost: O(n d).
        """

    def advance_refit(self, work: float) -> float:
        """Does a part of the refit that was planned; nothing when there is none, or nothing is left of it.

        Args:
            work: floating-point operations, about so many: at least one block of the computation is done. A step
                that waits for memory counts as the operations that would take as long. Where rows appended since the
                last ask brought blocks of as much work, a backend may leave this share to the next call.

        Returns:
            those done.

        Raises:
            MemoryError: the plan is dropped then, and the model that answers is as it was.
        """

    def refit_work(self, n: int, nearest: int = 0) -> float:
        """Floating-point operations of a usual refit, as `begin_refit` plans it, the new factor included."""

    def finish_refit(self) -> Fit:
        """Does what is left of the refit that was planned, and moves theta, if that is to move.

        Unless n is 0, theta then counts as fitted when those n were told, moved or not.

        Raises:
            ValueError: none was planned.
            NumericalError: as `refit`; the plan is dropped then.
            MemoryError: likewise, and the model that answers is as it was.
        """

    @property
    def regime(self) -> str:
        """Which model answers: "exact" or "vecchia"."""

    def set_theta(self, theta: Array, n: int = 0) -> None:
        """Sets theta (k, p) and refactorises; a fixed noise keeps its own entry, whatever is given there.

        Args:
            theta: (k, p) log parameters.
            n: observations told when theta was fitted, told already or not: the base of the local model. 0: not known.

        Raises:
            ValueError: wrong shape or an entry that is not finite; n < 0.
            NumericalError: the guard failed at row `error.row`.

        Cost: O(n^3); nothing when theta is the same. Of the local model O(n log n), and O(base m^2) at the next verb.
        """

    def log_likelihood(self, theta: Array, gradient: bool = False, prior: bool = False) -> tuple[Array, Array | None]:
        """Evaluates the log marginal likelihood at another theta; the handle stays as it is.

        Args:
            theta: (k, p) log parameters, of any size: the bounds hold for `refit` alone.
            gradient: whether the gradient with respect to theta is wanted.
            prior: whether to add the log prior (nothing where the handle has none).

        Returns:
            (k,) nats and (k, p) or None. The entry of a fixed noise is 0, and so is its prior.

        Raises:
            ValueError: as `set_theta`.
            NumericalError: the guard failed at row `error.row`.

        Cost: O(n^3 + n^2 b).
        """

    def predict(self, U: Array, gradient: bool = False) -> tuple[Array, ...]:
        """The posterior at U (m, d), in warped, standardised units.

        Returns:
            mean (m, k) and var (m, k), the variance of the function without noise, at least 1e-12 s2; with `gradient`
            also d_mean and d_var (m, k, d), 0 in categorical columns and in columns that do not exist. Where nothing
            was told: mean 0, var s2.

        Raises:
            ValueError: U as in `append`.

        Cost: O(m n^2); of the local model O(n d) and two factors of some thousand rows for each point.
        """

    def sample(self, U: Array, n_samples: int, key: tuple[int, int]) -> Array:
        """Draws from the joint posterior of the function at U (m, d), without noise.

        Args:
            U: (m, d) points.
            n_samples: number of draws, >= 0.
            key: (seed, number); the draws are a function of it and of the handle's state.

        Returns:
            (n_samples, m, k), in warped, standardised units.

        Cost: O(m n^2 + m^2 n + m^3 + n_samples m^2); of the local model with some thousand rows in place of n, and
        O(m n d).
        """

    def score(self, utility: Utility, U: Array) -> Array:
        """The utility (m,) of the points U (m, d), nothing pending: for tests, plots and benchmarks."""

    def incumbent(self) -> float:
        """The value to improve on (see Utility), nothing pending, in warped, standardised units: as `score`, for tests.

        Raises:
            NumericalError: the guard failed at row `error.row`.

        Cost: O(n^2) where it is the first to ask after a change, then O(n) for each of some 50 rows; of the local model
        that of `predict` at them, far from all.
        """

    def maximise(
        self,
        utility: Utility,
        q: int,
        pending: Array | None,
        key: tuple[int, int],
        starts: Array | None = None,
        avoid_known: bool = False,
    ) -> Maximum:
        """Searches for the q best points, one after the other, each pending for the next; the handle stays as it is.

        A pending point enters with the posterior mean as its value, known to a variance of 1e-6 s2 (the mean stays, the
        variance falls), and `best` is at most that mean. (With the inferred noise instead, the points of a batch lie
        forty times closer to each other.)

        Args:
            utility: what to maximise.
            q: number of points, >= 1.
            pending: (r, d) points asked and not yet told, or None.
            key: (seed, number) of the random candidates; the result is a function of it, of the handle's state and of
                the other arguments.
            starts: (s, d) points to climb from besides the candidates, best first, such as the `optima` of the search
                before; a backend may leave out all but the first four.
            avoid_known: never choose a point told, as long as the space has another one. Failed points, pending ones
                and those already chosen are avoided in any case, as long as the space has another one. Two points are
                the same when each discrete block has the same value, the same blocks exist and continuous codes differ
                by at most 1e-9.

        Raises:
            ValueError: wrong shapes, q < 1.
            NumericalError: the guard failed at a pending row, counted after the rows told.

        Cost: O(m n^2) with m some hundred candidates and steps of the ascent, in the compiled core from 2,048
        observations on some dozen where all blocks are continuous, with O(n d) and at most 1,024^2 for each of the
        others; of the local model with some thousand rows in place of n, by all of which each candidate is scored, and
        O(n d) for the closer look.
        """
