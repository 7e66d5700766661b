"""What a study optimises: its objectives with their directions, its constraints, and what counts as a valid value."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_fast.errors import StudyError
from hpo_fast.space.values import plain

_SIGNS = {"minimize": 1.0, "maximize": -1.0}


class Objectives:
    """Reads told values, and turns them so that smaller is better. Nothing below a study knows of directions.

    Args:
        direction: "minimize" or "maximize", for one objective.
        directions: one direction for each objective, by position or as a mapping from the objective's name; None: one
            objective.
        constraints: number of constraints, >= 0.

    Raises:
        StudyError: when a direction is unknown, both arguments are given, or there is no objective at all.
    """

    def __init__(
        self,
        direction: str = "minimize",
        directions: Sequence[str] | Mapping[str, str] | None = None,
        constraints: int = 0,
    ) -> None:
        names: tuple[str, ...] | None = None
        if directions is None:
            chosen: tuple[Any, ...] = (direction,)
        else:
            if direction != "minimize":
                raise StudyError(
                    f"direction is for one objective and directions for several, but got direction={direction!r} "
                    f"and directions={directions!r}; give one of them."
                )
            if isinstance(directions, Mapping):
                names = tuple(directions)
                chosen = tuple(directions.values())
                if not all(isinstance(name, str) for name in names):
                    raise StudyError(f"directions: the names of objectives must be strings, but got {list(names)!r}.")
            elif isinstance(directions, str):
                raise StudyError(
                    f"directions must have one entry for each objective, but got {directions!r}; "
                    f"for one objective write direction={directions!r}."
                )
            elif isinstance(directions, Iterable):
                chosen = tuple(directions)
            else:
                raise StudyError(
                    "directions must be a sequence of directions, or a mapping from the objectives' names to them, but "
                    f"got {directions!r}; for one objective write direction=."
                )
        for one in chosen:
            if not isinstance(one, str) or one not in _SIGNS:
                raise StudyError(f'direction must be "minimize" or "maximize", but got {one!r}.')
        if not chosen:
            raise StudyError("directions must name at least one objective, but got none.")
        self.constraints = read_count("constraints", constraints, 0)
        self.names = names
        self.directions: tuple[str, ...] = chosen
        self.n = len(chosen)
        self.signs: npt.NDArray[np.float64] = np.array([_SIGNS[one] for one in chosen])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Objectives) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        heads = (
            self.directions
            if self.names is None
            else [f"{a}: {b}" for a, b in zip(self.names, self.directions, strict=True)]
        )
        tail = f", {self.constraints} constraint{'s' if self.constraints > 1 else ''}" if self.constraints else ""
        return ", ".join(heads) + tail

    def to_json(self) -> dict[str, Any]:
        """Give what `from_json` takes."""
        names = None if self.names is None else list(self.names)
        return {"names": names, "directions": list(self.directions), "constraints": self.constraints}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Objectives:
        """Make the objectives that `to_json` described."""
        names, directions = obj["names"], obj["directions"]
        return cls(
            directions=directions if names is None else dict(zip(names, directions, strict=True)),
            constraints=obj["constraints"],
        )

    def labels(self) -> list[str]:
        """Give a column name for each objective."""
        if self.names is not None:
            return list(self.names)
        return ["value"] if self.n == 1 else [f"value_{i}" for i in range(self.n)]

    def read_values(self, told: Any) -> list[float | None]:
        """Read what was told for the objectives.

        Args:
            told: a number, one for each objective in a sequence, or a mapping from the objectives' names; None stands
                where there is no number.

        Raises:
            StudyError: when `told` is no number, or not one for each objective. True and False are none.
        """
        if self.names is not None and isinstance(told, Mapping):
            if set(told) != set(self.names):
                raise StudyError(f"values must have the names {list(self.names)}, but got {list(told)}.")
            told = [told[name] for name in self.names]
        return _numbers(told, self.n, "values" if self.n > 1 else "value", "objective")

    def read_constraints(self, told: Any) -> list[float | None]:
        """Read what was told for the constraints; the same rules as for `read_values`."""
        if told is None:
            raise StudyError(f"constraints must be {self.constraints} numbers, but got none.")
        return _numbers(told, self.constraints, "constraints", "constraint")

    def minimised(
        self, values: npt.NDArray[np.float64], constraints: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Give Y (m, k): the objectives turned so that smaller is better, then the constraints.

        Args:
            values: (m, objectives) as told, NaN rows for failed trials.
            constraints: (m, constraints).
        """
        Y = np.empty((len(values), self.n + self.constraints))
        np.multiply(values, self.signs, out=Y[:, : self.n])
        Y[:, self.n :] = constraints
        return Y


def read_count(argument: str, given: Any, least: int) -> int:
    """Read an argument that counts something; NumPy's integers are welcome.

    Raises:
        StudyError: when it is no integer >= `least`.
    """
    try:
        count = least - 1 if isinstance(given, bool) else operator.index(given)
    except TypeError:
        count = least - 1
    if count < least:
        raise StudyError(f"{argument} must be an integer >= {least}, but got {given!r}.")
    return count


def _numbers(told: Any, n: int, argument: str, thing: str) -> list[float | None]:
    """Read n numbers; None stays None, and what is masked becomes None."""
    scalar = isinstance(told, (str, bytes)) or not (
        isinstance(told, Sequence) or (getattr(told, "ndim", None) or 0) > 0
    )
    items = [told] if scalar else list(told)
    if len(items) != n:
        what = f"one number for each {thing}" if n != 1 else "one number"
        raise StudyError(f"{argument} must be {what} ({n}), but got {len(items)}: {_short(told)}.")
    numbers: list[float | None] = []
    for item in map(plain, items):
        if item is None:
            numbers.append(None)
            continue
        try:
            # float() would take "1", array([1.0]), True and dates.
            if isinstance(item, (str, bytes, bool, np.datetime64, np.timedelta64)) or getattr(item, "ndim", None):
                raise TypeError
            if str(getattr(item, "dtype", "")).endswith("bool"):  # of torch and others
                raise TypeError
            numbers.append(float(item))
        except OverflowError:  # an integer beyond the range of floats
            numbers.append(float("inf"))
        except (TypeError, ValueError):
            raise StudyError(
                f"{argument} must hold numbers, but got {_short(item)} ({type(item).__name__}); convert it where a "
                "number is meant."
            ) from None
    return numbers


def not_finite(numbers: Sequence[float | None], what: str) -> str | None:
    """Say which of the numbers is None, NaN or infinite; None: all are good."""
    for i, number in enumerate(numbers):
        if number is None or number - number != 0.0:
            return f"the {what if len(numbers) == 1 else f'{what} {i}'} is {number}"
    return None


def _short(thing: Any) -> str:
    text = repr(thing)
    return text if len(text) <= 80 else text[:77] + "..."
