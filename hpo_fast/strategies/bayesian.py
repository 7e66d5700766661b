"""Bayesian optimization: ask where a Gaussian process of the history promises most."""
# ruff: noqa: D102 - the contract of the protocol's verbs stands in base.py

from __future__ import annotations

import logging
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hpo_fast.backends import BACKENDS, gaussian_process, read_threads
from hpo_fast.backends.base import BETA, EXACT_BELOW, KERNELS, SURROGATES, UTILITIES, Fit, Utility
from hpo_fast.errors import NumericalError, StrategyError
from hpo_fast.space.values import plain
from hpo_fast.strategies import _refits as refits
from hpo_fast.strategies._decided import Decided
from hpo_fast.strategies._initial import InitialDesign, few_points
from hpo_fast.strategies._seen import AnyOf, Seen, SeenExactly
from hpo_fast.strategies.base import (
    FloatArray,
    IntArray,
    Observations,
    Pending,
    Proposal,
    Strategy,
)

if TYPE_CHECKING:
    from hpo_fast.space import Space

_log = logging.getLogger("hpo_fast")

MOST_INITIAL = 10  # points of the default initial design; with 20 parameters, d + 1 would be a third of a usual budget
MOST_OPTIMA = 4  # optima handed to the next ask; more than the few best are seldom climbed to again
OPTIMA_DIGITS = 6  # rounded before use, so that the note is short and a resumed study starts from the same numbers
DETERMINISTIC_NOISE = 1e-6  # the least that keeps a covariance of close points factorisable, in units of the spread
REGIMES = {"exact": "exact Gaussian process", "vecchia": "nearest neighbours and inducing points (vecchia)"}
BYTES_OF_EXACT = 8  # times n^2: the triangle of the factor, and of the next one while a refit is spread


@dataclass(frozen=True, slots=True)
class UCB:
    """The acquisition `ucb` with a weight of one's own: the posterior's lower bound, mean - beta sd, is minimised.

    Attributes:
        beta: weight of the standard deviation, >= 0; larger explores more.
    """

    beta: float = BETA

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", plain(self.beta))
        if isinstance(self.beta, bool) or not isinstance(self.beta, int | float) or not 0.0 <= self.beta < math.inf:
            raise StrategyError(f"UCB: beta must be a finite number >= 0, but got {self.beta!r}; usual is {BETA}.")


class BayesianOptimization(Strategy):
    """Fit a Gaussian process to all trials so far, and ask the point where it promises most.

    The first `n_initial` trials fill the space: its centre, then a Latin hypercube. After that every ask maximises the
    acquisition, with pending trials counted as if they had brought what the model expects of them, so that several
    asks in a row give different points; a batch gives the same points as asking one by one. Failed trials count as the
    worst value seen and are never asked again. Should the model fail numerically, the ask fills the space instead; the
    trial's note and a warning in the log of "hpo_fast" say why.

    The model's parameters are fitted at every ask that follows a tell up to 64 observations, then whenever their
    number grew by 10 %. More than half as many trials as there were, told at once, are fitted at once. From 1,000
    observations on other refits take those nearest to the best alone, 16 for each parameter of the space, 128 to 512 in
    all, so that the model is of the place where the search is; it stays where these tell too little for another one.
    They come earlier, too: when a 64th of the last fit to all was told since, at least 32 and at most 128, then twice,
    four times and so on as many, or when the one under way has ended. Each is spread over the next n / 128 asks, at
    most 64, or, if `surrogate` is "exact", from 4,096 on n / 64, while the model answers as it was.
    The model is exact with fewer than 5,000 observations, and each ask then costs O(n^2). With more it sums up what
    they say (of more than 65,536 an even share) at some hundred inducing points, takes those nearest to the points of
    interest as they are, and an ask reads the points told, some more than once. The log of "hpo_fast" tells, at level
    INFO, which of the two it is, and why, whenever that changes.
    A trial's note holds which of the two answered, as `surrogate`, and what was decided with effort for it: `fit` (when
    a refit came to its end: theta, the number n of observations told when it began, how many of these it was fitted to
    where not all, as `nearest`, and the log likelihood in nats of all that were told when it ended, of the local model
    of those that it sums up), `refit` (while one is under way:
    its number of observations, after its first ask also the trial that began it and the shares done) and `optima`,
    beside `mean` and `sd`, the model's expectation in the units of the objective (minimised), and `acquisition`, the
    value that made the point the best one.

    Args:
        acquisition: "log_ei" (the logarithm of the expected improvement), "ei", "log_pi" or "pi" (probability of
            improvement), "ucb" (confidence bound), or `UCB(beta=1.8)`.
        kernel: "matern52", "matern32" or "rbf", in growing smoothness: matern32 < matern52 < rbf.
        surrogate: "exact", "vecchia" (the model of many observations) or "auto", which is exact with fewer than 5,000
            observations, and as long as `memory_limit` allows.
        memory_limit: bytes that the factors of the exact model may take, 8 n^2 in all, >= 1; for "auto" alone. None:
            no limit but 5,000 observations. The other model itself takes some 40 MB at 1,500 observations and 110 MB at
            4,900, whatever the limit.
        backend: "auto" and "cpu" are the compiled core, "reference" is plain NumPy and much slower.
        deterministic: True when the same parameters always give the same value: the noise is then fixed at 1e-6 of the
            spread, and no point is asked twice; when every point of a finite space is told, the strategy is done.
        n_initial: trials told or pending before the model is asked, >= 1; max(5, d + 1), at most 10, when left out.
        n_threads: threads of the compiled core, 1 to 1024; HPO_FAST_NUM_THREADS, or one a core, when left out.

    Raises:
        StrategyError: an argument out of its range; at the start of a study, several objectives or constraints.

    Cost: exact: O(n^2) a tell, O(m n^2) an ask with m some hundred points, O(n^3) a refit, beyond 1,000 most of it
    for the new factor. Of many observations: O(d) a tell, O(n d) an ask.
    Reference: Jones, Schonlau and Welch 1998 (expected improvement); Ament et al. 2023, arXiv 2310.20708 (log EI);
    Hvarfner et al. 2024, arXiv 2402.02229 (the prior of the length scales); Vecchia 1988 and Snelson and Ghahramani
    2007 (the model of many observations).
    """

    name: ClassVar[str] = "bayesian_optimization"

    def __init__(
        self,
        acquisition: str | UCB | Mapping[str, float] = "log_ei",
        kernel: str = "matern52",
        *,
        surrogate: str = "auto",
        memory_limit: int | None = None,
        backend: str = "auto",
        deterministic: bool = False,
        n_initial: int | None = None,
        n_threads: int | None = None,
    ) -> None:
        if isinstance(acquisition, Mapping) and set(acquisition) == {"ucb"}:  # as `config` gives it
            acquisition = UCB(acquisition["ucb"])
        if not isinstance(acquisition, UCB) and acquisition not in UTILITIES:
            raise StrategyError(
                f"BayesianOptimization: acquisition must be one of {', '.join(map(repr, UTILITIES))} or UCB(beta), but "
                f"got {acquisition!r}."
            )
        if kernel not in KERNELS:
            raise StrategyError(
                f"BayesianOptimization: kernel must be one of {', '.join(map(repr, KERNELS))}, but got {kernel!r}."
            )
        if surrogate not in SURROGATES:
            raise StrategyError(
                f"BayesianOptimization: surrogate must be one of {', '.join(map(repr, SURROGATES))}, but got "
                f"{surrogate!r}."
            )
        if memory_limit is not None and surrogate != "auto":
            raise StrategyError(
                f'BayesianOptimization: memory_limit must be left out unless surrogate is "auto", but got '
                f"{memory_limit!r} with {surrogate!r}; the limit is where auto leaves the exact model."
            )
        if backend not in BACKENDS:
            raise StrategyError(
                f"BayesianOptimization: backend must be one of {', '.join(map(repr, BACKENDS))}, but got {backend!r}."
            )
        n_initial, memory_limit = plain(n_initial), plain(memory_limit)
        for argument, value in (("n_initial", n_initial), ("memory_limit", memory_limit)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise StrategyError(
                    f"BayesianOptimization: {argument} must be an integer >= 1, but got {value!r}; leave it out for "
                    "the default."
                )
        try:
            threads = read_threads(n_threads)
        except ValueError as error:
            raise StrategyError(f"BayesianOptimization: {error}.") from None
        self._acquisition = acquisition
        self._kernel, self._backend, self._deterministic = kernel, backend, bool(deterministic)
        self._surrogate, self._memory_limit = surrogate, memory_limit
        self._n_initial, self._n_threads = n_initial, threads
        self._utility = Utility("ucb", acquisition.beta) if isinstance(acquisition, UCB) else Utility(str(acquisition))

    def config(self) -> dict[str, Any]:
        acquisition = {"ucb": self._acquisition.beta} if isinstance(self._acquisition, UCB) else self._acquisition
        return {
            "acquisition": acquisition,
            "kernel": self._kernel,
            "surrogate": self._surrogate,
            "memory_limit": self._memory_limit,
            "backend": self._backend,
            "deterministic": self._deterministic,
            "n_initial": self._n_initial,
            "n_threads": self._n_threads,
        }

    def start(self, space: Space, n_objectives: int, n_constraints: int, seed: int) -> None:
        if n_objectives != 1 or n_constraints != 0:
            raise StrategyError(
                "BayesianOptimization: one objective without constraints only, but the study has "
                f"{n_objectives} objective(s) and {n_constraints} constraint(s); take RandomSearch()."
            )
        handle = gaussian_process(
            space.layout,
            kernel=self._kernel,
            noise=DETERMINISTIC_NOISE if self._deterministic else None,
            surrogate=self._surrogate,
            exact_below=self._exact_below(),
            n_threads=self._n_threads,
            backend=self._backend,
        )
        self._space, self._seed, self._handle = space, seed, handle
        self._first_theta = handle.theta
        self._fitted_n = 0  # observations told when the handle's theta was fitted
        self._regime = ""
        self._n_first = min(max(5, space.d + 1), MOST_INITIAL) if self._n_initial is None else self._n_initial
        self._design = InitialDesign(space, seed, self._n_first)
        self._few = few_points(space)
        kind = Seen if self._few is None else SeenExactly
        self._told, self._failed = kind(), kind()
        self._n_told = self._n_valid = 0
        self._untold: list[tuple[FloatArray, FloatArray]] = []  # rows that the handle has not taken in yet
        self._decided = Decided(self._first_theta[0], space.d, self._deterministic)
        self._plan: tuple[int, int] | None = None  # the refit that the handle prepares, one of `begun`
        self._shares = 0  # of its work that are done

    # -- tell --------------------------------------------------------------------------------------------------------

    def tell(self, observations: Observations) -> None:
        if not len(observations.numbers):
            return
        U = np.ascontiguousarray(observations.U, dtype=np.float64)
        Y = np.where(np.isfinite(observations.Y[:, :1]), observations.Y[:, :1], np.inf)  # +inf: the worst warped value
        self._told.add_points(U)
        self._failed.add_points(U[Y[:, 0] == np.inf])
        self._n_told += len(Y)
        self._n_valid += int(np.count_nonzero(np.isfinite(Y)))
        self._decided = self._decided.after(observations.numbers, observations.notes)
        self._untold.append((U, Y))
        try:
            # A trial that is still pending may have paid for a newer theta, which only the next ask gets to see: theta
            # changes there, and here only where nothing has to be factorised again for it.
            if self._handle.n == 0:
                self._set_theta(self._decided)
            self._take_in()
        except NumericalError:
            pass  # the rows wait for the next ask, whose note says why

    def _set_theta(self, decided: Decided) -> None:
        theta = np.array([decided.theta])
        if decided.fit_n != self._fitted_n or not np.array_equal(theta, self._handle.theta):
            self._plan = None
            self._handle.set_theta(theta, decided.fit_n)
            self._fitted_n = decided.fit_n

    def _fitted(self, n: int, nearest: int, fit: Fit | None) -> dict[str, Any]:
        """The note of a refit at n observations that has just come to its end; None: it failed, and theta stayed."""
        self._fitted_n = n
        note = {"n": n, "theta": self._handle.theta[0].tolist(), **({"nearest": nearest} if nearest else {})}
        return note if fit is None else {**note, "log_likelihood": _finite(float(fit.log_likelihood[0]))}

    def _exact_below(self) -> int:
        """Observations from which on "auto" is the model of many."""
        if self._memory_limit is None:
            return EXACT_BELOW
        return min(EXACT_BELOW, math.isqrt(self._memory_limit // BYTES_OF_EXACT) + 1)

    def _tell_regime(self) -> None:
        """Logs which model answers, when that changed."""
        regime = self._handle.regime
        if regime == self._regime:
            return
        n, least = self._handle.n, self._exact_below()
        if self._surrogate != "auto":
            reason = f"surrogate={self._surrogate!r}"
        elif regime == "exact":
            reason = f"fewer than {least:,} observations"
        elif least == EXACT_BELOW:
            reason = f"{least:,} observations or more"
        else:
            reason = f"memory_limit={self._memory_limit:,} bytes holds the factors of fewer than {least:,} observations"
        _log.info("BayesianOptimization: %s at %s observations: %s", REGIMES[regime], f"{n:,}", reason)
        self._regime = regime

    def _take_in(self) -> None:
        """Appends the rows told to the handle."""
        if self._untold:
            U, Y = (part[0] if len(part) == 1 else np.concatenate(part) for part in zip(*self._untold, strict=True))
            self._handle.append(U, Y)
            self._untold.clear()

    # -- ask ---------------------------------------------------------------------------------------------------------

    def ask(self, numbers: Sequence[int] | IntArray, pending: Pending) -> list[Proposal]:
        waiting = [np.asarray(u, dtype=np.float64) for u in pending.U]
        decided = self._decided.after(pending.numbers, pending.notes)
        proposals: list[Proposal] = []
        for number in map(int, numbers):
            proposal = self._propose(number, waiting, decided)
            if proposal is None:
                break
            proposals.append(proposal)
            waiting.append(proposal.u)
            decided = decided.after([number], [proposal.note])
        return proposals

    def _propose(self, number: int, waiting: list[FloatArray], decided: Decided) -> Proposal | None:
        if self._used_up(AnyOf({u.tobytes() for u in waiting}, self._told) if self._deterministic else self._failed):
            return None
        if self._n_told + len(waiting) < self._n_first or not self._n_valid:
            return Proposal(self._filling(number, waiting), {"kind": "initial"})
        note: dict[str, Any] = {"kind": "model"}
        try:
            return Proposal(self._search(number, waiting, decided, note), note)
        except NumericalError as error:
            note |= {"kind": "quasi_random", "reason": str(error)}  # and the fit, if it is that far: it was paid for
            _log.warning("BayesianOptimization: trial %d fills the space, for the model failed: %s", number, error)
            return Proposal(self._filling(number, waiting), note)

    def _used_up(self, never: Container[bytes]) -> bool:
        """Tell whether all points of a space of few are among those that must not be asked."""
        return self._few is not None and all(key in never for key in self._few)

    def _filling(self, number: int, waiting: list[FloatArray]) -> FloatArray:
        """A point that fills the space, without the model: for the first trials, and when the model failed. O(n)."""
        seen = AnyOf({u.tobytes() for u in waiting}, self._told)
        never = seen if self._deterministic else self._failed
        return self._design.point(number, seen, never, self._few)

    def _search(self, number: int, waiting: list[FloatArray], decided: Decided, note: dict[str, Any]) -> FloatArray:
        """The point that promises most; what was decided on the way goes into `note`."""
        handle = self._handle
        self._set_theta(decided)
        self._take_in()
        self._refit(number, decided, note)
        self._tell_regime()
        found = handle.maximise(
            self._utility,
            1,
            np.array(waiting) if waiting else None,
            (self._seed, number),
            starts=np.array(decided.optima) if decided.optima else None,
            avoid_known=self._deterministic,
        )
        scale = float(handle.scale[0])
        note["surrogate"] = handle.regime
        note["mean"] = _finite(float(handle.shift[0]) + scale * float(found.mean[0, 0]))
        note["sd"] = _finite(scale * math.sqrt(float(found.var[0, 0])))
        note["acquisition"] = _finite(float(found.values[0]))
        optima = np.round(found.optima[:MOST_OPTIMA], OPTIMA_DIGITS)
        note["optima"] = [[None if math.isnan(x) else x for x in row] for row in optima.tolist()]
        u: FloatArray = self._space.canonical(found.U)[0]
        return u

    def _refit(self, number: int, decided: Decided, note: dict[str, Any]) -> None:
        """Fits theta when it is time to, or does the share of a fit under way that is due at this trial."""
        handle = self._handle
        n = handle.n
        newest = max([decided.fit_n, *(rows for _, rows, _ in decided.begun)])
        bulk = refits.is_bulk(n, newest)
        if decided.begun and not bulk:
            first, rows, shares = decided.begun[0]
            note["refit"] = {"n": rows, "number": first, "share": shares + 1}
            self._advance((first, rows), shares + 1, note)
        elif refits.is_due(n, decided.fit_n, decided.to_all_n):
            if n < refits.NEAR_FROM:
                self._plan = None
                note["fit"] = self._fitted(n, 0, handle.refit())
            elif bulk:
                handle.begin_refit(n)
                self._finish(n, 0, note)
            else:
                note["refit"] = {"n": n}
                self._advance((number, n), 1, note)

    def _advance(self, begun: tuple[int, int], due: int, note: dict[str, Any]) -> None:
        """Does the work that an ask owes to a refit, so many shares in all; from a journal, all before as well.

        Asks count, and no trials that others added: so many of these at once would be as much work for one ask.
        """
        handle = self._handle
        n = begun[1]
        nearest = refits.nearest(n, len(self._first_theta[0]) - 2)
        of = refits.shares(n, self._surrogate == "exact")
        if self._plan != begun:
            handle.begin_refit(n, nearest)
            self._plan, self._shares = begun, 0
        if min(due, of) > self._shares:
            self._plan = None  # should memory end here, the handle drops it
            handle.advance_refit(handle.refit_work(n, nearest) * (min(due, of) - self._shares) / of)
            self._plan, self._shares = begun, min(due, of)
        if due > of:
            self._finish(n, nearest, note)

    def _finish(self, n: int, nearest: int, note: dict[str, Any]) -> None:
        """Ends the refit at n observations that was begun, with all that is left of its work."""
        handle = self._handle
        self._plan, fit = None, None
        try:
            fit = handle.finish_refit()
        except NumericalError as error:
            note["reason"] = str(error)  # theta stays as it was until the next refit, as if it had been fitted then
            _log.warning("BayesianOptimization: a refit on %s observations failed: %s", f"{n:,}", error)
            handle.set_theta(handle.theta, n)
        note["fit"] = self._fitted(n, nearest, fit)

    @property
    def done(self) -> bool:
        """True when every point of a finite space failed, or, of a deterministic objective, was told."""
        return self._used_up(self._told if self._deterministic else self._failed)


def _finite(x: float) -> float | None:
    """JSON has no infinity; a value of 1e308 may lead to one."""
    return x if math.isfinite(x) else None
