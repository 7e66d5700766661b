"""The parameters of many trials as columns: what was told, exactly, in little more than the bytes of the numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hpo_fast.storage.coding import write_json

_MOST_CODED = 2**16  # different values of a column that are kept once each; with more of them, each is kept by itself
_JSON = (bool, int, float, str, list, dict, type(None))


class Coded(NamedTuple):
    """A column with few different values: value i is `values[codes[i]]`."""

    codes: npt.NDArray[np.unsignedinteger[Any]]
    values: list[Any]


Kept = npt.NDArray[Any] | Coded | list[Any]


def keep(column: npt.NDArray[Any] | Sequence[Any], copy: Callable[[Any], Any], own: bool = False) -> Kept:
    """Keep one parameter's values in a way that gives the same Python objects back.

    Args:
        column: m values, as `space.columns.column` gives them.
        copy: what makes a value the journal's own.
        own: the array belongs to nobody else.
    """
    if isinstance(column, np.ndarray):
        return column if own else np.array(column)
    values: list[Any] = []
    places: dict[Any, int] = {}
    codes = []
    for value in column:
        # Only the written form tells 1, 1.0, "1", True and -0.0 apart at any depth.
        key = value if value.__class__ is str else (value.__class__, repr(value))
        place = places.get(key)
        if place is None:
            place = len(values)
            if place == _MOST_CODED:
                return [copy(value) for value in column]
            values.append(copy(value))
            if value.__class__ in _JSON:  # another class may write different values alike
                places[key] = place
        codes.append(place)
    return Coded(np.array(codes, dtype=np.uint8 if len(values) <= 256 else np.uint16), values)


class Params:
    """The parameters of m trials, in parts of any length.

    Args:
        names: the parameters of the space, in order.
        parts: for each part its number of trials, and a column for each parameter, None where no trial has it.
        exists: gives (stop - start, names) which parameters the trials start..stop have; None: all have all.
    """

    def __init__(
        self,
        names: Sequence[str],
        parts: Sequence[tuple[int, list[Kept | None]]],
        exists: Callable[[int, int], npt.NDArray[np.bool_]] | None,
    ) -> None:
        self._names = tuple(names)
        self._parts = [columns for _, columns in parts]
        ends = np.cumsum([m for m, _ in parts], dtype=np.int64).tolist()
        self._starts = [0, *ends[:-1]]
        self._length = ends[-1] if ends else 0
        self._exists = exists

    def __len__(self) -> int:
        return self._length

    def dicts(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Give the parameters of the trials start..stop as told, in order of the names."""
        names = self._names
        table = self._table(start, stop, _values)
        if self._exists is None:
            return [dict(zip(names, row, strict=True)) for row in table]
        flags = self._exists(start, stop).tolist()
        return [
            {name: value for name, value, there in zip(names, row, has, strict=True) if there}
            for row, has in zip(table, flags, strict=True)
        ]

    def texts(self, start: int, stop: int) -> list[str]:
        """Give the same as JSON, as `coding.write_dict` would write it.

        Raises:
            StudyError: a value is not JSON-able.
        """
        heads = [f"{write_json(name)}: " for name in self._names]
        table = self._table(start, stop, _texts)
        if self._exists is None:
            form = "{" + ", ".join(head.replace("%", "%%") + "%s" for head in heads) + "}"
            return [form % row for row in table]
        flags = self._exists(start, stop).tolist()
        return [
            "{" + ", ".join([head + one for head, one, there in zip(heads, row, has, strict=True) if there]) + "}"
            for row, has in zip(table, flags, strict=True)
        ]

    def _table(self, start: int, stop: int, read: Callable[[Kept, int, int], list[Any]]) -> list[tuple[Any, ...]]:
        """Give a tuple a trial of what `read` makes of its columns."""
        table: list[tuple[Any, ...]] = []
        while start < stop:
            i = bisect_right(self._starts, start) - 1
            offset = self._starts[i]
            end = min(stop, self._starts[i + 1] if i + 1 < len(self._starts) else self._length)
            columns = [
                [None] * (end - start) if column is None else read(column, start - offset, end - offset)
                for column in self._parts[i]
            ]
            table += zip(*columns, strict=True)
            start = end
        return table


def _values(column: Kept, start: int, stop: int) -> list[Any]:
    if isinstance(column, Coded):
        values = column.values
        return [values[code] for code in column.codes[start:stop].tolist()]
    part = column[start:stop]
    return part if isinstance(part, list) else list(part.tolist())


def _texts(column: Kept, start: int, stop: int) -> list[str]:
    if isinstance(column, Coded):
        codes = column.codes[start:stop].tolist()
        texts = {code: write_json(column.values[code]) for code in set(codes)}
        return [texts[code] for code in codes]
    if isinstance(column, np.ndarray):
        return list(map(repr, column[start:stop].tolist()))  # of Python's numbers, as JSON writes them
    return list(map(write_json, column[start:stop]))
