"""A study in miniature for the contract kit: it asks, tells, and looks closely at every answer."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_fast.space import Float, Int, Space
from hpo_fast.strategies.base import FloatArray, Notes, Observations, Pending, Proposal, Strategy
from hpo_fast.trial import TrialState

SEED = 20_240_229


class Driver:
    """Play the study for a strategy, in memory, and check every single proposal on the way.

    Args:
        strategy: the strategy; it is started here.
        space: the search space.
        seed: of the study.
        n_outputs: (objectives, constraints).

    Attributes:
        told: finished trials in journal order: (number, u, y, state, note).
        waiting: trials asked and not told: number -> (u, note).
        next_number: the number of the next trial.
    """

    def __init__(self, strategy: Strategy, space: Space, seed: int = SEED, n_outputs: tuple[int, int] = (1, 0)) -> None:
        self.strategy = strategy
        self.space = space
        self.told: list[tuple[int, FloatArray, FloatArray, int, dict[str, Any]]] = []
        self.waiting: dict[int, tuple[FloatArray, dict[str, Any]]] = {}
        self.next_number = 0
        self._k = sum(n_outputs)
        strategy.start(space, *n_outputs, seed)

    def value(self, u: FloatArray) -> FloatArray:
        """Give (k,) values of a point: a smooth function with a level of its own where a parameter does not exist."""
        x = np.where(np.isnan(u), 0.9, u)
        return np.array([float(np.sum((x - 0.3 - 0.1 * output) ** 2)) for output in range(self._k)])

    def propose(self, q: int = 1) -> list[Proposal]:
        """Ask for the next q trials without taking note of the answer; check it, and that no input was changed."""
        numbers = list(range(self.next_number, self.next_number + q))
        pending = self.pending()
        before = copy.deepcopy(pending)
        proposals = self.strategy.ask(list(numbers), pending)
        assert _same_arrays(pending, before), "ask changed its pending trials"
        assert len(proposals) <= q, f"{len(proposals)} proposals for {q} numbers"
        for proposal in proposals:
            self._check(proposal)
        return proposals

    def ask(self, q: int = 1) -> list[int]:
        """Ask for the next q trials and keep them pending; give the numbers that got a point."""
        numbers = []
        for proposal in self.propose(q):
            # A note goes through the study file before anybody sees it again.
            self.waiting[self.next_number] = (proposal.u, json.loads(json.dumps(proposal.note)))
            numbers.append(self.next_number)
            self.next_number += 1
        return numbers

    def tell(self, numbers: Sequence[int], state: TrialState = TrialState.DONE, valued: bool = True) -> None:
        """Finish trials in one call of the strategy.

        Args:
            numbers: of pending trials, in the order in which they enter the journal.
            state: what became of them.
            valued: give them the values of `value`; False, and always for failed ones: NaN.
        """
        for number in numbers:
            u, note = self.waiting.pop(number)
            self._record(number, u, state, note, valued)
        self.tell_strategy(self.strategy, len(self.told) - len(numbers))

    def add(self, U: FloatArray, state: TrialState = TrialState.DONE) -> None:
        """Add finished trials (m, d) that no strategy asked for, as a warm start does."""
        for u in U:
            self._record(self.next_number, u, state, {})
            self.next_number += 1
        self.tell_strategy(self.strategy, len(self.told) - len(U))

    def enqueue(self, u: FloatArray) -> int:
        """Make a point pending that no strategy asked for; give its number."""
        self.waiting[self.next_number] = (u, {})
        self.next_number += 1
        return self.next_number - 1

    def run(self, n: int) -> None:
        """Ask and tell one trial at a time, n times or until the strategy gives no more."""
        for _ in range(n):
            self.tell(self.ask())

    def tell_strategy(self, strategy: Strategy, first: int = 0, last: int | None = None) -> None:
        """Tell a strategy the finished trials first:last of the journal, and check that none was changed."""
        observations = self.observations(first, last)
        before = copy.deepcopy(observations)
        strategy.tell(observations)
        assert _same_arrays(observations, before), "tell changed its observations"

    def observations(self, first: int = 0, last: int | None = None) -> Observations:
        """Give the finished trials first:last of the journal, read-only."""
        rows = self.told[first:last]
        return Observations(
            numbers=_frozen(np.array([row[0] for row in rows], dtype=np.int64)),
            U=_frozen(np.array([row[1] for row in rows]).reshape(len(rows), self.space.d)),
            Y=_frozen(np.array([row[2] for row in rows]).reshape(len(rows), self._k)),
            states=_frozen(np.array([row[3] for row in rows], dtype=np.uint8)),
            notes=Notes(len(rows), {i: row[4] for i, row in enumerate(rows) if row[4]}),
        )

    def pending(self) -> Pending:
        """Give the trials asked and not told, read-only, in order of number."""
        numbers = sorted(self.waiting)
        return Pending(
            numbers=_frozen(np.array(numbers, dtype=np.int64)),
            U=_frozen(np.array([self.waiting[i][0] for i in numbers]).reshape(len(numbers), self.space.d)),
            notes=[self.waiting[i][1] for i in numbers],
        )

    def points(self) -> list[FloatArray]:
        """Give the codes of all trials in order of number."""
        rows = {row[0]: row[1] for row in self.told} | {number: row[0] for number, row in self.waiting.items()}
        return [rows[number] for number in sorted(rows)]

    def _record(self, number: int, u: FloatArray, state: TrialState, note: dict[str, Any], valued: bool = True) -> None:
        y = self.value(u) if valued and state != TrialState.FAILED else np.full(self._k, np.nan)
        self.told.append((number, u, y, int(state), note))

    def _check(self, proposal: Proposal) -> None:
        u, space = proposal.u, self.space
        assert u.shape == (space.d,) and u.dtype == np.float64, f"u is {u.dtype} {u.shape}, not float64 ({space.d},)"
        inside = np.isnan(u) | ((u >= 0.0) & (u <= 1.0))
        assert inside.all(), f"codes lie in [0, 1], but u = {u}"
        params = space.decode(u)
        for name, value in params.items():
            parameter = space[name]
            if isinstance(parameter, (Float, Int)):
                assert parameter.low <= value <= parameter.high, f"{name} = {value!r} is out of range"
        assert same_bits(space.encode(params), u), f"u is not canonical: {u} decodes to {params}"
        assert same_bits(space.canonical(u[None])[0], u), f"u is not canonical: {u}"
        assert json.loads(json.dumps(proposal.note)) == proposal.note, f"the note is not JSON: {proposal.note!r}"


def same_bits(a: FloatArray, b: FloatArray) -> bool:
    """Say whether two arrays are equal bit for bit, any NaN counting as equal to any other."""
    equal = (a == b) & (np.signbit(a) == np.signbit(b)) if a.shape == b.shape else np.array(False)
    return bool(np.all(equal | (np.isnan(a) & np.isnan(b))))


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


def _same_arrays(one: Observations | Pending, other: Observations | Pending) -> bool:
    return all(
        list(a) == list(b)
        if isinstance(a, Sequence)
        else a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in ((getattr(one, name), getattr(other, name)) for name in one.__slots__)
    )
