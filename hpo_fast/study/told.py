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
from hpo_fast.study.objectives import Objectives
from hpo_fast.trial import Outcome, TrialState, read_state

if TYPE_CHECKING:
    from hpo_fast.space import Space

FloatArray = npt.NDArray[np.float64]
States = Sequence[TrialState | str | int]

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
    if isinstance(value, Outcome):
        constraints = value.constraints if constraints is None else constraints
        attrs = {**value.attrs, **(attrs or {})}
        value = value.values
    kept = as_json(attrs, "attrs") if attrs else None
    ended = _DONE if state is None else read_state(state)
    if ended is _FAILED:
        return Result(_FAILED, attrs=kept, reason="told as failed")
    if ended is _PRUNED and value is None:
        return Result(_PRUNED, attrs=kept)
    values, reason = objectives.read_values(value)
    if values is None:
        return Result(_FAILED, attrs=kept, reason=reason)
    limits = None
    if ended is _DONE or constraints is not None:
        limits, reason = objectives.read_constraints(constraints)
        if reason is not None:
            return Result(_FAILED, attrs=kept, reason=reason)
    return Result(ended, values, limits, kept)


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
    if isinstance(params, Mapping):
        U = space.encode_many(params)
        rows = _rows(space, params, U)
    else:
        rows = [plain(one) for one in params]
        U = space.encode_many(rows)
    m = len(rows)
    Y = _table(values, m, objectives.n, "values")
    if (objectives.constraints > 0) != (constraints is not None):
        raise StudyError(
            f"constraints must have {objectives.constraints} columns, "
            f"but got {'none' if constraints is None else 'some'}."
        )
    G = None if constraints is None else _table(constraints, m, objectives.constraints, "constraints")
    if states is not None and len(states) != m:
        raise StudyError(f"states must have one entry a trial ({m}), but got {len(states)}.")
    finite = np.isfinite(Y if G is None else np.hstack([Y, G]))
    good: list[bool] = np.logical_and.reduce(finite, axis=1).tolist()
    told = list(map(tuple, Y.tolist()))
    limits: list[tuple[float, ...] | None] = [None] * m if G is None else list(map(tuple, G.tolist()))
    ends = [_DONE] * m if states is None else [read_state(one) for one in states]
    results = []
    for ended, valid, one, limit in zip(ends, good, told, limits, strict=True):
        if valid and ended is not _FAILED:
            results.append(Result(ended, one, limit))
        elif ended is _PRUNED and all(y != y for y in one):  # pruned before it had a value
            results.append(Result(_PRUNED))
        else:
            results.append(Result(_FAILED, reason="told as failed" if valid else "a value is not finite"))
    return rows, U, results


def plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Copy params, with Python's numbers in place of NumPy's, which JSON does not know."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in params.items()}


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
    lists = [_list(columns[name]) if name in columns else [None] * len(U) for name in names]
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


def _list(column: Any) -> list[Any]:
    if isinstance(column, np.ndarray):
        return list(column.tolist())
    return [value.item() if isinstance(value, np.generic) else value for value in column]


def _table(told: Any, m: int, width: int, argument: str) -> FloatArray:
    """Read m rows of numbers; None becomes NaN."""
    raw = np.asarray(told if isinstance(told, np.ndarray) else list(told))
    try:
        if raw.dtype.kind not in "fiubO":
            raise ValueError(f"an array of {raw.dtype}")
        table = raw.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise StudyError(f"{argument} must hold numbers, but got {error}.") from None
    if table.ndim == 1 and width == 1:
        table = table[:, None]
    if table.shape != (m, width):
        shape = f"({m},)" if width == 1 else f"({m}, {width})"
        raise StudyError(f"{argument} must have the shape {shape}, a row a trial, but got {raw.shape}.")
    return table
