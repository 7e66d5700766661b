"""One trial as the objective gets it (Trial), as the journal shows it (TrialRecord), as it is told (Outcome)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_fast.errors import StudyError


class TrialState(IntEnum):
    """Where a trial stands. The codes are those of the study file and never change; from DONE on nothing does."""

    RESERVED = 0
    """Its number is given out, its parameters are being chosen."""
    WAITING = 1
    """It has parameters and waits for a worker: it was enqueued or released, or its worker died."""
    RUNNING = 2
    """Somebody is at work on it."""
    DONE = 3
    """It was told its values."""
    PRUNED = 4
    """It was ended early; values, if any, are those it had reached."""
    FAILED = 5
    """It has no valid values; `reason` says why."""

    @property
    def told(self) -> bool:
        """Whether the trial is over, so that nothing about it changes any more."""
        return self >= TrialState.DONE


def read_state(state: TrialState | str | int) -> TrialState:
    """Read the `state` argument of tell and add_trial.

    Raises:
        StudyError: when it is no state that a trial can end in.
    """
    try:
        found = TrialState[state.upper()] if isinstance(state, str) else TrialState(state)
    except (KeyError, ValueError, TypeError):
        found = None
    if found is None or not found.told:
        raise StudyError(f'state must be "done", "pruned" or "failed", but got {state!r}.')
    return found


class Trial:
    """What an objective is given: the parameters to try.

    `trial["lr"]` is `trial.params["lr"]`. A trial made by hand, `Trial({"lr": 0.1})`, runs an objective without any
    study.

    Args:
        params: the value of each parameter that exists in this trial.
        number: the trial's number in its study, >= 0; None when it was made by hand.
    """

    __slots__ = ("number", "params")

    def __init__(self, params: Mapping[str, Any], number: int | None = None) -> None:
        self.params: dict[str, Any] = params if type(params) is dict else dict(params)
        self.number = number

    def __getitem__(self, name: str) -> Any:
        return self.params[name]

    def __contains__(self, name: object) -> bool:
        return name in self.params

    def __iter__(self) -> Iterator[str]:
        return iter(self.params)

    def __len__(self) -> int:
        return len(self.params)

    def get(self, name: str, default: Any = None) -> Any:
        """Give the value of a parameter, or the default where it does not exist in this trial."""
        return self.params.get(name, default)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trial):
            return NotImplemented
        return self.number == other.number and self.params == other.params

    __hash__ = None  # type: ignore[assignment]  # params is a dict that its owner may change

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.params.items())
        return f"Trial({'by hand' if self.number is None else self.number}: {values})"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an objective may return instead of plain numbers, when it has more to say.

    Attributes:
        values: a number, or one for each objective.
        constraints: one number for each constraint of the study; a trial is feasible where all are <= 0.
        attrs: anything JSON-able to be kept with the trial.
    """

    values: Any
    constraints: Sequence[float] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial of a study as it stands in the journal.

    Attributes:
        number: its number in the study, from 0.
        state: a TrialState.
        params: the value of each parameter that exists in this trial.
        u: (d,) float64, the code of params: `space.encode(params)`.
        values: one number for each objective, as told; None where nothing valid was told.
        constraints: one number for each constraint, as told, or None.
        attrs: what was kept with the trial.
        note: what the strategy wrote down when it chose the trial.
        reason: why the trial failed, with the traceback where there is one, or None.
        started: when it was given out last, seconds since 1970, or None.
        ended: when it was told, or None.
    """

    number: int
    state: TrialState
    params: dict[str, Any]
    u: npt.NDArray[np.float64] = field(compare=False, repr=False)
    values: tuple[float, ...] | None
    constraints: tuple[float, ...] | None
    attrs: dict[str, Any]
    note: dict[str, Any]
    reason: str | None
    started: float | None
    ended: float | None

    @property
    def value(self) -> float | None:
        """The value of the only objective; None where nothing valid was told, or with several objectives."""
        return self.values[0] if self.values is not None and len(self.values) == 1 else None

    @property
    def duration(self) -> float | None:
        """Seconds from start to end, or None where one of them is missing."""
        return self.ended - self.started if self.started is not None and self.ended is not None else None

    @property
    def feasible(self) -> bool:
        """Whether every constraint is <= 0; True without constraints."""
        return all(g <= 0 for g in self.constraints or ())
