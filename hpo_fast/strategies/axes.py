"""Which values a grid gives to one parameter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np

from hpo_fast.errors import StrategyError
from hpo_fast.space.parameters import Categorical, Ordinal, Parameter
from hpo_fast.space.points import LogIntPoints, Points
from hpo_fast.strategies.base import FloatArray


def read_levels(given: Any, label: str) -> int | list[Any]:
    """Read what the user gave as levels of one parameter: a count, or the values themselves.

    Args:
        given: an integer >= 1, or a list of values, not empty.
        label: what to call it in an error.

    Raises:
        StrategyError: when it is neither.
    """
    if isinstance(given, Integral) and not isinstance(given, bool):
        if given < 1:
            raise StrategyError(f"GridSearch: {label} must be at least 1, but got {given}.")
        return int(given)
    if isinstance(given, np.ndarray):
        given = given.tolist()
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes, Mapping, set, frozenset)):
        raise StrategyError(
            f"GridSearch: {label} must be a number of levels or a list of values, but got {given!r}; write [{given!r}] "
            "for a single value."
        )
    values = [value.item() if isinstance(value, np.generic) else value for value in given]
    if not values:
        raise StrategyError(f"GridSearch: {label} must hold at least one value, but is empty.")
    return values


def grid_axis(parameter: Parameter, levels: int | list[Any], label: str) -> FloatArray:
    """Give the codes of the values that a grid combines.

    Args:
        parameter: the parameter.
        levels: a count or the values, as `read_levels` gave them.
        label: what to call them in an error.

    Returns:
        (L,) distinct canonical codes, in the order of the values given, else ascending.

    Raises:
        SpaceError: for a value that the parameter cannot have.
        StrategyError: for a value given twice.
    """
    scale = parameter.scale
    if isinstance(levels, list):
        codes = [scale.code(value, f"GridSearch: {label}") for value in levels]
        seen: dict[float, Any] = {}
        for code, value in zip(codes, levels, strict=True):
            if code in seen:
                raise StrategyError(
                    f"GridSearch: {label} must hold different values, but {seen[code]!r} and {value!r} are the same; "
                    "remove one."
                )
            seen[code] = value
    elif not isinstance(scale, Points):
        # A range of a few doubles may have fewer values than levels.
        codes = list(dict.fromkeys(scale.snap(part) for part in _parts(levels)))
    else:
        # What a user listed one by one is never thinned out, whatever the number of levels.
        listed = isinstance(parameter, (Categorical, Ordinal))
        indices = range(scale.size) if listed or scale.size <= levels else _spread(scale, levels)
        codes = [scale.code(scale.at(i), label) for i in indices]
    return np.array(codes, dtype=np.float64)


def _parts(levels: int) -> list[float]:
    return [0.5] if levels == 1 else [k / (levels - 1) for k in range(levels)]


def _spread(scale: Points, levels: int) -> list[int]:
    """Choose fewer indices than there are, ascending, evenly on the parameter's own scale, both ends among them."""
    last = scale.size - 1
    if isinstance(scale, LogIntPoints):
        ratio = math.log(scale.last / scale.low)
        indices = [round(scale.low * math.exp(part * ratio)) - scale.low for part in _parts(levels)]
        # Where the points lie farther apart than the levels, the next free ones are taken.
        for k in range(1, levels):
            indices[k] = max(indices[k], indices[k - 1] + 1)
        for k in reversed(range(levels)):
            indices[k] = min(indices[k], last - (levels - 1 - k))
        return indices
    # In integers: up to 2**50 points times any number of levels.
    return [last // 2] if levels == 1 else [(2 * k * last + levels - 1) // (2 * (levels - 1)) for k in range(levels)]
