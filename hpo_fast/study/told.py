"""Reads what the user tells of one trial."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpo_fast.errors import StudyError
from hpo_fast.storage.journal import Result
from hpo_fast.study.objectives import Objectives, not_finite
from hpo_fast.trial import Outcome, TrialState, read_state

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


def readable(text: str) -> str:
    """Give a text that UTF-8 can hold: a file name that is none puts half a character into an error's message."""
    return text.encode("utf-8", "backslashreplace").decode()
