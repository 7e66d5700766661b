"""What Bayesian optimization decided with effort, as the notes of its trials hand it on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpo_fast.strategies.base import FloatArray, IntArray, written_notes

OWN_KINDS = ("initial", "model", "quasi_random")  # of the notes that Bayesian optimization writes


@dataclass(frozen=True, slots=True)
class Decided:
    """What the newest notes hand to the next ask.

    Args:
        first_theta: (p,) of a model without a fit.
        d: columns of a point.
        fixed_noise: whether the last entry of theta stays what it is in `first_theta`.
    """

    first_theta: FloatArray
    d: int
    fixed_noise: bool
    fit_n: int = 0  # observations told at the newest refit
    to_all_n: int = 0  # and at the newest one that took all of them
    fit_number: int = -1  # the trial that paid for it
    fitted: tuple[float, ...] | None = None
    # Refits under way: the trial that began it, the observations then, and the asks that did a share of it.
    begun: tuple[tuple[int, int, int], ...] = ()
    optima_number: int = -1
    optima: tuple[tuple[float, ...], ...] = ()

    @property
    def theta(self) -> tuple[float, ...]:
        """(p,) of the newest refit."""
        return tuple(self.first_theta.tolist()) if self.fitted is None else self.fitted

    def after(self, numbers: Sequence[int] | IntArray, notes: Sequence[Mapping[str, Any]]) -> Decided:
        """Reads notes; the refit on most observations wins, the optima of the latest trial, whoever told them when."""
        fit_n, fit_number, theta = self.fit_n, self.fit_number, self.fitted
        to_all_n = self.to_all_n
        begun = {(number, n): shares for number, n, shares in self.begun}
        optima_number, optima = self.optima_number, self.optima
        p = len(self.first_theta)
        for place, note in written_notes(notes):
            number = numbers[place]
            if note.get("kind") not in OWN_KINDS:  # another strategy asked that trial
                continue
            fit = note.get("fit")
            if fit is not None and len(fit["theta"]) == p:
                if "nearest" not in fit:
                    to_all_n = max(to_all_n, int(fit["n"]))
                if (fit["n"], number) > (fit_n, fit_number):
                    fit_n, fit_number, theta = int(fit["n"]), int(number), tuple(map(float, fit["theta"]))
                    if self.fixed_noise:  # the note may be from a strategy that inferred the noise
                        theta = (*theta[:-1], float(self.first_theta[-1]))
            if "refit" in note:
                refit = note["refit"]
                one = int(refit.get("number", number)), int(refit["n"])
                begun[one] = max(begun.get(one, 0), int(refit.get("share", 1)))
            found = note.get("optima")
            if found and len(found[0]) == self.d and number > optima_number:
                optima_number = int(number)
                optima = tuple(tuple(math.nan if x is None else float(x) for x in row) for row in found)
        under_way = tuple(sorted((*one, shares) for one, shares in begun.items() if one[1] > fit_n))
        return replace(
            self,
            fit_n=fit_n,
            to_all_n=to_all_n,
            fit_number=fit_number,
            fitted=theta,
            begun=under_way,
            optima_number=optima_number,
            optima=optima,
        )
