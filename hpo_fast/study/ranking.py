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

_BLOCK_PAIRS = 2**18  # comparisons of a new trial with one of the front that are made at once, some bytes each


class Counts(NamedTuple):
    """Told trials; valid ones are done or pruned. An asked one was handed out before, any other was added."""

    done: int
    pruned: int
    failed: int
    asked_valid: int
    asked_failed: int

    @property
    def valid(self) -> int:
        """Those that are done or pruned."""
        return self.done + self.pruned


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
        self._counts = Counts(0, 0, 0, 0, 0)

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
        done, pruned, failed = (
            results.states == state for state in (TrialState.DONE, TrialState.PRUNED, TrialState.FAILED)
        )
        here = (done, pruned, failed, ~failed & results.asked, failed & results.asked)
        counts = Counts(*(a + int(np.count_nonzero(b)) for a, b in zip(self._counts, here, strict=True)))
        good = done & np.all(results.constraints <= 0, axis=1)
        Y = results.values[good] * self._objectives.signs
        numbers = np.concatenate([self._numbers, results.numbers[good]])
        keep, front = non_dominated(np.concatenate([self._Y, Y]))
        # All at once, at the end: Ctrl-C before leaves these trials for the next look.
        self._seq, self._counts, self._numbers, self._Y = results.last_seq, counts, numbers[keep], front


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
    start = 0
    while start < len(order):
        known = len(kept)
        size = max(min(_BLOCK_PAIRS // (known + 1), start + 32), 1)  # few at first: a young front beats few
        block = order[start : start + size]
        start += size
        # Most rows of a block are beaten by the front so far: those are left out together.
        for i in block[~_beaten(Y[block], front[:known])].tolist():
            if not _beaten(Y[i : i + 1], front[known : len(kept)])[0]:
                front[len(kept)] = Y[i]
                kept.append(i)
    keep = np.array(kept, dtype=np.int64)
    return keep, Y[keep]


def _beaten(Y: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Tell which rows of Y (m, k) one of the others (f, k) beats."""
    nowhere_worse = np.ones((len(Y), len(others)), dtype=np.bool_)
    somewhere_better = np.zeros_like(nowhere_worse)
    for y, other in zip(Y.T, others.T, strict=True):
        nowhere_worse &= other <= y[:, None]
        somewhere_better |= other < y[:, None]
    beaten: npt.NDArray[np.bool_] = np.any(nowhere_worse & somewhere_better, axis=1)
    return beaten
