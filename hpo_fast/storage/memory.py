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

from hpo_fast.storage.bulk import Bulk
from hpo_fast.storage.fork import hold_over_fork
from hpo_fast.storage.journal import Chosen, Look, Open, Result, Results, Row, Snapshot, columns, refuse_told
from hpo_fast.strategies.base import Notes
from hpo_fast.trial import TrialState

# Looked up once: an attribute of an enumeration costs as much as the rest of a line.
RESERVED, WAITING, RUNNING, DONE = TrialState.RESERVED, TrialState.WAITING, TrialState.RUNNING, TrialState.DONE

_FEW = 16  # trials added together that take less as rows than as arrays: 1 kB each
_BLANK = Row(-1, RESERVED)  # stands in the place of every number that has no parameters yet; nobody writes into it

Encode = Callable[[dict[str, Any]], npt.NDArray[np.float64]]


class _Block:
    """Trials that were added together: it stands in the place of each of their rows, which are made when looked at."""

    __slots__ = ("_ended", "bulk", "first", "seq", "stop")

    def __init__(self, bulk: Bulk, first: int, seq: int) -> None:
        self.bulk, self.first, self.seq = bulk, first, seq
        self.stop = first + len(bulk)  # the number after the last one
        self._ended = time.time()

    def rows(self, start: int, stop: int) -> list[Row]:
        """Give the rows with start <= number < stop, all of this block."""
        return self.bulk.rows(start - self.first, stop - self.first, self.first, self.seq, self._ended)


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
        self._rows: list[Row | _Block] = []
        self._told: list[Row | _Block] = []  # by seq
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
            rows, free = self._rows, list(self._free)
            before = len(rows)
            try:
                while self._waiting and len(taken) < n:
                    row = self._open.get(self._waiting[0])
                    if row is not None and row.state == WAITING:
                        taken.append(row)
                        self._owners[row.number] = owner
                        row.state, row.started, row.attempts = RUNNING, time.time(), row.attempts + 1
                    self._waiting.popleft()
                n -= len(taken)
                if total is not None:
                    n = min(n, max(total - self.total(), 0))
                numbers, self._free = free[:n], free[n:]
                new = range(before, before + n - len(numbers))
                self._reserved.update(new)
                rows += [_BLANK] * len(new)
                return taken, [*numbers, *new]
            except BaseException:  # Ctrl-C, or a lack of memory
                self._free = free
                del rows[before:]
                self._reserved.difference_update(range(before, before + n))
                for row in reversed(taken):
                    self._waiting.appendleft(row.number)
                self._wait(taken)
                raise

    def give_back(self, numbers: Sequence[int], owner: str | None) -> None:
        with self.lock:
            self._release([n for n in numbers if self._rows[n] is _BLANK or self._owners.get(n, self) == owner])

    def write(
        self, chosen: Sequence[Chosen], owner: str | None, known: Snapshot | None, told: bool
    ) -> tuple[bool, list[Chosen]]:
        with self.lock:
            if known is not None and self._clash(chosen, known, told):
                return False, []
            now = time.time()
            if self._free:  # released by another thread while the strategy was choosing
                chosen = [one for one in chosen if one.number not in self._free]
            try:
                for number, params, u, note in chosen:
                    self._rows[number] = self._open[number] = Row(number, RUNNING, params, u, note, 1, now)
                    self._owners[number] = owner
                    self._reserved.discard(number)
                return True, list(chosen)
            except BaseException:  # Ctrl-C, or a lack of memory
                for one in chosen:
                    self._rows[one.number] = _BLANK
                    self._open.pop(one.number, None)
                    self._owners.pop(one.number, None)
                    self._reserved.add(one.number)
                raise

    def _clash(self, chosen: Sequence[Chosen], known: Snapshot, told: bool) -> bool:
        seen = set(known.open.numbers.tolist())
        rivals = [row for number, row in self._open.items() if number not in seen]
        taken = {self.encoded(row).tobytes() for row in rivals}
        if told:
            taken |= {u.tobytes() for u in self._codes_of(self._told_after(known.results.last_seq))}
        return any(one.u is not None and one.u.tobytes() in taken for one in chosen)

    def finish(self, number: int, result: Result) -> None:
        with self.lock:
            row = self._open.get(number)
            if row is None:
                raise refuse_told(number, self._state(number))
            seq, owner = len(self._told), self._owners.get(number)
            attempts = max(row.attempts, 1)  # told while it waited
            told = Row(number, result.state, row.params, row.u, row.note, attempts, row.started, time.time(), seq)
            told.values, told.constraints, told.reason = result.values, result.constraints, result.reason
            told.attrs = result.attrs or row.attrs
            try:
                self._told.append(told)
                self._rows[number] = told
                self._owners.pop(number, None)
                del self._open[number]
            except BaseException:  # Ctrl-C, or a lack of memory
                del self._told[seq:]
                self._rows[number] = self._open[number] = row
                if row.state == RUNNING:
                    self._owners[number] = owner
                raise

    def release(self, number: int) -> None:
        with self.lock:
            state = self._state(number)
            if state is None or state >= DONE:
                raise refuse_told(number, state)
            self._release([number])

    def _state(self, number: int) -> TrialState | None:
        if not 0 <= number < len(self._rows):
            return None
        row = self._rows[number]
        return row.rows(number, number + 1)[0].state if isinstance(row, _Block) else row.state

    def _release(self, numbers: Sequence[int]) -> None:
        """Let trials that run wait, and free the numbers that nobody filled: Ctrl-C in between, all the same."""
        running = [row for row in map(self._open.get, numbers) if row is not None and row.state == RUNNING]
        free = sorted({*self._free, *(number for number in numbers if number not in self._open)})
        waiting = deque(sorted({*self._waiting, *(row.number for row in running)})) if running else self._waiting
        try:
            self._free, self._waiting = free, waiting  # without its number here nobody would find the trial
            self._wait(running)
        except BaseException:
            self._free, self._waiting = free, waiting
            self._wait(running)
            raise

    def _wait(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.state == RUNNING:
                row.state, row.started, row.attempts = WAITING, None, max(row.attempts - 1, 0)
            self._owners.pop(row.number, None)

    def add(self, params: dict[str, Any], u: npt.NDArray[np.float64], result: Result) -> int:
        with self.lock:
            row = Row(len(self._rows), result.state, params, u, ended=time.time(), seq=len(self._told))
            row.values, row.constraints, row.reason = result.values, result.constraints, result.reason
            row.attrs = result.attrs or {}
            self._append([row])
            return row.number

    def add_many(self, bulk: Bulk) -> int:
        with self.lock:
            block = _Block(bulk, len(self._rows), len(self._told))
            few = len(bulk) <= _FEW
            self._append(block.rows(block.first, block.stop) if few else [block] * len(bulk))
            return block.first

    def _append(self, added: Sequence[Row | _Block]) -> None:
        """Append told trials: all of them, or none where Ctrl-C or a lack of memory comes in between."""
        before = len(self._rows), len(self._told), self._added
        try:
            self._rows += added
            self._told += added
            self._added += len(added)
        except BaseException:
            rows, told, self._added = before
            del self._rows[rows:], self._told[told:]
            raise

    def enqueue(self, params: dict[str, Any], u: npt.NDArray[np.float64]) -> int:
        with self.lock:
            row = Row(len(self._rows), WAITING, params, u)
            try:
                self._waiting.append(row.number)
                self._open[row.number] = row
                self._rows.append(row)
            except BaseException:  # Ctrl-C, or a lack of memory; what waits may hold numbers that do not
                self._open.pop(row.number, None)
                del self._rows[row.number :]
                raise
            return row.number

    def snapshot(self, after: int) -> Snapshot:
        with self.lock:
            parts = self._told_after(after)
            pending = sorted(self._open.values(), key=lambda row: row.number)
            notes: dict[int, dict[str, Any]] = {}
            place = 0
            for part in parts:
                if isinstance(part, _Block):
                    place += len(part.bulk)
                else:
                    notes |= {place + i: row.note for i, row in enumerate(part) if row.note}
                    place += len(part)
            return Snapshot(
                self._results(parts),
                self._codes_of(parts),
                Notes(place, notes),
                Open(
                    np.array([row.number for row in pending], dtype=np.int64),
                    self._codes(pending),
                    [row.note for row in pending],
                ),
            )

    def results(self, after: int) -> Results:
        with self.lock:
            return self._results(self._told_after(after))

    def _told_after(self, after: int) -> list[list[Row] | _Block]:
        """Give what was told after that seq, in order: rows by themselves, and what was added together.

        A seq inside a block is never asked for: nobody saw the journal when it held a part of one.
        """
        parts: list[list[Row] | _Block] = [[]]
        told, place = self._told, after + 1
        while place < len(told):
            entry = told[place]
            if isinstance(entry, _Block):
                assert entry.seq == place
                parts += [entry, []]
                place += len(entry.bulk)
            else:
                parts[-1].append(entry)  # type: ignore[union-attr]
                place += 1
        return [part for part in parts if isinstance(part, _Block) or part] or [[]]

    def _results(self, parts: Sequence[list[Row] | _Block]) -> Results:
        found = [self._results_of(part) for part in parts]
        if len(found) == 1:
            return found[0]
        tables = [np.concatenate(tables) for tables in zip(*(one[1:] for one in found), strict=True)]
        return Results(found[0].last_seq, *tables)

    def _results_of(self, part: list[Row] | _Block) -> Results:
        last_seq = len(self._told) - 1
        if isinstance(part, _Block):
            bulk = part.bulk
            numbers = np.arange(part.first, part.stop, dtype=np.int64)
            asked = np.zeros(len(numbers), dtype=np.bool_)
            return Results(last_seq, numbers, bulk.states, bulk.values, bulk.constraints, asked)
        return Results(
            last_seq,
            np.array([row.number for row in part], dtype=np.int64),
            np.array([row.state for row in part], dtype=np.uint8),
            columns([row.values for row in part], self._widths[0]),
            columns([row.constraints for row in part], self._widths[1]),
            np.array([row.attempts > 0 for row in part], dtype=np.bool_),
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
            found: list[Row] = []
            number, stop = max(start, 0), min(stop, len(self._rows))
            while number < stop:
                row = self._rows[number]
                if isinstance(row, _Block):
                    end = min(stop, row.stop)
                    found += row.rows(number, end)
                    number = end
                    continue
                if row is not _BLANK:
                    found.append(row)
                number += 1
            return found

    def encoded(self, row: Row) -> npt.NDArray[np.float64]:
        if row.u is None:
            assert row.params is not None
            row.u = self._encode(row.params)
        return row.u

    def _codes(self, rows: Sequence[Row]) -> npt.NDArray[np.float64]:
        return np.array([self.encoded(row) for row in rows], dtype=np.float64).reshape(len(rows), self._d)

    def _codes_of(self, parts: Sequence[list[Row] | _Block]) -> npt.NDArray[np.float64]:
        found = [part.bulk.U if isinstance(part, _Block) else self._codes(part) for part in parts]
        return found[0] if len(found) == 1 else np.concatenate(found)
