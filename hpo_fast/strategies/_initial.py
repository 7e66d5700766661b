"""The points that a model-based strategy asks before it has a model, or when the model fails."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

import numpy as np

from hpo_fast.backends import uniforms
from hpo_fast.strategies.base import FloatArray, parameter_streams

if TYPE_CHECKING:
    from hpo_fast.space import Space

FEW_POINTS = 4096  # a finite space of at most so many points is listed, to know when it is used up
_ATTEMPTS = 64  # draws for a new point before a repeated one is given


class InitialDesign:
    """The centre of the space for trial 0, then Latin hypercubes of `block` trials each.

    Every coordinate has one point in each of its `block` equal cells. A point is a function of the seed, the trial's
    number and the parameters' names; priors are respected.

    Args:
        space: the search space.
        seed: integer in [0, 2**63).
        block: points a hypercube, >= 1.

    Cost: O(block d) a point.
    Reference: McKay, Beckman and Conover 1979.
    """

    def __init__(self, space: Space, seed: int, block: int) -> None:
        self._space, self._seed, self._block = space, seed, block
        self._order = parameter_streams(space.names, "initial order")
        self._place = parameter_streams(space.names, "initial place")
        self._again = parameter_streams(space.names, "initial again")

    def point(
        self, number: int, seen: Container[bytes], never: Container[bytes], few: Mapping[bytes, FloatArray] | None
    ) -> FloatArray:
        """Gives the (d,) point of a trial: a new one, else one that may be repeated.

        Args:
            number: the trial's number.
            seen: points that should not come again, each as the bytes of its (d,) code.
            never: those of them that must not come again.
            few: all points of a small finite space.
        """
        row = number % self._block
        cells = np.arange(number - row, number - row + self._block)
        if number == 0:
            w = np.full((1, self._space.d), 0.5)
        else:
            rank = np.argsort(np.argsort(uniforms(self._seed, cells, self._order), axis=0), axis=0)[row]
            w = (rank + uniforms(self._seed, [number], self._place)) / self._block
        first = self._space.from_uniform(np.ascontiguousarray(w))
        candidates = [first[0]]
        if first[0].tobytes() in seen:  # a small space, or a user who enqueued it
            more = [uniforms(self._seed, [number], self._again + np.uint64(i)) for i in range(_ATTEMPTS)]
            candidates += list(self._space.from_uniform(np.concatenate(more)))
            candidates += list(few.values()) if few is not None else []
        for taken in (seen, never):
            for u in candidates:
                if u.tobytes() not in taken:
                    return np.array(u)
        return np.array(candidates[-1])


def few_points(space: Space) -> dict[bytes, FloatArray] | None:
    """Lists the points of a finite space, by the bytes of their codes; None when there may be more than FEW_POINTS."""
    layout = space.layout
    if np.any(layout.size == 0) or math.prod(layout.size.tolist()) > FEW_POINTS:
        return None
    codes = []
    for j in range(layout.b):
        i = np.arange(layout.size[j])
        code = (i + 0.5) / layout.size[j]
        if not np.isnan(layout.low[j]):  # a logarithmic integer
            code = (np.log(layout.low[j] + i) - layout.log_low[j]) / (layout.log_high[j] - layout.log_low[j])
        codes.append(code)
    grid = np.stack(np.meshgrid(*codes, indexing="ij"), axis=-1).reshape(-1, layout.d)
    return {u.tobytes(): u for u in space.canonical(np.ascontiguousarray(grid))}
