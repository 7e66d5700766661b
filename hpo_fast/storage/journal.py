"""What the journal of a study promises, wherever it is kept: the rows, and the verbs on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from hpo_fast.errors import StudyError
from hpo_fast.strategies.base import Notes
from hpo_fast.trial import TrialState

if TYPE_CHECKING:
    from hpo_fast.storage.bulk import Bulk


@dataclass(slots=True)
class Row:
    """One trial in the journal, whatever the journal is kept in. Nobody but the journal writes into it."""

    number: int
    state: TrialState
    params: dict[str, Any] | None = None
    u: npt.NDArray[np.float64] | None = None  # in memory None until somebody needs it; see MemoryJournal.encoded
    note: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0
    started: float | None = None
    ended: float | None = None
    seq: int | None = None
    values: tuple[float, ...] | None = None
    constraints: tuple[float, ...] | None = None
    attrs: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None


class Result(NamedTuple):
    """What a trial was told; it takes the next seq of its study."""

    state: TrialState
    values: tuple[float, ...] | None = None
    constraints: tuple[float, ...] | None = None
    attrs: dict[str, Any] | None = None
    reason: str | None = None


class Results(NamedTuple):
    """The told columns of m trials in journal order. Failed rows hold NaN; `asked`: it was handed out, not added."""

    last_seq: int
    numbers: npt.NDArray[np.int64]
    states: npt.NDArray[np.uint8]
    values: npt.NDArray[np.float64]
    constraints: npt.NDArray[np.float64]
    asked: npt.NDArray[np.bool_]


class Open(NamedTuple):
    """The trials that have parameters and were not told, in order of number."""

    numbers: npt.NDArray[np.int64]
    U: npt.NDArray[np.float64]
    notes: list[dict[str, Any]]


class Snapshot(NamedTuple):
    """What a strategy has to know, all seen at one instant."""

    results: Results
    U: npt.NDArray[np.float64]
    notes: Notes
    open: Open


class Look(NamedTuple):
    """What there is to wait for. Two equal looks mean that nothing happened in between that an ask could notice."""

    last_seq: int
    waiting: tuple[int, ...]  # a trial whose worker is dead is one of them
    running: tuple[int, ...]


class Chosen(NamedTuple):
    """What a strategy chose for a reserved number."""

    number: int
    params: dict[str, Any]
    u: npt.NDArray[np.float64] | None
    note: dict[str, Any]


class Journal(Protocol):
    """One study's rows. Every verb is one transaction: it happens as a whole or not at all. Threads may share it."""

    @property
    def path(self) -> str | None:
        """Give the path of the study file; None in memory."""

    def attrs(self) -> dict[str, Any]:
        """Give the attrs of the study."""

    def set_attr(self, name: str, value: Any) -> None:
        """Keep something with the study."""

    def reserve(
        self, n: int, owner: str | None, total: int | None, max_attempts: int | None
    ) -> tuple[list[Row], list[int]]:
        """Give out up to n trials.

        First the trials whose worker is gone, and all others that wait, in order of number: they run from now on.
        Then reserved numbers that nobody filled, and new ones, while the study's total() is less than `total`.

        Args:
            n: how many, >= 1.
            owner: who runs the waiting trials; None for a trial that has no owner. Reserved numbers have one always.
            total: see above; None for no end.
            max_attempts: a trial whose worker died in its last attempt fails; None: it waits all the same.

        Returns:
            The rows that waited, and the numbers reserved.
        """

    def give_back(self, numbers: Sequence[int], owner: str | None) -> None:
        """Undo `reserve`: a reserved number is free, a running trial waits, and the attempt does not count.

        What is another owner's by now, or was told, stays as it is.

        Args:
            numbers: some that `reserve` gave.
            owner: the one given to it.
        """

    def write(
        self, chosen: Sequence[Chosen], owner: str | None, known: Snapshot | None, told: bool
    ) -> tuple[bool, list[Chosen]]:
        """Write what was chosen for reserved numbers; they run from now on.

        Args:
            chosen: one for each number.
            owner: see `reserve`.
            known: what the strategy knew. Where an equal point became pending since, nothing is written. None: write.
            told: an equal point told since counts as well.

        Returns:
            Whether it was written, and those written; a number that somebody else released and took is left out.
        """

    def finish(self, number: int, result: Result) -> None:
        """End a waiting or running trial.

        Raises:
            StudyError: when there is no such trial, it has no parameters yet, or it was told before.
        """

    def release(self, number: int) -> None:
        """Make a running trial wait, and a reserved number free, without counting the attempt.

        Raises:
            StudyError: when there is no such trial, or it was told.
        """

    def add(self, params: dict[str, Any], u: npt.NDArray[np.float64], result: Result) -> int:
        """Append a told trial that does not count as asked; give its number."""

    def add_many(self, bulk: Bulk) -> int:
        """Append told trials that do not count as asked; give the number of the first."""

    def enqueue(self, params: dict[str, Any], u: npt.NDArray[np.float64]) -> int:
        """Append a waiting trial; give its number."""

    def snapshot(self, after: int) -> Snapshot:
        """Give the trials told after that seq, and the pending ones."""

    def results(self, after: int) -> Results:
        """Give what was told after that seq."""

    def look(self) -> Look:
        """Give what an ask that had no point can wait for. Changes nothing."""

    def total(self) -> int:
        """Count the trials that a total counts: not those added, nor the numbers that are free."""

    def numbers(self) -> tuple[int, list[int]]:
        """Give the next new number, and the numbers below it that have no parameters, in order."""

    def rows(self, start: int, stop: int) -> list[Row]:
        """Give the rows with parameters and start <= number < stop, in order of number."""

    def encoded(self, row: Row) -> npt.NDArray[np.float64]:
        """Give the code of a row's parameters."""


def check_durability(durability: object) -> None:
    """Check the `durability` argument.

    Raises:
        StudyError: when it is neither "power" nor "process".
    """
    if durability not in ("power", "process"):
        raise StudyError(f'durability must be "power" or "process", but got {durability!r}.')


def refuse_told(number: int, state: TrialState | None) -> StudyError:
    """Say why a trial cannot be told, failed or released."""
    if state is None:
        return StudyError(
            f"a trial must be asked, enqueued or added before it is told, but there is no trial {number}."
        )
    if state == TrialState.RESERVED:
        return StudyError(
            f"a trial must have parameters before it is told, but those of trial {number} are still being chosen."
        )
    return StudyError(f"a trial is told once, but trial {number} is {state.name.lower()} already; it stays as it is.")


def columns(told: Sequence[tuple[float, ...] | None], width: int) -> npt.NDArray[np.float64]:
    """Stack told numbers to (m, width), NaN rows where there are none."""
    blank = (np.nan,) * width
    return np.array([blank if one is None else one for one in told], dtype=np.float64).reshape(len(told), width)
