"""The parameters of many trials as columns: what was told, exactly, in little more than the bytes of the numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hpo_fast.storage.coding import write_json

_MOST_INDEXED = 2**16  # different values of a column that are kept once each; with more of them, each is kept by itself
_JSON = (bool, int, float, str, list, dict, type(None))


class Indexed(NamedTuple):
    """A column with few different values: value i is `values[places[i]]`."""

    places: npt.NDArray[np.unsignedinteger[Any]]
    values: list[Any]


Kept = npt.NDArray[Any] | Indexed | list[Any]


def keep(column: npt.NDArray[Any] | Sequence[Any], copy: Callable[[Any], Any]) -> Kept:
    """Keep one parameter's values in a way that gives the same Python objects back.

    Args:
        column: m values, as `space.columns.column` gives them; an array must belong to nobody else.
        copy: what makes a value the journal's own.
    """
    if isinstance(column, np.ndarray):
        return column
    values: list[Any] = []
    known: dict[Any, int] = {}
    places = []
    for value in column:
        # Only the written form tells 1, 1.0, "1", True and -0.0 apart at any depth.
        key = value if value.__class__ is str else (value.__class__, repr(value))
        place = known.get(key)
        if place is None:
            place = len(values)
            if place == _MOST_INDEXED:
                return [copy(value) for value in column]
            values.append(copy(value))
            if value.__class__ in _JSON:  # another class may write different values alike
                known[key] = place
        places.append(place)
    return Indexed(np.array(places, dtype=np.uint8 if len(values) <= 256 else np.uint16), values)


class ParamColumns:
    """The parameters of m trials as columns, in parts of any length.

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
        self._starts = [0, *ends]
        self._exists = exists

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
            end = min(stop, self._starts[i + 1])
            columns = [
                [None] * (end - start) if column is None else read(column, start - offset, end - offset)
                for column in self._parts[i]
            ]
            table += zip(*columns, strict=True)
            start = end
        return table


class ParamRows:
    """The same for few trials, which take less as they are: dicts in order of the names, that belong to nobody else."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def dicts(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Do as ParamColumns; each call gives the same dicts."""
        return self._rows[start:stop]

    def texts(self, start: int, stop: int) -> list[str]:
        """Do as ParamColumns."""
        return list(map(write_json, self._rows[start:stop]))


def _values(column: Kept, start: int, stop: int) -> list[Any]:
    if isinstance(column, Indexed):
        values = column.values
        return [values[i] for i in column.places[start:stop].tolist()]
    part = column[start:stop]
    return part if isinstance(part, list) else list(part.tolist())


def _texts(column: Kept, start: int, stop: int) -> list[str]:
    if isinstance(column, Indexed):
        places = column.places[start:stop].tolist()
        texts = {i: write_json(column.values[i]) for i in set(places)}
        return [texts[i] for i in places]
    if isinstance(column, np.ndarray):
        return list(map(repr, column[start:stop].tolist()))  # of Python's numbers, as JSON writes them
    return list(map(write_json, column[start:stop]))
