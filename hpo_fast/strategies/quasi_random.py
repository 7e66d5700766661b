"""Quasi-random search: points that fill the space more evenly than random ones."""
# ruff: noqa: D102 - the contract of the protocol's verbs stands in base.py

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hpo_fast.errors import StrategyError
from hpo_fast.strategies.base import FloatArray, IntArray, Observations, Pending, Proposal, Strategy

if TYPE_CHECKING:
    from hpo_fast.space import Space

_KINDS = ("sobol", "halton", "lhs")
_BLOCK = 64  # points drawn at once: a power of two, as Sobol's balance wants; one SciPy call costs as much as 64 points
_BITS = 32  # of Sobol's numbers; SciPy cannot skip ahead with more, and its default of 30 ends after 2**30 points
_LAST = float(np.nextafter(1.0, 0.0))


class QuasiRandomSearch(Strategy):
    """Walk along a low-discrepancy sequence: point i belongs to trial number i, whatever happened before.

    Each parameter is read off its own coordinate of the sequence, through its prior when it has one. A point is a
    function of the seed and the trial's number (and of the SciPy release, which owns the sequences), so any number of
    workers gets the same points; numbers that the user enqueues or adds leave gaps in the sequence.

    Args:
        kind: "sobol"; "halton", which suits budgets that are no power of two; or "lhs", Latin hypercubes: trials 0 to
            block - 1 are one hypercube, the next `block` trials another one, drawn independently from the seed and
            the block's index. Within a block every coordinate has exactly one point in each of its `block` equal
            cells, so give the planned number of trials as `block`.
        scrambled: randomise the sequence with the seed. Without it Sobol and Halton do not depend on the seed and
            begin in the corner of all lower bounds; the points of "lhs" then sit in the middle of their cells.
        block: points a Latin hypercube, >= 1; 64 when left out. Only for kind="lhs".

    Cost: O(d) a trial in order of number. Going back to a smaller number costs one pass over the sequence for Sobol.
    Reference: Owen 1998, Scrambling Sobol' and Niederreiter-Xing points; McKay, Beckman and Conover 1979 (Latin
    hypercubes).
    """

    name: ClassVar[str] = "quasi_random"
    reads_history: ClassVar[bool] = False

    def __init__(self, kind: str = "sobol", scrambled: bool = True, block: int | None = None) -> None:
        if kind not in _KINDS:
            raise StrategyError(
                f"QuasiRandomSearch: kind must be one of {', '.join(map(repr, _KINDS))}, but got {kind!r}."
            )
        if block is not None and kind != "lhs":
            raise StrategyError(
                f"QuasiRandomSearch: block is the size of a Latin hypercube, but kind is {kind!r}; leave block out, or "
                'give kind="lhs".'
            )
        if block is not None and (isinstance(block, bool) or not isinstance(block, int) or block < 1):
            raise StrategyError(f"QuasiRandomSearch: block must be an integer >= 1, but got {block!r}.")
        self._kind = kind
        self._scrambled = bool(scrambled)
        self._given_block = block
        self._block = _BLOCK if block is None else block

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"kind": self._kind, "scrambled": self._scrambled}
        return config if self._given_block is None else config | {"block": self._given_block}

    def start(self, space: Space, n_objectives: int, n_constraints: int, seed: int) -> None:
        # scipy.stats takes longer to import than the rest of this package, so it is loaded by those who use it.
        from scipy.stats import qmc

        if self._kind == "sobol" and space.d > qmc.Sobol.MAXDIM:
            raise StrategyError(
                f'QuasiRandomSearch: kind="sobol" serves up to {qmc.Sobol.MAXDIM} parameters, but the space has '
                f'{space.d}; take kind="halton" or kind="lhs".'
            )
        # SciPy before 1.15 calls the generator "seed".
        self._generator_name = "rng" if "rng" in inspect.signature(qmc.Sobol).parameters else "seed"
        self._qmc = qmc
        self._space = space
        self._seed = seed
        self._engine = self._make_engine(0)
        self._index = -1  # of the block at hand
        self._U: FloatArray = np.empty((0, space.d))

    def _make_engine(self, index: int) -> Any:
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self._seed, index])))
        options: dict[str, Any] = {"d": self._space.d, "scramble": self._scrambled, self._generator_name: generator}
        if self._kind == "sobol":
            return self._qmc.Sobol(bits=_BITS, **options)
        return self._qmc.Halton(**options) if self._kind == "halton" else self._qmc.LatinHypercube(**options)

    def _points(self, index: int) -> FloatArray:
        """Give the codes of block `index`, drawn when it is not the block at hand."""
        if index != self._index:
            first = index * self._block
            if self._kind == "lhs":
                self._engine = self._make_engine(index)
            else:
                if self._engine.num_generated > first:
                    self._engine.reset()
                if self._engine.num_generated < first:
                    self._engine.fast_forward(first - self._engine.num_generated)
            # The ends of SciPy's intervals differ between kinds and releases; the unit cube here is [0, 1).
            W = np.clip(np.asarray(self._engine.random(self._block), dtype=np.float64), 0.0, _LAST)
            self._U = self._space.from_uniform(W)
            self._index = index
        return self._U

    def ask(self, numbers: Sequence[int] | IntArray, pending: Pending) -> list[Proposal]:
        proposals = []
        for number in map(int, numbers):
            index, row = divmod(number, self._block)
            proposals.append(Proposal(self._points(index)[row].copy()))
        return proposals

    def tell(self, observations: Observations) -> None:
        """Take nothing in: no point depends on what came before."""
