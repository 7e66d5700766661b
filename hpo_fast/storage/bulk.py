"""Told trials that were added together, as a struct of arrays: what add_trials hands to a journal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpo_fast.storage.journal import Row
from hpo_fast.storage.params import ParamColumns, ParamRows
from hpo_fast.trial import TrialState

_STATES = {int(state): state for state in TrialState}


@dataclass(frozen=True, slots=True, eq=False)
class Bulk:
    """m told trials. Nobody writes into it.

    Attributes:
        params: as told.
        U: (m, d) their codes.
        states: (m,) uint8, DONE, PRUNED or FAILED.
        values: (m, objectives) as told; NaN rows where nothing valid was.
        constraints: (m, constraints), the same.
        reasons: why trials failed; the first is None.
        reason: (m,) which of the reasons holds.
    """

    params: ParamColumns | ParamRows
    U: npt.NDArray[np.float64]
    states: npt.NDArray[np.uint8]
    values: npt.NDArray[np.float64]
    constraints: npt.NDArray[np.float64]
    reasons: tuple[str | None, ...]
    reason: npt.NDArray[np.unsignedinteger]

    def __len__(self) -> int:
        return len(self.U)

    def told(self, start: int, stop: int) -> list[tuple[int, str | None]]:
        """Give state and reason of the trials start..stop."""
        reasons = [self.reasons[i] for i in self.reason[start:stop].tolist()]
        return list(zip(self.states[start:stop].tolist(), reasons, strict=True))

    def rows(self, start: int, stop: int, number: int, seq: int, ended: float) -> list[Row]:
        """Give the trials start..stop as rows.

        Args:
            start: position of the first one.
            stop: position after the last one.
            number: that of the trial at position 0.
            seq: that of the trial at position 0.
            ended: when they were added.
        """
        columns = zip(
            self.params.dicts(start, stop),
            self.U[start:stop],
            self.told(start, stop),
            present(self.values[start:stop]),
            present(self.constraints[start:stop]),
            strict=True,
        )
        return [
            Row(
                number + i,
                _STATES[state],
                params,
                u,
                ended=ended,
                seq=seq + i,
                values=values,
                constraints=constraints,
                reason=reason,
            )
            for i, (params, u, (state, reason), values, constraints) in enumerate(columns, start)
        ]


def present(table: npt.NDArray[np.float64]) -> list[tuple[float, ...] | None]:
    """Give each row of a table (m, width) as a tuple, None where there is no number in it."""
    if not table.shape[1]:
        return [None] * len(table)
    return [row if row[0] == row[0] else None for row in map(tuple, table.tolist())]
