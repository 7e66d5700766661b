"""The trials of a study as a sequence that reads from the journal only what is looked at."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from hpo_fast.errors import BackendUnavailable
from hpo_fast.space.columns import Column, packed
from hpo_fast.storage.journal import Journal, Row
from hpo_fast.study.copies import copied
from hpo_fast.study.objectives import Objectives
from hpo_fast.trial import TrialRecord

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("number", "state", "started", "ended", "duration", "reason")  # of a data frame, whatever the study is
_BLOCK = 512  # rows read at once while iterating: well above the cost of one query, well below a million rows


class Trials(Sequence[TrialRecord]):
    """Every trial that has parameters, in order of number, whatever its state; it grows while the study does.

    Cost: one row for an index; iterating holds 512 rows at a time.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __len__(self) -> int:
        following, blank = self._journal.numbers()
        return following - len(blank)

    @overload
    def __getitem__(self, index: int) -> TrialRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[TrialRecord]: ...
    def __getitem__(self, index: int | slice) -> TrialRecord | list[TrialRecord]:
        following, blank = self._journal.numbers()
        length = following - len(blank)
        if isinstance(index, slice):
            places = range(*index.indices(length))
            if not places:
                return []
            first, last = _number(min(places), blank), _number(max(places), blank)
            if abs(places.step) == 1:
                rows = self._journal.rows(first, last + 1)
                return [as_record(self._journal, row) for row in rows[:: places.step]]
            return [self._at(_number(place, blank)) for place in places]
        place = operator.index(index)
        if not -length <= place < length:
            raise IndexError(f"trials[{place}]: the study has {length} trials.")
        return self._at(_number(place % length, blank))

    def __iter__(self) -> Iterator[TrialRecord]:
        start = 0
        while True:
            following, _ = self._journal.numbers()
            if start >= following:
                return
            stop = min(start + _BLOCK, following)
            for row in self._journal.rows(start, stop):
                yield as_record(self._journal, row)
            start = stop

    def __repr__(self) -> str:
        return f"<{len(self)} trials>"

    def _at(self, number: int) -> TrialRecord:
        return as_record(self._journal, self._journal.rows(number, number + 1)[0])


def _number(place: int, blank: list[int]) -> int:
    """Give the number of the trial at a place, the numbers without parameters being left out."""
    number = place
    for one in blank:
        if one > number:
            break
        number += 1
    return number


def as_record(journal: Journal, row: Row) -> TrialRecord:
    """Show a row, copied, so that no reader can change the journal."""
    assert row.params is not None
    u = journal.encoded(row).copy()
    u.flags.writeable = False
    return TrialRecord(
        number=row.number,
        state=row.state,
        params=copied(row.params),
        u=u,
        values=row.values,
        constraints=row.constraints,
        attrs=copied(row.attrs),
        note=copied(row.note),
        reason=row.reason,
        started=row.started,
        ended=row.ended,
    )


def _column(label: str) -> str:
    """Give the column of an objective: its name, unless that is, or looks like, one of the other columns."""
    taken = label in _COLUMNS or label.startswith(("params_", "attrs_", "constraint_", "values_"))
    return f"values_{label}" if taken else label


def as_dataframe(trials: Trials, names: list[str], objectives: Objectives) -> pd.DataFrame:
    """Give a row a trial, for Study.to_dataframe.

    Raises:
        BackendUnavailable: when pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise BackendUnavailable(
            "to_dataframe needs pandas, but it is not installed; pip install pandas, or read study.trials."
        ) from error
    labels = [_column(label) for label in objectives.labels()]
    limits = [f"constraint_{i}" for i in range(objectives.constraints)]
    heads = ["number", "state", *labels, *limits, *(f"params_{name}" for name in names)]
    ends = ["started", "ended", "duration", "reason"]
    parts: list[list[Column]] = [[] for _ in (*heads, *ends)]
    attrs: dict[str, dict[int, Any]] = {}
    n = 0
    left = iter(trials)
    while block := list(islice(left, _BLOCK)):
        rows = [
            (
                *(trial.number, trial.state.name.lower()),
                *(trial.values or [None] * len(labels)),
                *(trial.constraints or [None] * len(limits)),
                *map(trial.params.get, names),
                *(trial.started, trial.ended, trial.duration, trial.reason),
            )
            for trial in block
        ]
        for column, values in zip(parts, zip(*rows, strict=True), strict=True):
            column.append(packed(list(values)))  # numbers as arrays: as objects, those of a million trials take 1 GB
        for place, trial in enumerate(block, n):
            for name, value in trial.attrs.items():
                attrs.setdefault(f"attrs_{name}", {})[place] = value
        n += len(block)
    columns = list(map(_joined, parts))
    table = dict(zip(heads, columns[: len(heads)], strict=True))
    table |= {head: [kept.get(place, math.nan) for place in range(n)] for head, kept in attrs.items()}
    return pd.DataFrame(table | dict(zip(ends, columns[len(heads) :], strict=True)))


def _joined(parts: list[Column]) -> Column:
    """Join the parts of a column: an array where all hold numbers of one kind."""
    if parts and isinstance(parts[0], np.ndarray):
        kind = parts[0].dtype
        arrays = [part for part in parts if isinstance(part, np.ndarray) and part.dtype == kind]
        if len(arrays) == len(parts):
            return np.concatenate(arrays)
    return list(chain.from_iterable(part.tolist() if isinstance(part, np.ndarray) else part for part in parts))
