"""Grid search: every combination of chosen values once."""
# ruff: noqa: D102 - the contract of the protocol's verbs stands in base.py

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from hpo_fast.errors import StrategyError
from hpo_fast.strategies.axes import grid_axis, read_levels
from hpo_fast.strategies.base import IntArray, Observations, Pending, Proposal, Strategy
from hpo_fast.strategies.enumeration import Enumeration
from hpo_fast.trial import TrialState

if TYPE_CHECKING:
    from hpo_fast.space import Space

_LEVELS = 5
_FEW = 32  # points that take less time one by one than as arrays
_ORDERS = ("lexicographic", "shuffled")


class GridSearch(Strategy):
    """Try every combination of chosen values once, then stop.

    A parameter that exists only under conditions is combined only with the points at which it exists, so no two trials
    are the same. The grid is numbered, not listed: one of 10**12 points starts at once and takes no more memory than
    its axes and what was told. A point that anybody has tried counts as done: enqueued and added trials too, and trials
    of any worker.

    Args:
        levels: how many values of each parameter to combine, >= 1; or a mapping from name to such a number or to the
            values themselves, 5 for names left out. That many values of a Float or Int lie evenly between its bounds
            (evenly in the logarithm with log=True), both included; the middle one when it is 1. An Int or a stepped
            Float with fewer values gives all of them, and so do Categorical, Ordinal and Constant, always.
        order: "lexicographic": the first parameter changes slowest, what depends on a parameter is right behind it;
            or "shuffled": an order drawn with the seed, so that a part of the grid covers all of it.
        retry_failed: ask a point whose trial failed once more, after all others. If it fails again it is done.

    Cost: O(d) an ask or tell, and O(d) for each pending point that an ask sees first, O(1) for each other one;
        independent of the grid's size and of the number of trials.
    """

    name: ClassVar[str] = "grid"
    distinct: ClassVar[bool] = True

    def __init__(
        self,
        levels: int | Mapping[str, Any] = _LEVELS,
        *,
        order: str = "lexicographic",
        retry_failed: bool = False,
    ) -> None:
        if order not in _ORDERS:
            raise StrategyError(f"GridSearch: order must be one of {', '.join(map(repr, _ORDERS))}, but got {order!r}.")
        self._levels: dict[str, int | list[Any]] = {}
        self._count: int | None = None
        if isinstance(levels, Mapping):
            self._levels = {name: read_levels(given, f"levels[{name!r}]") for name, given in levels.items()}
        elif isinstance(count := read_levels(levels, "levels"), int):
            self._count = count
        else:
            raise StrategyError(
                f"GridSearch: levels must be a number, or a mapping from name to values, but got {levels!r}; "
                'write levels={"x": [...]}.'
            )
        self._order = order
        self._retry_failed = bool(retry_failed)

    def config(self) -> dict[str, Any]:
        return {
            "levels": copy.deepcopy(self._levels) if self._count is None else self._count,
            "order": self._order,
            "retry_failed": self._retry_failed,
        }

    def start(self, space: Space, n_objectives: int, n_constraints: int, seed: int) -> None:
        for name in self._levels:
            if name not in space:
                raise StrategyError(
                    f"GridSearch: levels must name parameters of the space, but got {name!r}; it has "
                    f"{', '.join(map(repr, space.names))}."
                )
        count = _LEVELS if self._count is None else self._count
        axes = [grid_axis(space[name], self._levels.get(name, count), f"levels[{name!r}]") for name in space.names]
        self._points = Enumeration(space.layout, axes)
        self._shuffle = _Shuffle(self._points.size, seed) if self._order == "shuffled" else None
        # Positions in the order of asking. Below _ahead all were told but for those in _gaps, which were given out;
        # from there on only those in _told were.
        self._ahead = 0
        self._gaps: set[int] = set()
        self._told: set[int] = set()
        self._left = self._points.size
        self._retry: dict[int, None] = {}  # told as failed once, in the order of telling
        self._pending: dict[bytes, int | None] = {}  # the code of each pending point: its position

    def ask(self, numbers: Sequence[int] | IntArray, pending: Pending) -> list[Proposal]:
        known, self._pending = self._pending, {}
        for u in pending.U:
            key = u.tobytes()
            self._pending[key] = known[key] if key in known else self._position(u)
        free = self._free({position for position in self._pending.values() if position is not None})
        return [Proposal(self._points.point(self._index(position))) for _, position in zip(numbers, free, strict=False)]

    def _free(self, taken: set[int]) -> Iterator[int]:
        """Go through the positions neither told nor taken, in order, then through those to be tried again."""
        for position in sorted(self._gaps - taken):
            yield position
        while self._ahead < self._points.size:
            position = self._ahead
            self._ahead += 1
            if position in self._told:
                self._told.remove(position)
                continue
            self._gaps.add(position)
            if position not in taken:
                yield position
        for position in self._retry:
            if position not in taken:
                yield position

    def tell(self, observations: Observations) -> None:
        U, states = observations.U, observations.states
        if len(U) > _FEW:  # of a long history that others chose, few points lie on the grid
            rows = self._points.candidates(U)
            U, states = U[rows], states[rows]
        for u, state in zip(U, states.tolist(), strict=True):
            position = self._position(u)
            if position is None:
                continue
            new = position in self._gaps if position < self._ahead else position not in self._told
            if not new:
                self._retry.pop(position, None)
                continue
            if position < self._ahead:
                self._gaps.remove(position)
            else:
                self._told.add(position)
            if self._retry_failed and state == TrialState.FAILED:
                self._retry[position] = None  # before it is counted: an interrupt between must not leave the grid done
            self._left -= 1

    @property
    def done(self) -> bool:
        return not self._left and not self._retry

    def _index(self, position: int) -> int:
        return position if self._shuffle is None else self._shuffle.forward(position)

    def _position(self, u: Any) -> int | None:
        index = self._points.index(u)
        return index if index is None or self._shuffle is None else self._shuffle.backward(index)


class _Shuffle:
    """A permutation of range(size) drawn with a key, in constant memory: a Feistel cipher that walks cycles.

    Reference: Black and Rogaway 2002, Ciphers with arbitrary finite domains, section 3 and 4.
    """

    _ROUNDS = 8  # 4 are a pseudo-random permutation of a large set; halves of a few bits want more

    def __init__(self, size: int, key: int) -> None:
        self._size = size
        bits = max(2, (size - 1).bit_length())
        self._halves = (bits // 2, bits - bits // 2)  # the domain has fewer than 2 size elements once size > 2
        self._key = key.to_bytes(8, "little")

    def _round(self, number: int, half: int) -> int:
        """Give the bits that round `number` adds to one half, from the other half: as many as the added-to half has."""
        width = self._halves[number % 2]
        other = self._halves[1 - number % 2]
        text = self._key + bytes((number,)) + half.to_bytes((other + 7) // 8, "little")
        return int.from_bytes(hashlib.shake_128(text).digest((width + 7) // 8), "little") & ((1 << width) - 1)

    def _walk(self, x: int, rounds: Sequence[int]) -> int:
        low = self._halves[1]
        while True:
            halves = [x >> low, x & ((1 << low) - 1)]
            for number in rounds:
                halves[number % 2] ^= self._round(number, halves[1 - number % 2])
            x = halves[0] << low | halves[1]
            if x < self._size:
                return x

    def forward(self, position: int) -> int:
        """Give the element at a position."""
        return self._walk(position, range(self._ROUNDS))

    def backward(self, element: int) -> int:
        """Give the position of an element."""
        return self._walk(element, range(self._ROUNDS - 1, -1, -1))
