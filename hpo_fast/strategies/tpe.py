"""The tree-structured Parzen estimator: ask where good trials are dense and bad ones are not."""
# ruff: noqa: D102 - the contract of the protocol's verbs stands in base.py

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hpo_fast.backends import BACKENDS
from hpo_fast.backends.parzen import MOST_CANDIDATES, parzen
from hpo_fast.errors import StrategyError
from hpo_fast.space.values import plain
from hpo_fast.strategies._initial import InitialDesign, few_points
from hpo_fast.strategies._seen import AnyOf, Seen, SeenExactly
from hpo_fast.strategies.base import FloatArray, IntArray, Observations, Pending, Proposal, Strategy

if TYPE_CHECKING:
    from hpo_fast.space import Space

MOST = {"n_initial": 65_536, "n_candidates": MOST_CANDIDATES, "max_good": 4096}


class TPE(Strategy):
    """Draw points like the best trials so far, and ask the one that is least like the others.

    The first `n_initial` trials fill the space: its centre, then a Latin hypercube. After that each ask splits the
    history: the best 15 %, at most 25 trials, are good, the others bad, pending and failed trials among them. It
    models both by a mixture of kernels, one a trial, draws `n_candidates` points from the good density, and asks the
    point where the ratio of good to bad is largest. Ranks alone count, so that outliers and the scale of the objective
    do no harm. A failed trial is never asked again.

    A parameter that does not exist in a trial leaves its prior, the uniform density, in that trial's kernel: parents
    are drawn first, and children where they exist. `prior=` of a parameter shapes the initial trials alone.

    An ask costs the same for a long history as for a short one: the bad density is that of the newest 1,024 trials,
    while the good trials are the best of all.

    A trial's note holds `log_ratio`, ln(good/bad) at the point.

    Args:
        multivariate: True: a kernel covers all parameters together, and so keeps values together that were good
            together. False: each parameter by itself, as in the first TPE; twice the regret of True on 12 public
            functions after 300 trials.
        n_initial: trials told or pending before the model is asked, 1 to 65,536.
        n_candidates: points drawn for an ask, 1 to 4,096; more exploit, fewer explore. 64 did no better than 24.
        gamma: share of the trials that is good, between 0 and 1. After 100 trials 0.15 did better than 0.1, after 300
            alike; 0.2 did worse then.
        max_good: good trials at most, 1 to 4,096. 15 did worse than 25, and 50 alike.
        prior_weight: weight of the uniform density in each mixture, in trials, > 0; larger explores more.
        backend: "auto" and "cpu" are the compiled core, "reference" is plain NumPy and slower.

    Raises:
        StrategyError: an argument out of its range; at the start of a study, several objectives or constraints.

    Cost: O(d) a tell, O(n_candidates min(n, 1024) d) an ask; memory O(1024 d) and the failed trials.
    Reference: Bergstra, Bardenet, Bengio and Kegl 2011, Algorithms for hyper-parameter optimization, section 4 (the
    ratio; gamma, candidates); Falkner, Klein and Hutter 2018, arXiv 1807.01774 (kernels over all parameters together);
    Watanabe 2023, arXiv 2304.11127 (what each argument does; the least bandwidth).
    """

    name: ClassVar[str] = "tpe"

    def __init__(
        self,
        *,
        multivariate: bool = True,
        n_initial: int = 10,
        n_candidates: int = 24,
        gamma: float = 0.15,
        max_good: int = 25,
        prior_weight: float = 1.0,
        backend: str = "auto",
    ) -> None:
        multivariate = plain(multivariate)
        if not isinstance(multivariate, bool):
            raise StrategyError(f"TPE: multivariate must be True or False, but got {multivariate!r}; choose one.")
        n_initial, n_candidates, max_good = plain(n_initial), plain(n_candidates), plain(max_good)
        gamma, prior_weight = plain(gamma), plain(prior_weight)
        for argument, count in (("n_initial", n_initial), ("n_candidates", n_candidates), ("max_good", max_good)):
            if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST[argument]:
                raise StrategyError(
                    f"TPE: {argument} must be an integer from 1 to {MOST[argument]}, but got {count!r}; leave it out "
                    "for the default."
                )
        for argument, value, most in (("gamma", gamma, 1.0), ("prior_weight", prior_weight, math.inf)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < most:
                rule = "a number between 0 and 1" if argument == "gamma" else "a finite number > 0"
                raise StrategyError(f"TPE: {argument} must be {rule}, but got {value!r}; leave it out for the default.")
        if backend not in BACKENDS:
            raise StrategyError(f"TPE: backend must be one of {', '.join(map(repr, BACKENDS))}, but got {backend!r}.")
        self._multivariate, self._n_initial, self._n_candidates = multivariate, n_initial, n_candidates
        self._gamma, self._max_good, self._prior_weight = float(gamma), max_good, float(prior_weight)
        self._backend = backend

    def config(self) -> dict[str, Any]:
        return {
            "multivariate": self._multivariate,
            "n_initial": self._n_initial,
            "n_candidates": self._n_candidates,
            "gamma": self._gamma,
            "max_good": self._max_good,
            "prior_weight": self._prior_weight,
            "backend": self._backend,
        }

    def start(self, space: Space, n_objectives: int, n_constraints: int, seed: int) -> None:
        if n_objectives != 1 or n_constraints != 0:
            raise StrategyError(
                f"TPE: one objective without constraints only, but the study has {n_objectives} objective(s) and "
                f"{n_constraints} constraint(s); take RandomSearch()."
            )
        self._handle = parzen(
            space.layout,
            multivariate=self._multivariate,
            candidates=self._n_candidates,
            gamma=self._gamma,
            most_good=self._max_good,
            prior_weight=self._prior_weight,
            backend=self._backend,
        )
        self._space, self._seed = space, seed
        self._design = InitialDesign(space, seed, self._n_initial)
        self._few = few_points(space)
        kind = Seen if self._few is None else SeenExactly
        self._first: set[bytes] = set()  # of the first told trials, which the initial ones must not repeat
        self._failed = kind()
        self._n_told = self._n_valid = 0

    def tell(self, observations: Observations) -> None:
        U, y = observations.U, observations.Y[:, 0]
        finite = np.isfinite(y)
        self._handle.append(U, np.where(finite, y, np.inf))
        self._failed.add_points(U[~finite])
        self._first.update(u.tobytes() for u in U[: max(0, self._n_initial - self._n_told)])
        self._n_told += len(y)
        self._n_valid += int(np.count_nonzero(finite))

    def ask(self, numbers: Sequence[int] | IntArray, pending: Pending) -> list[Proposal]:
        count = len(pending.U)
        waiting = np.empty((count + len(numbers), self._space.d))
        waiting[:count] = pending.U
        proposals: list[Proposal] = []
        for number in map(int, numbers):
            if self.done:
                break
            proposal = self._propose(number, waiting[:count])
            proposals.append(proposal)
            waiting[count] = proposal.u
            count += 1
        return proposals

    def _propose(self, number: int, waiting: FloatArray) -> Proposal:
        if self._n_told + len(waiting) < self._n_initial or not self._n_valid:
            return Proposal(self._filling(number, waiting), {"kind": "initial"})
        U, values = self._handle.propose(waiting, (self._seed, number))
        for i, value in enumerate(values.tolist()):
            u: FloatArray = self._space.canonical(U[i : i + 1])[0]
            if u.tobytes() not in self._failed:
                return Proposal(u, {"kind": "model", "log_ratio": value})
        return Proposal(self._filling(number, waiting), {"kind": "initial"})

    def _filling(self, number: int, waiting: FloatArray) -> FloatArray:
        """A point that fills the space, asked without the model."""
        seen = AnyOf({u.tobytes() for u in waiting}, self._first, self._failed)
        return self._design.point(number, seen, self._failed, self._few)

    @property
    def done(self) -> bool:
        """True when every point of a finite space failed."""
        return self._few is not None and all(key in self._failed for key in self._few)
