"""Reads what the user tells: one trial, or a table of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpo_fast.errors import StudyError
from hpo_fast.storage.journal import Result
from hpo_fast.study.copies import plain, plain_value
from hpo_fast.study.objectives import Objectives, not_finite
from hpo_fast.trial import Outcome, TrialState, read_state

if TYPE_CHECKING:
    from hpo_fast.space import Space

FloatArray = npt.NDArray[np.float64]
States = Iterable[TrialState | str | int]

_DONE, _PRUNED, _FAILED = TrialState.DONE, TrialState.PRUNED, TrialState.FAILED


def read_one(
    objectives: Objectives,
    value: Any,
    constraints: Any = None,
    state: TrialState | str | int | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> Result:
    """Read what was told of one trial; the arguments are those of Study.tell.

    Raises:
        StudyError: when it is not of the right form. NaN, inf and None are: they make a failed trial.
    """
    kept = None
    if isinstance(value, Outcome):
        constraints = value.constraints if constraints is None else constraints
        if value.attrs:
            kept = as_json(value.attrs, "attrs")
        value = value.values
    if attrs:
        kept = {**(kept or {}), **as_json(attrs, "attrs")}
    if isinstance(constraints, tuple) and not constraints:
        constraints = None
    ended = _DONE if state is None else read_state(state)
    values = None if value is None or ended is _FAILED else objectives.read_values(value)
    result = judged(ended, values, None, kept)
    if result.values is None or (constraints is None and (ended is _PRUNED or not objectives.constraints)):
        return result  # a failed trial needs no constraints
    return judged(ended, values, objectives.read_constraints(constraints), kept)


def judged(
    ended: TrialState,
    values: Sequence[float | None] | None,
    limits: Sequence[float | None] | None,
    attrs: dict[str, Any] | None = None,
) -> Result:
    """Give what becomes of a trial: the one rule for `tell`, `add_trial`, `add_trials` and objectives.

    A number that is not finite fails a trial. A pruned one may come without values, and without constraints.

    Args:
        ended: DONE, PRUNED or FAILED, as the user said.
        values: one for each objective, None or NaN where there is none; None: nothing was told.
        limits: one for each constraint, or None.
        attrs: what is kept with the trial.
    """
    if ended is _FAILED:
        return Result(_FAILED, attrs=attrs, reason="told as failed")
    if ended is _PRUNED:
        if _blank(values):
            return Result(_PRUNED, attrs=attrs)
        limits = None if _blank(limits) else limits
    if values is None:
        return Result(_FAILED, attrs=attrs, reason="the value is None")
    reason = not_finite(values, "value") or (None if limits is None else not_finite(limits, "constraint"))
    if reason is not None:
        return Result(_FAILED, attrs=attrs, reason=reason)
    return Result(ended, tuple(values), None if limits is None else tuple(limits), attrs)  # type: ignore[arg-type]


def _blank(numbers: Sequence[float | None] | None) -> bool:
    return numbers is None or all(number is None or number != number for number in numbers)


def read_many(
    space: Space,
    objectives: Objectives,
    params: Iterable[Mapping[str, Any]] | Mapping[str, Any],
    values: Any,
    constraints: Any,
    states: States | None,
) -> tuple[list[dict[str, Any]], FloatArray, list[Result]]:
    """Read a table of told trials; the arguments are those of Study.add_trials.

    Raises:
        SpaceError: when a point does not belong to the space.
        StudyError: when the lengths differ or something is no number.
    """
    if hasattr(params, "keys"):
        columns: Any = params  # a mapping, or a pandas DataFrame, which is none
        U = space.encode_many(columns)
        rows = _rows(space, columns, U)
    elif isinstance(params, Iterable):
        rows = [plain(one, f", row {i}") for i, one in enumerate(params)]
        U = space.encode_many(rows)
    else:
        raise StudyError(f"params must be dicts, or a mapping from name to values, but got {params!r}.")
    m = len(rows)
    Y = _table(values, m, objectives.n, "values")
    if (objectives.constraints > 0) != (constraints is not None):
        raise StudyError(
            f"constraints must have {objectives.constraints} columns, "
            f"but got {'none' if constraints is None else 'some'}."
        )
    G = None if constraints is None else _table(constraints, m, objectives.constraints, "constraints")
    ends = [_DONE] * m if states is None else [read_state(one) for one in _listed(states, "states")]
    if len(ends) != m:
        raise StudyError(f"states must have one entry a trial ({m}), but got {len(ends)}.")
    finite = np.isfinite(Y if G is None else np.hstack([Y, G]))
    good: list[bool] = np.logical_and.reduce(finite, axis=1).tolist()
    told = list(map(tuple, Y.tolist()))
    limits: list[tuple[float, ...] | None] = [None] * m if G is None else list(map(tuple, G.tolist()))
    results = [
        Result(ended, one, limit) if valid and ended is not _FAILED else judged(ended, one, limit)
        for ended, valid, one, limit in zip(ends, good, told, limits, strict=True)
    ]
    return rows, U, results


def check_name(name: Any) -> None:
    """Check the `name` argument of a study.

    Raises:
        StudyError: when it is neither None nor a text.
    """
    if name is None:
        return
    if not isinstance(name, str) or not name:
        raise StudyError(f"name must be a string that is not empty, but got {name!r}.")
    if readable(name) != name:
        raise StudyError(f"name must be text that UTF-8 can hold, but got {name!r}; leave out what is no character.")


def drawn(seed: int | None) -> int:
    """Give the seed, or draw one for a study that was given none."""
    return int.from_bytes(os.urandom(8), "little") >> 1 if seed is None else seed


def as_json(thing: Mapping[str, Any], argument: str) -> dict[str, Any]:
    """Copy a dict the way that the study file would give it back, so that memory and file show the same.

    Raises:
        StudyError: when it is not JSON-able.
    """
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(thing), default=_item))
    except (TypeError, ValueError, RecursionError) as error:
        raise StudyError(f"{argument} must be JSON-able, but got {thing!r}: {error}.") from error
    return copy


def _item(thing: Any) -> Any:
    if isinstance(thing, (np.generic, np.ndarray)):
        return thing.tolist()
    raise TypeError(f"{type(thing).__name__} is not JSON-able")


def _rows(space: Space, columns: Mapping[str, Any], U: FloatArray) -> list[dict[str, Any]]:
    """Turn columns into dicts that hold only the parameters that exist."""
    names = list(space.names)
    lists = [_list(columns[name], name) if name in columns else [None] * len(U) for name in names]
    exists = ~np.isnan(U[:, space.layout.start[:-1]])
    if exists.all():
        return (
            [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]
            if names
            else [{} for _ in range(len(U))]
        )
    return [
        {name: value for name, value, there in zip(names, row, flags, strict=True) if there}
        for row, flags in zip(zip(*lists, strict=True), exists.tolist(), strict=True)
    ]


def _list(column: Any, name: str) -> list[Any]:
    if isinstance(column, np.ndarray) and column.dtype.kind != "O":
        return list(column.tolist())
    return [plain_value(value, name) for value in column]


def _listed(given: Any, argument: str) -> list[Any]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise StudyError(f"{argument} must have one entry a trial, but got {given!r}; give a list or an array.")
    return list(given)


def _table(told: Any, m: int, width: int, argument: str) -> FloatArray:
    """Read m rows of numbers; None becomes NaN, and so does a row that is None."""
    rows = told if isinstance(told, np.ndarray) else _listed(told, argument)
    if width > 1 and isinstance(rows, list):
        rows = [[None] * width if row is None else row for row in rows]
    try:
        raw = np.asarray(rows)
        if raw.dtype.kind not in "fiubO":
            raise ValueError(f"an array of {raw.dtype}")
        table = raw.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise StudyError(
            f"{argument} must hold {'a number' if width == 1 else f'{width} numbers'} for each trial, but got {error}."
        ) from None
    if table.ndim == 1 and width == 1:
        table = table[:, None]
    if table.shape != (m, width):
        shape = f"({m},)" if width == 1 else f"({m}, {width})"
        raise StudyError(f"{argument} must have the shape {shape}, a row a trial, but got {raw.shape}.")
    return table


def readable(text: str) -> str:
    """Give a text that UTF-8 can hold: a file name that is none puts half a character into an error's message."""
    return text.encode("utf-8", "backslashreplace").decode()
