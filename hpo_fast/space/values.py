"""What may stand in a search space: JSON values told apart by type, and numbers of any make."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from hpo_fast.errors import SpaceError


def plain(value: Any) -> Any:
    """Take the Python object out of a NumPy scalar or array without a dimension; None where masked, or pandas' NA."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        if np.ma.is_masked(value):
            return None
        if value.dtype.kind in "mM":  # a date, of nanoseconds perhaps, that would be an int then
            return np.asarray(value)[()]
        value = value.item()
        return float(value) if isinstance(value, np.floating) else value  # a long double gives itself
    if value.__class__.__name__ == "NAType" and value is getattr(sys.modules.get("pandas"), "NA", None):
        return None
    return value


def json_copy(value: Any, label: str) -> Any:
    """Copy a JSON value, so that later changes of the caller's list or dict do not reach the space.

    Raises:
        SpaceError: the value is not None, bool, int, finite float, str, or a list or dict (with str keys) of such.
    """
    value = plain(value)
    kind = value.__class__
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [json_copy(item, label) for item in value]
    if kind is dict and all(key.__class__ is str for key in value):
        return {key: json_copy(item, label) for key, item in value.items()}
    hint = "write it as a list" if kind is tuple else "choose names for such objects and look them up in the objective"
    raise SpaceError(
        f"{label}: values must be JSON (None, bool, int, finite float, str, list, dict with str keys), "
        f"but got {value!r} of type {kind.__name__}; {hint}."
    )


def json_key(value: Any) -> Any:
    """Give a hashable key that tells 1, 1.0, "1" and True apart, at any depth, and ignores the order of a dict."""
    if value.__class__ is list:
        return (list, tuple(map(json_key, value)))
    if value.__class__ is dict:
        return (dict, frozenset((key, json_key(item)) for key, item in value.items()))
    return (value.__class__, value)


def real(value: Any, label: str) -> int | float:
    """Check that a value is a real number (a bool is none) and give it as a Python one."""
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise SpaceError(f"{label}: the value must be a number, but got {value!r}; give an int or a float.")
    return number


def whole(value: Any, label: str) -> int:
    """Check that a value is a whole number (3.0 is one) and give it as an int."""
    number = real(value, label)
    if isinstance(number, float):
        if not number.is_integer():
            raise SpaceError(f"{label}: the value must be a whole number, but got {value!r}; round it.")
        return int(number)
    return int(number)


def outside(value: Any, low: Any, high: Any, label: str) -> SpaceError:
    """Make the error for a value that is out of range."""
    return SpaceError(
        f"{label}: the value must lie in [{low!r}, {high!r}], but got {value!r}; move it inside or widen the range."
    )


def finite(value: Any, label: str) -> float:
    """Check that a value is a number that a finite double can hold, and give it as one."""
    number = real(value, label)
    try:
        number = float(number) + 0.0  # + 0.0 makes 0.0 of -0.0
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SpaceError(f"{label}: the value must be a finite double, but got {value!r}; give a finite one.")
    return number
