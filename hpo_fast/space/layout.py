"""The search space as plain arrays: all that a backend or the compiled core ever sees of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

CONTINUOUS, ORDERED, CATEGORICAL = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Name the kind, the columns and the conditions of every block of a unit-cube point; all arrays are read-only.

    A block is one parameter. Columns of a block that does not exist in a point are NaN. The codes of a block with
    `size` points (index i counts from 0) are (i + 1/2) / size; those of a logarithmic integer block, whose `low` is not
    NaN, are (ln(low + i) - log_low) / (log_high - log_low).

    Attributes:
        d: number of columns.
        b: number of blocks.
        start: (b + 1,) int64; block j owns the columns start[j]:start[j + 1].
        kind: (b,) int32; CONTINUOUS, ORDERED or CATEGORICAL.
        size: (b,) int64; number of representable points, 0 for a continuous block.
        low: (b,) float64; lowest value of a logarithmic integer block, else NaN.
        log_low: (b,) float64; ln(low - 1/2) of such a block, else NaN.
        log_high: (b,) float64; ln(high + 1/2) of such a block, else NaN.
        order: (b,) int64; the blocks, parents before children.
        cond_child: (c,) int64; the block that condition i restricts.
        cond_parent: (c,) int64; the block that condition i looks at.
        cond_start: (c + 1,) int64; condition i owns the intervals cond_start[i]:cond_start[i + 1].
        cond_lo: (t,) float64; lower ends of closed intervals of the parent's code.
        cond_hi: (t,) float64; upper ends. A condition holds when the parent exists and its code lies in one of the
            intervals; a block exists when all its conditions hold.
    """

    d: int
    b: int
    start: NDArray[np.int64]
    kind: NDArray[np.int32]
    size: NDArray[np.int64]
    low: NDArray[np.float64]
    log_low: NDArray[np.float64]
    log_high: NDArray[np.float64]
    order: NDArray[np.int64]
    cond_child: NDArray[np.int64]
    cond_parent: NDArray[np.int64]
    cond_start: NDArray[np.int64]
    cond_lo: NDArray[np.float64]
    cond_hi: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)


class Block(Protocol):
    """One row of the Layout, as a scale gives it: kind, size, low, log_low and log_high of the parameter."""

    kind: int
    size: int
    low_float: float
    log_low: float
    log_high: float


def make_layout(
    blocks: Sequence[Block],
    order: Sequence[int],
    conditions: Sequence[Sequence[tuple[int, Sequence[tuple[float, float]]]]],
) -> Layout:
    """Lower a space to arrays.

    Args:
        blocks: one for each parameter.
        order: positions of the parameters, parents before children.
        conditions: for each parameter, its conditions: the parent's position and the intervals of the parent's code.
    """
    rows = [(child, parent, spans) for child, own in enumerate(conditions) for parent, spans in own]
    ends = [end for _, _, spans in rows for end in spans]
    b = len(blocks)
    return Layout(
        d=b,
        b=b,
        start=np.arange(b + 1, dtype=np.int64),
        kind=np.array([block.kind for block in blocks], dtype=np.int32),
        size=np.array([block.size for block in blocks], dtype=np.int64),
        low=np.array([block.low_float for block in blocks]),
        log_low=np.array([block.log_low for block in blocks]),
        log_high=np.array([block.log_high for block in blocks]),
        order=np.array(order, dtype=np.int64),
        cond_child=np.array([child for child, _, _ in rows], dtype=np.int64),
        cond_parent=np.array([parent for _, parent, _ in rows], dtype=np.int64),
        cond_start=np.cumsum([0, *(len(spans) for _, _, spans in rows)], dtype=np.int64),
        cond_lo=np.array([lo for lo, _ in ends], dtype=np.float64),
        cond_hi=np.array([hi for _, hi in ends], dtype=np.float64),
    )
