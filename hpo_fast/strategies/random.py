"""Random search: every trial drawn anew from the priors of the parameters."""
# ruff: noqa: D102 - the contract of the protocol's verbs stands in base.py

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from hpo_fast.backends import uniforms
from hpo_fast.strategies.base import IntArray, Observations, Pending, Proposal, Strategy, parameter_streams

if TYPE_CHECKING:
    from hpo_fast.space import Space


class RandomSearch(Strategy):
    """Draw each trial at random, independently of all others.

    Every parameter is drawn from its prior, or evenly over its range (the logarithm of its range with log=True).
    The draw depends on the seed, the trial's number and the parameter's name alone: trial 7 is the same whether one
    worker runs the study or a hundred, whatever happened before it, and a parameter added to the space leaves the
    values of the others as they were.

    Cost: one row of d uniform numbers a trial, whatever n.
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

    def ask(self, numbers: Sequence[int] | IntArray, pending: Pending) -> list[Proposal]:
        return [Proposal(u) for u in self._from_uniform(uniforms(self._seed, numbers, self._streams))]

    def tell(self, observations: Observations) -> None:
        """Take nothing in: no draw depends on what came before."""
