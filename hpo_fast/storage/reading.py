"""How the rows of a study file become trials, one by one or a million at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpo_fast.storage.coding import floats, read_dict
from hpo_fast.storage.journal import Results, Row
from hpo_fast.trial import TrialState

if TYPE_CHECKING:
    import sqlite3

FIELDS = "number, state, params, u, note, attempts, started, ended, seq, objectives, constraints, attrs, reason"
CHUNK = 4096  # rows held as Python objects at once, 1 to 2 MB; more are not faster


def read_row(fields: tuple[Any, ...]) -> Row:
    """Make a row of its FIELDS."""
    number, state, params, u, note, attempts, started, ended, seq, objectives, constraints, attrs, reason = fields
    return Row(
        number,
        TrialState(state),
        read_dict(params),
        np.frombuffer(u, dtype="<f8").astype(np.float64),
        read_dict(note),
        attempts,
        started,
        ended,
        seq,
        None if objectives is None else tuple(np.frombuffer(objectives, dtype="<f8").tolist()),
        None if constraints is None else tuple(np.frombuffer(constraints, dtype="<f8").tolist()),
        read_dict(attrs),
        reason,
    )


class ToldReader:
    """Reads the told columns after a seq into arrays, whatever their number, with few Python objects at once.

    Args:
        db: in a transaction.
        study: its id.
        after: see above.
        widths: objectives and constraints.
        d: code columns, where the points and notes are wanted; None: they are not.

    Attributes:
        m: trials read.
        U: (m, d) their codes.
        notes: position -> JSON text, of those that have one.

    Cost: O(m), about 2 us a trial.
    """

    def __init__(self, db: sqlite3.Connection, study: int, after: int, widths: tuple[int, int], d: int | None) -> None:
        self.notes: dict[int, str] = {}
        self._last_seq = after
        found = db.execute(
            f"SELECT seq, number, state, attempts, objectives, constraints{'' if d is None else ', u, note'} "
            "FROM trials WHERE study = ? AND seq IS NOT NULL AND seq > ? ORDER BY seq",
            (study, after),
        )
        rows = found.fetchmany(CHUNK)
        self.m = len(rows)
        if self.m == CHUNK:  # so many that copies of the arrays would matter: make them as long as they will be
            (self.m,) = db.execute(
                "SELECT count(*) FROM trials WHERE study = ? AND seq IS NOT NULL AND seq > ?", (study, after)
            ).fetchone()
        self._numbers = np.empty(self.m, dtype=np.int64)
        self._states = np.empty(self.m, dtype=np.uint8)
        self._asked = np.empty(self.m, dtype=np.bool_)
        self._values = np.empty((self.m, widths[0]))
        self._constraints = np.empty((self.m, widths[1]))
        self.U: npt.NDArray[np.float64] = np.empty((self.m, d or 0))
        place = 0
        while rows:
            self._take(rows, place)
            place += len(rows)
            rows = found.fetchmany(CHUNK)

    def _take(self, rows: list[tuple[Any, ...]], place: int) -> None:
        seqs, numbers, states, attempts, objectives, constraints, *rest = zip(*rows, strict=True)
        part = slice(place, place + len(rows))
        self._last_seq = seqs[-1]
        self._numbers[part], self._states[part] = numbers, states
        self._asked[part] = np.array(attempts) > 0
        self._values[part] = floats(objectives, self._values.shape[1])
        self._constraints[part] = floats(constraints, self._constraints.shape[1])
        if rest:
            points, notes = rest
            self.U[part] = floats(points, self.U.shape[1])
            self.notes.update((i, note) for i, note in enumerate(notes, place) if note)

    def results(self) -> Results:
        """Give what was read, without the points and notes."""
        return Results(self._last_seq, self._numbers, self._states, self._values, self._constraints, self._asked)
