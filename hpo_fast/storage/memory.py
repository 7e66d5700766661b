"""The journal of a study that lives in memory."""
# ruff: noqa: D102 - the contract of the verbs stands in journal.py

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_fast.storage.fork import hold_over_fork
from hpo_fast.storage.journal import Chosen, Look, Open, Result, Results, Row, Snapshot, columns, refuse_told
from hpo_fast.trial import TrialState

# Looked up once: an attribute of an enumeration costs as much as the rest of a line.
RESERVED, WAITING, RUNNING, DONE = TrialState.RESERVED, TrialState.WAITING, TrialState.RUNNING, TrialState.DONE

_BLANK = Row(-1, RESERVED)  # stands in the place of every number that has no parameters yet; nobody writes into it

Encode = Callable[[dict[str, Any]], npt.NDArray[np.float64]]


class MemoryJournal:
    """Rows in a list, the number being the index. Its process is the only one that there is.

    Args:
        encode: from params to u; done when somebody needs u, which a strategy that reads no history never does.
        d: code columns of the space.
        n_values: objectives of the study.
        n_constraints: its constraints.
    """

    def __init__(self, encode: Encode, d: int, n_values: int, n_constraints: int) -> None:
        self._encode = encode
        self._d = d
        self._widths = (n_values, n_constraints)
        self._rows: list[Row] = []
        self._told: list[Row] = []  # by seq
        self._open: dict[int, Row] = {}  # waiting or running
        self._owners: dict[int, str | None] = {}  # of those that run
        self._waiting: deque[int] = deque()  # may hold numbers that wait no more
        self._free: list[int] = []
        self._reserved: set[int] = set()  # reserved, free or not
        self._added = 0
        self._attrs: dict[str, Any] = {}
        self.lock = threading.RLock()
        hold_over_fork(self)

    def before_fork(self) -> None:
        """Nothing has to be let go: what is in memory is copied as it is."""

    @property
    def path(self) -> str | None:
        return None

    def attrs(self) -> dict[str, Any]:
        return copy.deepcopy(self._attrs)

    def set_attr(self, name: str, value: Any) -> None:
        with self.lock:
            self._attrs = {**self._attrs, name: value}

    def reserve(
        self, n: int, owner: str | None, total: int | None, max_attempts: int | None
    ) -> tuple[list[Row], list[int]]:
        with self.lock:
            taken: list[Row] = []
            while self._waiting and len(taken) < n:
                row = self._rows[self._waiting.popleft()]
                if row.state == WAITING:
                    row.state, row.started, row.attempts = RUNNING, time.time(), row.attempts + 1
                    self._owners[row.number] = owner
                    taken.append(row)
            rows, free = self._rows, self._free
            n -= len(taken)
            if total is not None:
                n = min(n, max(total - self.total(), 0))
            numbers = free[:n]
            if numbers:
                del free[:n]
            for number in range(len(rows), len(rows) + n - len(numbers)):
                rows.append(_BLANK)
                self._reserved.add(number)
                numbers.append(number)
            return taken, numbers

    def give_back(self, numbers: Sequence[int], owner: str | None) -> None:
        with self.lock:
            for number in numbers:
                if self._rows[number] is _BLANK or self._owners.get(number, self) == owner:
                    self._release(number)

    def write(
        self, chosen: Sequence[Chosen], owner: str | None, known: Snapshot | None, told: bool
    ) -> tuple[bool, list[Chosen]]:
        with self.lock:
            if known is not None and self._clash(chosen, known, told):
                return False, []
            now = time.time()
            if self._free:  # released by another thread while the strategy was choosing
                chosen = [one for one in chosen if one.number not in self._free]
            for number, params, u, note in chosen:
                self._rows[number] = self._open[number] = Row(number, RUNNING, params, u, note, 1, now)
                self._owners[number] = owner
                self._reserved.discard(number)
            return True, list(chosen)

    def _clash(self, chosen: Sequence[Chosen], known: Snapshot, told: bool) -> bool:
        seen = set(known.open.numbers.tolist())
        rivals = [row for number, row in self._open.items() if number not in seen]
        if told:
            rivals += self._told[known.results.last_seq + 1 :]
        taken = {self.encoded(row).tobytes() for row in rivals}
        return any(one.u is not None and one.u.tobytes() in taken for one in chosen)

    def finish(self, number: int, result: Result) -> None:
        with self.lock:
            row = self._open.pop(number, None)
            if row is None:
                raise refuse_told(number, self._rows[number].state if 0 <= number < len(self._rows) else None)
            row.state, row.values, row.constraints, attrs, row.reason = result
            if attrs:
                row.attrs = attrs
            row.attempts = max(row.attempts, 1)  # told while it waited
            row.ended = time.time()
            row.seq = len(self._told)
            self._owners.pop(number, None)
            self._told.append(row)

    def release(self, number: int) -> None:
        with self.lock:
            row = self._rows[number] if 0 <= number < len(self._rows) else None
            if row is None or row.state >= DONE:
                raise refuse_told(number, None if row is None else row.state)
            self._release(number)

    def _release(self, number: int) -> None:
        row = self._rows[number]
        if row is _BLANK:
            self._free = sorted({*self._free, number})
        elif row.state == RUNNING:
            row.state, row.started, row.attempts = WAITING, None, max(row.attempts - 1, 0)
            self._owners.pop(number, None)
            self._waiting = deque(sorted({*self._waiting, number}))

    def add(self, params: Sequence[dict[str, Any]], U: npt.NDArray[np.float64], results: Sequence[Result]) -> int:
        with self.lock:
            first, now = len(self._rows), time.time()
            for i, (one, u, result) in enumerate(zip(params, U, results, strict=True)):
                row = Row(first + i, result.state, one, u, ended=now, seq=len(self._told))
                row.values, row.constraints, row.reason = result.values, result.constraints, result.reason
                row.attrs = result.attrs or {}
                self._rows.append(row)
                self._told.append(row)
            self._added += len(results)
            return first

    def enqueue(self, params: dict[str, Any], u: npt.NDArray[np.float64]) -> int:
        with self.lock:
            row = Row(len(self._rows), WAITING, params, u)
            self._rows.append(row)
            self._open[row.number] = row
            self._waiting.append(row.number)
            return row.number

    def snapshot(self, after: int) -> Snapshot:
        with self.lock:
            told = self._told[after + 1 :]
            pending = sorted(self._open.values(), key=lambda row: row.number)
            return Snapshot(
                self.results(after),
                self._codes(told),
                [row.note for row in told],
                Open(
                    np.array([row.number for row in pending], dtype=np.int64),
                    self._codes(pending),
                    [row.note for row in pending],
                ),
            )

    def results(self, after: int) -> Results:
        with self.lock:
            rows = self._told[after + 1 :]
            return Results(
                len(self._told) - 1,
                np.array([row.number for row in rows], dtype=np.int64),
                np.array([row.state for row in rows], dtype=np.uint8),
                columns([row.values for row in rows], self._widths[0]),
                columns([row.constraints for row in rows], self._widths[1]),
                np.array([row.attempts > 0 for row in rows], dtype=np.bool_),
            )

    def look(self) -> Look:
        with self.lock:
            waiting = tuple(sorted(number for number, row in self._open.items() if row.state == WAITING))
            running = tuple(sorted(number for number, row in self._open.items() if row.state == RUNNING))
            return Look(len(self._told) - 1, waiting, running)

    def total(self) -> int:
        with self.lock:
            return len(self._rows) - self._added - len(self._free)

    def numbers(self) -> tuple[int, list[int]]:
        with self.lock:
            return len(self._rows), sorted(self._reserved)

    def rows(self, start: int, stop: int) -> list[Row]:
        with self.lock:
            return [row for row in self._rows[start:stop] if row is not _BLANK]

    def encoded(self, row: Row) -> npt.NDArray[np.float64]:
        if row.u is None:
            assert row.params is not None
            row.u = self._encode(row.params)
        return row.u

    def _codes(self, rows: Sequence[Row]) -> npt.NDArray[np.float64]:
        return np.array([self.encoded(row) for row in rows], dtype=np.float64).reshape(len(rows), self._d)
