"""The best trials of a study: the best one, or the Pareto front."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hpo_fast.storage.fork import renew_after_fork
from hpo_fast.storage.journal import Journal
from hpo_fast.study.objectives import Objectives
from hpo_fast.trial import TrialState


class Counts(NamedTuple):
    """Told trials; valid ones are done or pruned. An asked one was handed out before, any other was added."""

    valid: int
    failed: int
    asked_valid: int
    asked_failed: int


class Ranking:
    """Follows the journal and keeps the numbers of the best feasible trials.

    Args:
        objectives: says what is better.
        journal: the study's rows.

    Cost: reading what was told since the last look; for several objectives also O(front) a new trial.
    """

    def __init__(self, objectives: Objectives, journal: Journal) -> None:
        self._objectives = objectives
        self._journal = journal
        self.lock = threading.RLock()
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget everything; the next look reads the journal from its beginning."""
        self._seq = -1
        self._numbers = np.empty(0, dtype=np.int64)
        self._Y = np.empty((0, self._objectives.n))
        self._counts = Counts(0, 0, 0, 0)

    def front(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Give numbers (m,), in order, and values (m, objectives), to be minimised, of the trials that none beats."""
        with self.lock:
            self._follow()
            order = np.argsort(self._numbers)
            return self._numbers[order], self._Y[order]

    def counts(self) -> Counts:
        """Give how many trials were told, and how."""
        with self.lock:
            self._follow()
            return self._counts

    def _follow(self) -> None:
        results = self._journal.results(self._seq)
        if not len(results.numbers):
            return
        self._seq = results.last_seq
        failed = results.states == TrialState.FAILED
        here = (~failed, failed, ~failed & results.asked, failed & results.asked)
        self._counts = Counts(*(a + int(np.count_nonzero(b)) for a, b in zip(self._counts, here, strict=True)))
        good = (results.states == TrialState.DONE) & np.all(results.constraints <= 0, axis=1)
        Y = results.values[good] * self._objectives.signs
        numbers = np.concatenate([self._numbers, results.numbers[good]])
        keep, self._Y = non_dominated(np.concatenate([self._Y, Y]))
        self._numbers = numbers[keep]


def non_dominated(Y: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Give the indices, and the rows, of Y (m, k) that no other row beats: nowhere worse and somewhere better.

    For one objective that is the first of the best, so that a flat objective does not make every trial a best one.

    Cost: O(m) for one objective, else O(m log m + m * front).
    """
    if Y.shape[1] == 1:
        keep = np.array([np.argmin(Y[:, 0])] if len(Y) else [], dtype=np.int64)
        return keep, Y[keep]
    # A row can only be beaten by one that comes before it in lexicographic order, or equals it.
    order = np.lexsort(Y.T[::-1])
    front = np.empty_like(Y)
    kept: list[int] = []
    for i in order:
        others = front[: len(kept)]
        worse = np.all(others <= Y[i], axis=1) & np.any(others < Y[i], axis=1)
        if not worse.any():
            front[len(kept)] = Y[i]
            kept.append(int(i))
    keep = np.array(kept, dtype=np.int64)
    return keep, Y[keep]
