"""Many points at once: columns of values, and rows turned into columns.

Arrays are encoded some twenty times faster than one value after the other, with the same bits. So a list of floats or
of ints becomes an array, which gives the same Python numbers back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo_fast.errors import SpaceError
from hpo_fast.space.codes import Floats
from hpo_fast.space.values import plain

if TYPE_CHECKING:
    from hpo_fast.space.space import Space

Column = NDArray[Any] | list[Any]

# Rows of an iterable taken at once: enough to make the cost of arrays small, few enough to forget their memory.
CHUNK = 8192
# Up to here one row after the other is faster than arrays: 20 logarithmic columns take 21 us a row, or 0.5 ms at once.
FEW_ROWS = 16

_MISSING = object()
_EXACT = 2**53  # larger integers are compared with a float's bounds one by one, exactly
_SIMPLE = {bool, int, float, str, type(None)}


def column(values: Any) -> Column:
    """Give numbers as an array (m,) of theirs, and anything else as a list of objects.

    Raises:
        SpaceError: it is no column.
    """
    if isinstance(values, (list, tuple)):
        return packed(list(values))
    array = np.asarray(values)
    if array.ndim == 0:
        raise SpaceError(f"a column must hold one value a row, but got {values!r}; give a list or an array.")
    numbers = array.ndim == 1 and (array.dtype.kind in "iu" or array.dtype.str[1:] in ("f2", "f4", "f8"))
    return array if numbers else packed(array.tolist())


def packed(items: list[Any]) -> Column:
    """Give floats alone, or ints of usual size alone, as an array; `tolist` gives the same objects back."""
    kinds = set(map(type, items))
    if not kinds <= _SIMPLE:
        items = [plain(item) for item in items]
        kinds = set(map(type, items))
    if kinds == {float}:
        return np.array(items, dtype=np.float64)
    if kinds == {int} and min(items) >= -_EXACT and max(items) <= _EXACT:
        return np.array(items, dtype=np.int64)
    return items


def shallow(row: Any, where: str) -> dict[str, Any]:
    """Copy a row.

    Raises:
        SpaceError: it is no mapping.
    """
    if row.__class__ is not dict and not isinstance(row, Mapping):
        raise SpaceError(f"params{where} must be a dict name -> value, but got {row!r}; give one.")
    return dict(row)


def chunks(
    rows: Iterable[Mapping[str, Any]], copy: Callable[[Any, str], dict[str, Any]] = shallow
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Go through an iterable once: the position of the first row, and up to CHUNK rows, copied as they come.

    Copied, because a generator may give the same dict again and again, with other values in it.

    Args:
        rows: dicts.
        copy: copies one, and raises SpaceError where it is none, with the row's place in the message.
    """
    left = iter(rows)
    first = 0
    while chunk := [copy(row, f", row {i}") for i, row in enumerate(islice(left, CHUNK), first)]:
        yield first, chunk
        first += len(chunk)


def encode_rows(space: Space, rows: Sequence[dict[str, Any]], first: int = 0) -> tuple[Floats, list[Column]]:
    """Turn dicts into unit-cube points (m, d), with the same bits as `Space.encode`.

    Args:
        space: the search space.
        rows: m dicts.
        first: the position of the first row, for errors.

    Returns:
        The codes, and a column of m values for each parameter; anything may stand where it does not exist.

    Raises:
        SpaceError: as for `Space.encode`, naming the row.
    """
    together = _together(space, rows) if len(rows) > FEW_ROWS else None
    if together is not None:
        return together
    # Few rows, or something that is wrong or rare among them: this says what, or finds that it is right.
    codes = [space._encode_row(row, f", row {first + i}") for i, row in enumerate(rows)]
    columns = [packed([row.get(name) for row in rows]) for name in space.names]
    return np.array(codes, dtype=np.float64).reshape(len(rows), space.d), columns


def _together(space: Space, rows: Sequence[dict[str, Any]]) -> tuple[Floats, list[Column]] | None:
    """Encode column by column; None where a row is not as it should be."""
    m = len(rows)
    codes = np.full((m, space.d), math.nan)
    columns: list[Column] = [[]] * space.d
    used = np.zeros(m, dtype=np.int64)
    for j in space._order:
        name = space.names[j]
        values = [row.get(name, _MISSING) for row in rows]
        if not space._conditions[j]:
            there: Any = slice(None)
            columns[j] = given = packed(values)
        else:
            exists = space._hold(j, codes)
            if [value is not _MISSING for value in values] != exists.tolist():
                return None
            there = np.flatnonzero(exists)
            given = packed([value for value in values if value is not _MISSING])
            columns[j] = spread(given, there, m)
        codes[there, j] = own = space._scales[j].codes(given, "")
        if np.isnan(own).any():  # the scale has no such value, or the parameter is missing
            return None
        used[there] += 1
    return (codes, columns) if used.tolist() == list(map(len, rows)) else None


def spread(given: Column, there: NDArray[np.intp], m: int) -> Column:
    """Put the values of a parameter at the rows where it exists, and anything elsewhere."""
    if isinstance(given, np.ndarray):
        array = np.zeros(m, dtype=given.dtype)
        array[there] = given
        return array
    items: list[Any] = [None] * m
    for i, value in zip(there.tolist(), given, strict=True):
        items[i] = value
    return items
