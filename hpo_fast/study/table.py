"""Reads a table of told trials into columns: a million as a few arrays, and none of them as an object."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpo_fast.errors import StudyError
from hpo_fast.space.columns import FEW_ROWS, Column, as_columns, chunks, compact, own_columns
from hpo_fast.space.values import plain
from hpo_fast.storage.bulk import Bulk
from hpo_fast.storage.params import Kept, ParamColumns, ParamRows, keep
from hpo_fast.study.copies import plain_value
from hpo_fast.study.objectives import Objectives
from hpo_fast.study.told import judged
from hpo_fast.trial import TrialState, read_state

if TYPE_CHECKING:
    from hpo_fast.space import Space

FloatArray = npt.NDArray[np.float64]
States = Iterable[TrialState | str | int]
Part = tuple[int, list[Kept | None]]  # trials that came together, and a column for each parameter

_DONE, _FAILED = int(TrialState.DONE), int(TrialState.FAILED)


def read_many(
    space: Space,
    objectives: Objectives,
    params: Iterable[Mapping[str, Any]] | Mapping[str, Any],
    values: Any,
    constraints: Any,
    states: States | None,
) -> Bulk:
    """Read a table of told trials; the arguments are those of Study.add_trials.

    Raises:
        SpaceError: when a point does not belong to the space.
        StudyError: when the lengths differ or something is no number.
    """
    kept: ParamColumns | ParamRows
    if hasattr(params, "keys"):
        U, kept = _from_columns(space, params)
    elif isinstance(params, Iterable):
        U, kept = _from_rows(space, params)
    else:
        raise StudyError(f"params must be dicts, or a mapping from name to values, but got {params!r}.")
    m = len(U)
    Y = _table(values, m, objectives.n, "values")
    if (objectives.constraints > 0) != (constraints is not None):
        raise StudyError(
            f"constraints must have {objectives.constraints} columns, "
            f"but got {'none' if constraints is None else 'some'}."
        )
    G = np.empty((m, 0)) if constraints is None else _table(constraints, m, objectives.constraints, "constraints")
    ends = np.full(m, _DONE, dtype=np.uint8) if states is None else _ends(states, m)
    reasons, reason = _judge(ends, Y, G)
    for array in (U, ends, Y, G):
        array.flags.writeable = False  # strategies get to see them
    return Bulk(kept, U, ends, Y, G, reasons, reason)


def _from_columns(space: Space, table: Any) -> tuple[FloatArray, ParamColumns]:
    """Read a mapping from name to values, or a pandas DataFrame, which is none."""
    given = own_columns(table)
    U = space.encode_columns(given)
    return U, _in_columns(space, U, [(len(U), _kept(space, U, given))])


def _from_rows(space: Space, rows: Iterable[Mapping[str, Any]]) -> tuple[FloatArray, ParamColumns | ParamRows]:
    """Read dicts, some at a time: they may come from an iterator that holds no two at once."""
    codes: list[FloatArray] = []
    parts: list[Part] = []
    for first, chunk in chunks(rows):
        U, columns = space.encode_rows(chunk, first)
        if not first and len(chunk) <= FEW_ROWS:
            return U, ParamRows([{name: row[name] for name in space.names if name in row} for row in chunk])
        codes.append(U)
        parts.append((len(U), _kept(space, U, columns or as_columns(space.names, chunk)[0])))
    U = np.concatenate(codes) if codes else np.empty((0, space.d))
    return U, _in_columns(space, U, parts)


def _kept(space: Space, U: FloatArray, columns: Mapping[str, Column]) -> list[Kept | None]:
    """Keep the columns of the trials U (m, d), in order of the names."""
    # No copy of U: glibc would take one that is freed for a sign to place the next U where it cannot be given back.
    there = ~np.isnan(U)[:, space.layout.start[:-1]]
    return [
        keep(compact(columns[name], has), partial(plain_value, name=name)) if name in columns else None
        for name, has in zip(space.names, there.T, strict=True)
    ]


def _in_columns(space: Space, U: FloatArray, parts: list[Part]) -> ParamColumns:
    starts = space.layout.start[:-1]

    def exists(start: int, stop: int) -> npt.NDArray[np.bool_]:
        return ~np.isnan(U[start:stop])[:, starts]

    return ParamColumns(space.names, parts, exists if len(space.layout.cond_child) else None)


def _judge(ends: npt.NDArray[np.uint8], Y: FloatArray, G: FloatArray) -> tuple[tuple[str | None, ...], Any]:
    """Do `told.judged` for every row: change states, blank numbers that do not count, and say why."""
    reasons: dict[str | None, int] = {None: 0}  # the reason of those that did not fail comes first
    reason = np.zeros(len(ends), dtype=np.uint16)
    # Rows of finite numbers come out of `judged` as they are; they are left out for speed, a microsecond each.
    good = np.isfinite(np.hstack([Y, G]) if G.shape[1] else Y).all(axis=1) & (ends != _FAILED)
    for i in np.flatnonzero(~good).tolist():
        result = judged(TrialState(int(ends[i])), Y[i].tolist(), G[i].tolist() if G.shape[1] else None)
        ends[i] = result.state
        if result.values is None:
            Y[i] = np.nan
        if result.constraints is None:
            G[i] = np.nan
        reason[i] = reasons.setdefault(result.reason, len(reasons))
    return tuple(reasons), reason


def _ends(states: States, m: int) -> npt.NDArray[np.uint8]:
    known: dict[Any, int] = {}
    ends = []
    for one in _listed(states, "states"):
        try:
            end = known.get(one)
            if end is None:
                end = known[one] = int(read_state(one))
        except TypeError:  # it has no hash
            end = int(read_state(one))
        ends.append(end)
    if len(ends) != m:
        raise StudyError(f"states must have one entry a trial ({m}), but got {len(ends)}.")
    return np.array(ends, dtype=np.uint8)


def _listed(given: Any, argument: str) -> list[Any]:
    if isinstance(given, (str, bytes, Mapping, Set)) or not isinstance(given, Iterable):  # keys, or in no order
        raise StudyError(f"{argument} must have one entry a trial, but got {given!r}; give a list or an array.")
    return list(given)


def _table(told: Any, m: int, width: int, argument: str) -> FloatArray:
    """Read m rows of numbers into a new array; None and what is masked become NaN, and so does a row that is None."""
    rows = told
    if not isinstance(told, np.ndarray) or np.ma.is_masked(told) or (told.dtype.kind == "O" and told.size):
        rows = _listed(_items(told) if isinstance(told, np.ndarray) else told, argument)
    try:
        if isinstance(rows, list):
            rows = _python_numbers(rows)
            if width > 1:
                rows = [[None] * width if row is None else row for row in rows]
        wrong = _no_number(rows)
        if wrong is not None:  # that NumPy would take for one
            raise ValueError(f"a {wrong}")
        raw = np.asarray(rows)
        if raw.dtype.kind not in "fiuO":
            raise ValueError(f"an array of {raw.dtype}")
        table = _doubles(raw)
    except (TypeError, ValueError, RuntimeError) as error:  # the last is what torch raises for a tensor with a gradient
        raise StudyError(
            f"{argument} must hold {'a number' if width == 1 else f'{width} numbers'} for each trial, but got {error}."
        ) from None
    if table.ndim == 1 and width == 1:
        table = table[:, None]
    if table.shape != (m, width):
        shape = f"({m},)" if width == 1 else f"({m}, {width})"
        raise StudyError(f"{argument} must have the shape {shape}, a row a trial, but got {raw.shape}.")
    return table


_WRONG = (bool, np.bool_, str, bytes, np.datetime64, np.timedelta64)
_NUMBERS = (float, int, np.floating, np.integer, type(None))


def _python_numbers(rows: list[Any]) -> list[Any]:
    """Take what NumPy wrapped or masked out of its arrays; those of numbers stay."""
    if _all_numbers(set(map(type, rows))):
        return rows
    rows = [_python_row(row) for row in rows]
    if _all_numbers(_kinds_within(rows)):
        return rows
    return [list(map(plain, row)) if isinstance(row, list | tuple) else row for row in rows]


def _all_numbers(kinds: set[type]) -> bool:
    return all(issubclass(kind, _NUMBERS) and not issubclass(kind, _WRONG) for kind in kinds)


def _python_row(row: Any) -> Any:
    if isinstance(row, np.generic) or not hasattr(row, "__array__"):
        return plain(row)
    array = np.asanyarray(row)  # of NumPy, pandas, torch
    if not array.ndim:
        return plain(array)
    return array if array.dtype.kind in "fiu" and not np.ma.is_masked(array) else _items(array)


def _items(array: npt.NDArray[Any]) -> Any:
    return list(array) if array.dtype.kind in "mM" else array.tolist()  # a list of dates could be one of integers


def _kinds_within(rows: list[Any]) -> set[type]:
    return set(map(type, chain.from_iterable(row for row in rows if isinstance(row, list | tuple))))


def _no_number(rows: npt.NDArray[Any] | list[Any]) -> str | None:
    """Give the type of a truth value, or of a text that may read as a number, among the numbers."""
    if isinstance(rows, np.ndarray):
        return None  # NumPy tells
    kinds = set(map(type, rows)) | _kinds_within(rows)
    return min((kind.__name__ for kind in kinds if issubclass(kind, _WRONG)), default=None)


def _doubles(raw: npt.NDArray[Any]) -> FloatArray:
    """Turn numbers into doubles; those beyond their range are infinite, as in `tell`."""
    try:
        return raw.astype(np.float64)
    except OverflowError:
        return np.array([_double(x) for x in raw.ravel().tolist()]).reshape(raw.shape)


def _double(number: Any) -> float:
    try:
        return math.nan if number is None else float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
