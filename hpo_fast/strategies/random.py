"""Random search: every trial drawn anew from the priors of the parameters."""
# ruff: noqa: D102 - the contract of the protocol's verbs stands in base.py

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from hpo_fast.backends import uniforms
from hpo_fast.strategies.base import FloatArray, IntArray, Observations, Pending, Proposal, Strategy, parameter_streams

if TYPE_CHECKING:
    from hpo_fast.space import Space

# 5 parameters drawn for one trial take 4 us, for 256 trials as arrays 0.5 us a trial. Wide spaces would wait at first.
_BLOCK_ROWS = 256
_BLOCK_NUMBERS = 4096


class RandomSearch(Strategy):
    """Draw each trial at random, independently of all others.

    Every parameter is drawn from its prior, or evenly over its range (the logarithm of its range with log=True).
    The draw depends on the seed, the trial's number and the parameter's name alone: trial 7 is the same whether one
    worker runs the study or a hundred, whatever happened before it, and a parameter added to the space leaves the
    values of the others as they were.

    Cost: one row of d uniform numbers a trial, whatever n; drawn for up to 256 trial numbers at once.
    Reference: Bergstra and Bengio 2012, Random search for hyper-parameter optimization.
    """

    name: ClassVar[str] = "random"
    reads_history: ClassVar[bool] = False

    def config(self) -> dict[str, Any]:
        return {}

    def start(self, space: Space, n_objectives: int, n_constraints: int, seed: int) -> None:
        self._from_uniform = space.from_uniform
        self._streams = parameter_streams(space.names, "random")
        self._seed = seed
        self._rows = max(1, min(_BLOCK_ROWS, _BLOCK_NUMBERS // space.d))
        self._first = -1
        self._block: list[FloatArray] = []  # the points of trials _first, _first + 1, ...

    def ask(self, numbers: Sequence[int] | IntArray, pending: Pending) -> list[Proposal]:
        return [Proposal(self._point(int(number))) for number in numbers]

    def _point(self, number: int) -> FloatArray:
        i = number - self._first
        if not 0 <= i < len(self._block):
            i = number % self._rows
            self._first = number - i
            drawn = uniforms(self._seed, range(self._first, self._first + self._rows), self._streams)
            points = self._from_uniform(drawn)
            points.flags.writeable = False
            self._block = list(points)
        return self._block[i]

    def tell(self, observations: Observations) -> None:
        """Take nothing in: no draw depends on what came before."""
