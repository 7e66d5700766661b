"""The parameters of many trials as columns."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from hpo_fast.storage.params import Indexed, ParamColumns, keep


def test_a_column_with_few_values_is_indexed_and_tells_types_apart() -> None:
    values: list[Any] = [1, 1.0, True, "1", None, -0.0, 0.0, [1], [1.0], {"a": 1}, {"a": True}]
    column = keep(values * 50, lambda value: value)
    assert isinstance(column, Indexed) and len(column.values) == len(values) and column.places.dtype == np.uint8
    params = ParamColumns(["x"], [(550, [column])], None)
    assert repr([row["x"] for row in params.dicts(3, 547)]) == repr((values * 50)[3:547])
    assert list(map(json.loads, params.texts(0, 11))) == [{"x": value} for value in values]
    many = keep([str(i) for i in range(300)], lambda value: value)
    assert isinstance(many, Indexed) and many.places.dtype == np.uint16 and many.values[299] == "299"
    assert isinstance(keep([str(i) for i in range(2**16 + 1)], lambda value: value), list)


def test_values_that_are_written_alike_are_kept_apart() -> None:
    class Odd(int):
        def __repr__(self) -> str:
            return "odd"

    column = keep([Odd(1), Odd(2), "odd", 3], lambda value: value)
    assert ParamColumns(["x"], [(4, [column])], None).dicts(0, 4) == [{"x": 1}, {"x": 2}, {"x": "odd"}, {"x": 3}]


def test_params_in_parts() -> None:
    parts: Any = [(m, [np.arange(m) + 10 * m, None]) for m in (3, 1, 4)]
    params = ParamColumns(["a", "b"], parts, lambda start, stop: np.array([[True, False]] * (stop - start)))
    whole = [{"a": value} for m in (3, 1, 4) for value in range(10 * m, 11 * m)]
    for start in range(9):
        for stop in range(start, 9):
            assert params.dicts(start, stop) == whole[start:stop]
            assert list(map(json.loads, params.texts(start, stop))) == whole[start:stop]
