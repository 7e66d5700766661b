"""The journal of a study that lives in a study file: one row a trial, each verb one transaction."""
# ruff: noqa: D102 - the contract of the verbs stands in journal.py

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpo_fast.storage.bulk import Bulk
from hpo_fast.storage.coding import blob, blobs, floats, read_dict, write_dict
from hpo_fast.storage.journal import Chosen, Look, Open, Result, Results, Row, Snapshot, refuse_told
from hpo_fast.storage.owner import current_owner, is_dead
from hpo_fast.storage.reading import CHUNK, FIELDS, ToldReader, read_row
from hpo_fast.strategies.base import Notes
from hpo_fast.trial import TrialState

if TYPE_CHECKING:
    import sqlite3

    from hpo_fast.storage.file import StudyFile

RESERVED, WAITING, RUNNING = int(TrialState.RESERVED), int(TrialState.WAITING), int(TrialState.RUNNING)
_ADDED = "state, u, params, objectives, constraints, attrs, reason"
_APPEND = f"INSERT INTO trials (study, number, seq, ended, {_ADDED})"
# Named, because SQLite's planner prefers the primary key wherever it saves a sort, and then walks over every trial.
_OPEN = "trials INDEXED BY open_trials WHERE study = ? AND seq IS NULL"
_NEXT_SEQ = "(SELECT coalesce(max(seq), -1) + 1 FROM trials WHERE study = ?1 AND seq IS NOT NULL)"
# A reserved number is free without an owner; a trial with parameters waits. ?1 is RUNNING, ?2 WAITING.
_TAKEN_BACK = (
    "owner = NULL, started = NULL, attempts = max(attempts - (state = ?1), 0), "
    "state = CASE state WHEN ?1 THEN ?2 ELSE state END"
)


class FileJournal:
    """Rows of one study in a study file.

    Args:
        file: the open file.
        study: its id there.
        d: code columns of the space.
        n_values: objectives of the study.
        n_constraints: its constraints.
    """

    def __init__(self, file: StudyFile, study: int, d: int, n_values: int, n_constraints: int) -> None:
        self._file = file
        self._study = study
        self._d = d
        self._widths = (n_values, n_constraints)

    @property
    def path(self) -> str | None:
        return self._file.path

    def attrs(self) -> dict[str, Any]:
        with self._file.transaction(write=False) as db:
            (text,) = db.execute("SELECT attrs FROM studies WHERE id = ?", (self._study,)).fetchone()
        attrs: dict[str, Any] = json.loads(text)
        return attrs

    def set_attr(self, name: str, value: Any) -> None:
        with self._file.transaction() as db:
            (text,) = db.execute("SELECT attrs FROM studies WHERE id = ?", (self._study,)).fetchone()
            attrs = json.dumps({**json.loads(text), name: value})
            db.execute("UPDATE studies SET attrs = ? WHERE id = ?", (attrs, self._study))

    def reserve(
        self, n: int, owner: str | None, total: int | None, max_attempts: int | None
    ) -> tuple[list[Row], list[int]]:
        with self._file.transaction() as db:
            self._recover(db, max_attempts)
            waiting = db.execute(
                f"SELECT number FROM {_OPEN} AND state = ? ORDER BY number LIMIT ?",
                (self._study, WAITING, n),
            ).fetchall()
            rows = [
                read_row(fields)
                for (number,) in waiting
                for fields in db.execute(
                    "UPDATE trials SET state = ?, owner = ?, started = ?, attempts = attempts + 1 "
                    f"WHERE study = ? AND number = ? RETURNING {FIELDS}",
                    (RUNNING, owner, time.time(), self._study, number),
                ).fetchall()
            ]
            return rows, self._reserve_numbers(db, n - len(rows), total)

    def _reserve_numbers(self, db: sqlite3.Connection, n: int, total: int | None) -> list[int]:
        if n == 0:
            return []
        free, first = self._free(db), self._next_number(db)
        if total is not None:
            n = min(n, max(total - self._total(db), 0))
        numbers, me = free[:n], current_owner()
        db.executemany(
            "UPDATE trials SET owner = ? WHERE study = ? AND number = ?",
            [(me, self._study, number) for number in numbers],
        )
        new = range(first, first + n - len(numbers))
        db.executemany(
            "INSERT INTO trials (study, number, state, owner) VALUES (?, ?, ?, ?)",
            [(self._study, number, RESERVED, me) for number in new],
        )
        return [*numbers, *new]

    def _recover(self, db: sqlite3.Connection, max_attempts: int | None) -> None:
        """Take the trials of dead processes from them."""
        for number, state, owner, attempts in self._orphans(db):
            key = (self._study, number)
            if state == RESERVED:
                db.execute("UPDATE trials SET owner = NULL WHERE study = ? AND number = ?", key)
            elif max_attempts is None or attempts < max_attempts:
                db.execute(
                    "UPDATE trials SET state = ?, owner = NULL, started = NULL WHERE study = ? AND number = ?",
                    (WAITING, *key),
                )
            else:
                reason = f"worker gone: {owner.replace('|', ' ')}, attempt {attempts} of {max_attempts}"
                self._finish(db, number, Result(TrialState.FAILED, reason=reason))

    def _orphans(self, db: sqlite3.Connection) -> list[tuple[int, int, str, int]]:
        """Give number, state, owner and attempts of what belongs to dead processes, in order of number."""
        owned = db.execute(
            f"SELECT number, state, owner, attempts FROM {_OPEN} AND state IN (?, ?) "
            "AND owner IS NOT NULL AND owner <> ? ORDER BY number",
            (self._study, RESERVED, RUNNING, current_owner()),
        ).fetchall()
        dead = {owner for owner in {row[2] for row in owned} if is_dead(owner)}
        return [row for row in owned if row[2] in dead]

    def give_back(self, numbers: Sequence[int], owner: str | None) -> None:
        me = current_owner()
        with self._file.transaction() as db:
            db.executemany(
                f"UPDATE trials SET {_TAKEN_BACK} WHERE study = ?3 AND number = ?4 AND "
                "(state = ?1 AND owner IS ?5 OR state = ?6 AND owner = ?7)",
                [(RUNNING, WAITING, self._study, number, owner, RESERVED, me) for number in numbers],
            )

    def write(
        self, chosen: Sequence[Chosen], owner: str | None, known: Snapshot | None, told: bool
    ) -> tuple[bool, list[Chosen]]:
        with self._file.transaction() as db:
            if known is not None and self._clash(db, chosen, known, told):
                return False, []
            now, me = time.time(), current_owner()
            written = []
            for one in chosen:
                assert one.u is not None
                done = db.execute(
                    "UPDATE trials SET state = ?, owner = ?, started = ?, attempts = 1, u = ?, params = ?, note = ? "
                    "WHERE study = ? AND number = ? AND state = ? AND owner = ?",
                    (
                        *(RUNNING, owner, now, blob(one.u), write_dict(one.params), write_dict(one.note)),
                        *(self._study, one.number, RESERVED, me),
                    ),
                )
                if done.rowcount:
                    written.append(one)
            return True, written

    def _clash(self, db: sqlite3.Connection, chosen: Sequence[Chosen], known: Snapshot, told: bool) -> bool:
        seen = set(known.open.numbers.tolist())
        rivals = db.execute(
            f"SELECT number, u FROM {_OPEN} AND state IN (?, ?)",
            (self._study, WAITING, RUNNING),
        ).fetchall()
        if told:
            rivals += db.execute(
                "SELECT -1, u FROM trials WHERE study = ? AND seq IS NOT NULL AND seq > ?",
                (self._study, known.results.last_seq),
            ).fetchall()
        taken = {u for number, u in rivals if number not in seen}
        return any(one.u is not None and blob(one.u) in taken for one in chosen)

    def finish(self, number: int, result: Result) -> None:
        with self._file.transaction() as db:
            self._finish(db, number, result)

    def _finish(self, db: sqlite3.Connection, number: int, result: Result) -> None:
        done = db.execute(
            f"UPDATE trials SET state = ?2, seq = {_NEXT_SEQ}, ended = ?3, owner = NULL, attempts = max(attempts, 1), "
            "objectives = ?4, constraints = ?5, attrs = ?6, reason = ?7 "
            "WHERE study = ?1 AND number = ?8 AND state IN (?9, ?10)",
            (self._study, int(result.state), time.time(), *_told(result), number, WAITING, RUNNING),
        )
        if not done.rowcount:
            raise refuse_told(number, self._state(db, number))

    def release(self, number: int) -> None:
        with self._file.transaction() as db:
            state = self._state(db, number)
            if state is None or state.told:
                raise refuse_told(number, state)
            db.execute(
                f"UPDATE trials SET {_TAKEN_BACK} WHERE study = ?3 AND number = ?4",
                (RUNNING, WAITING, self._study, number),
            )

    def add(self, params: dict[str, Any], u: npt.NDArray[np.float64], result: Result) -> int:
        written = (int(result.state), blob(u), write_dict(params), *_told(result))
        with self._file.transaction() as db:
            return self._add(db, [written])

    def add_many(self, bulk: Bulk) -> int:
        # What is written is made before the file is locked: that takes more than half of the time. Where it is much, it
        # waits in a temporary file, from which SQLite copies it, a million trials in 4 to 8 s.
        if len(bulk) <= CHUNK:
            written = list(_written(bulk))
            with self._file.transaction() as db:
                return self._add(db, written)
        with self._file.aside():
            with self._file.transaction(write=False) as db:
                db.execute(f"CREATE TABLE aside.added (i INTEGER PRIMARY KEY, {_ADDED})")
                db.executemany(
                    f"INSERT INTO aside.added ({_ADDED}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    _written(bulk),
                )
            with self._file.transaction() as db:
                first, seq = self._next(db, len(bulk))
                db.execute(  # i counts from 1
                    f"{_APPEND} SELECT ?, i - 1 + ?, i - 1 + ?, ?, {_ADDED} FROM aside.added ORDER BY i",
                    (self._study, first, seq, time.time()),
                )
                return first

    def _add(self, db: sqlite3.Connection, written: Sequence[tuple[Any, ...]]) -> int:
        """Append told trials; give the number of the first.

        Args:
            db: in a transaction.
            written: for each state, u, params, values, constraints, attrs and reason as the file has them.
        """
        first, seq = self._next(db, len(written))
        now = time.time()
        db.executemany(
            f"{_APPEND} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(self._study, first + i, seq + i, now, *one) for i, one in enumerate(written)],
        )
        return first

    def _next(self, db: sqlite3.Connection, m: int) -> tuple[int, int]:
        """Give number and seq of the first of m trials that are added now, and count them."""
        (seq,) = db.execute(f"SELECT {_NEXT_SEQ}", (self._study,)).fetchone()
        db.execute("UPDATE studies SET added = added + ? WHERE id = ?", (m, self._study))
        return self._next_number(db), int(seq)

    def enqueue(self, params: dict[str, Any], u: npt.NDArray[np.float64]) -> int:
        with self._file.transaction() as db:
            number = self._next_number(db)
            db.execute(
                "INSERT INTO trials (study, number, state, u, params) VALUES (?, ?, ?, ?, ?)",
                (self._study, number, WAITING, blob(u), write_dict(params)),
            )
            return number

    def snapshot(self, after: int) -> Snapshot:
        with self._file.transaction(write=False) as db:
            told = self._read(db, after, self._d)
            pending = db.execute(
                f"SELECT number, u, note FROM {_OPEN} AND state IN (?, ?) ORDER BY number",
                (self._study, WAITING, RUNNING),
            ).fetchall()
        return Snapshot(
            told.results(),
            told.U,
            Notes(told.m, told.notes, read_dict),
            Open(
                np.array([row[0] for row in pending], dtype=np.int64),
                floats([row[1] for row in pending], self._d),
                [read_dict(row[2]) for row in pending],
            ),
        )

    def results(self, after: int) -> Results:
        with self._file.transaction(write=False) as db:
            return self._read(db, after, None).results()

    def _read(self, db: sqlite3.Connection, after: int, d: int | None) -> ToldReader:
        """Read what was told after that seq; with the points and notes, where d is given."""
        return ToldReader(db, self._study, after, self._widths, d)

    def look(self) -> Look:
        with self._file.transaction(write=False) as db:
            (following,) = db.execute(f"SELECT {_NEXT_SEQ}", (self._study,)).fetchone()
            found = db.execute(
                f"SELECT number, state FROM {_OPEN} AND state IN (?, ?) ORDER BY number",
                (self._study, WAITING, RUNNING),
            ).fetchall()
            gone = {row[0] for row in self._orphans(db)}
        waiting = tuple(number for number, state in found if state == WAITING or number in gone)
        return Look(following - 1, waiting, tuple(number for number, _ in found if number not in waiting))

    def total(self) -> int:
        with self._file.transaction(write=False) as db:
            gone = sum(state == RESERVED for _, state, _, _ in self._orphans(db))
            return self._total(db) - gone

    def numbers(self) -> tuple[int, list[int]]:
        with self._file.transaction(write=False) as db:
            blank = db.execute(
                f"SELECT number FROM {_OPEN} AND state = ? ORDER BY number",
                (self._study, RESERVED),
            ).fetchall()
            return self._next_number(db), [number for (number,) in blank]

    def rows(self, start: int, stop: int) -> list[Row]:
        with self._file.transaction(write=False) as db:
            found = db.execute(
                f"SELECT {FIELDS} FROM trials WHERE study = ? AND number >= ? AND number < ? AND state <> ? "
                "ORDER BY number",
                (self._study, start, stop, RESERVED),
            ).fetchall()
        return [read_row(fields) for fields in found]

    def encoded(self, row: Row) -> npt.NDArray[np.float64]:
        assert row.u is not None
        return row.u

    def _free(self, db: sqlite3.Connection) -> list[int]:
        """Give the reserved numbers that nobody fills, in order."""
        found = db.execute(
            f"SELECT number FROM {_OPEN} AND state = ? AND owner IS NULL ORDER BY number", (self._study, RESERVED)
        )
        return [number for (number,) in found]

    def _total(self, db: sqlite3.Connection) -> int:
        (added,) = db.execute("SELECT added FROM studies WHERE id = ?", (self._study,)).fetchone()
        return self._next_number(db) - int(added) - len(self._free(db))

    def _next_number(self, db: sqlite3.Connection) -> int:
        (last,) = db.execute("SELECT max(number) FROM trials WHERE study = ?", (self._study,)).fetchone()
        return 0 if last is None else int(last) + 1

    def _state(self, db: sqlite3.Connection, number: int) -> TrialState | None:
        found = db.execute("SELECT state FROM trials WHERE study = ? AND number = ?", (self._study, number)).fetchone()
        return TrialState(found[0]) if found else None


def _told(result: Result) -> tuple[bytes | None, bytes | None, str | None, str | None]:
    values, constraints = result.values, result.constraints
    return (
        None if values is None else blob(values),
        None if constraints is None else blob(constraints),
        write_dict(result.attrs),
        result.reason,
    )


def _written(bulk: Bulk) -> Iterator[tuple[Any, ...]]:
    """Give the rows of added trials as the file has them, without a copy of all at once."""
    for start in range(0, len(bulk), CHUNK):
        stop = min(start + CHUNK, len(bulk))
        columns = zip(
            bulk.told(start, stop),
            blobs(bulk.U[start:stop]),
            bulk.params.texts(start, stop),
            _written_numbers(bulk.values[start:stop]),
            _written_numbers(bulk.constraints[start:stop]),
            strict=True,
        )
        for (state, reason), u, params, values, constraints in columns:
            yield state, u, params, values, constraints, None, reason


def _written_numbers(table: npt.NDArray[np.float64]) -> list[bytes | None]:
    """Write each row of a table (m, width), None where there is no number in it."""
    if not table.shape[1]:
        return [None] * len(table)
    there = (table[:, 0] == table[:, 0]).tolist()
    return [one if has else None for one, has in zip(blobs(table), there, strict=True)]
