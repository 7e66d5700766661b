"""The loop whose tell + ask is timed: after a told history, over a whole refit interval, values outside the clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hpo_fast_bench.histories import NOISE, History, history
from hpo_fast_bench.methods import METHODS, OurSession, Session
from hpo_fast_bench.parts.blocks import block

from hpo_fast.strategies.bayesian import REFIT_ALWAYS, REFIT_GROWTH


def interval(n: int) -> int:
    """Trials from one refit of ours, at n told ones, to the next."""
    m = 1
    while n + m > REFIT_ALWAYS and n + m < REFIT_GROWTH * n:
        m += 1
    return m


def before_refit(n: int) -> int:
    """The most trials told at a refit such that the next one is due at n + 1."""
    first = int((n + 1) / REFIT_GROWTH)
    while REFIT_GROWTH * first > n + 1:  # rounding
        first -= 1
    return first


class Loop:
    """tell and ask after a history; the values are computed outside the clock.

    Args:
        session: a new one.
        past: what it is told before.
        seed: of the noise.
        first: rows of the history that the ask before the clock sees; the others are told after it. Left out: all.

    Attributes:
        U: points asked, in order; the first is that of the ask before the clock.
        told: values told for them; the last one waits for the next step.
        notes: of ours alone, what the strategy decided for each of them.
        best: the least noise-free value so far.
    """

    def __init__(self, session: Session, past: History, seed: int, first: int | None = None) -> None:
        self._session, self._past = session, past
        self._noise = np.random.default_rng([seed, 7])
        self.U: list[npt.NDArray[np.float64]] = []
        self.told: list[float] = []
        self.notes: list[dict[str, Any]] = []
        self.best = np.inf
        first = past.n if first is None else first
        columns = past.columns()
        session.add({name: column[:first] for name, column in columns.items()}, past.y[:first])
        self.begin()  # the first fit, from no theta, is not the steady state
        if first < past.n:
            session.add({name: column[first:] for name, column in columns.items()}, past.y[first:])

    def begin(self) -> None:
        self._params = self._session.ask()
        self.evaluate()

    def evaluate(self) -> None:
        """Compute what the trial asked last will be told; not a part of the step, so that no clock sees it."""
        self.U.append(np.array(list(self._params.values())))
        value = self._past.f(self.U[-1])
        self.best = min(self.best, value)
        self.told.append(value + NOISE * float(self._noise.standard_normal()))
        if isinstance(self._session, OurSession):
            self.notes.append(self._session.note())

    def step(self) -> None:
        self._session.tell(self.told[-1])
        self._params = self._session.ask()

    def timed_once(self) -> float:
        return self.timed(1, 0.0, 1)[0]

    def timed(self, most: int, seconds: float, least: int) -> list[float]:
        """Seconds of each of `most` steps, fewer when `seconds` are over, `least` in any case."""
        times: list[float] = []
        left = seconds
        while len(times) < most and (len(times) < least or left > 0):
            times += block(self.step, 1)
            left -= times[-1]
            self.evaluate()
        return times

    @property
    def refits(self) -> int:
        """Refits that came to their end in the timed steps."""
        return sum("fit" in note for note in self.notes[1:])

    def seen(self, number: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Points and values told before ask `number` (of `U`)."""
        return np.vstack([self._past.U, *self.U[:number]]), np.concatenate([self._past.y, self.told[:number]])

    def fit(self, number: int) -> tuple[npt.NDArray[np.float64], int]:
        """Theta (1, p) of the model of ask `number`, and the observations that it was fitted to."""
        fit = next(note["fit"] for note in reversed(self.notes[: number + 1]) if "fit" in note)
        return np.array([fit["theta"]]), int(fit["n"])


def our_loop(
    n: int, d: int, seed: int, threads: int, method: str = "hpo_fast", *, refit_first: bool = False
) -> tuple[OurSession, Loop]:
    """The loop that is timed; the same arguments give the same trials, so others may look at them again.

    Args:
        n: told trials.
        d: parameters.
        seed: of history, method and noise.
        threads: of the method.
        method: one of ours.
        refit_first: whether the first timed ask begins a refit, so that all of its work falls into the interval that
            follows, also where it is spread over many asks.
    """
    past = history(n, d, seed)
    session = METHODS[method](past.space, seed, threads)
    assert isinstance(session, OurSession)
    return session, Loop(session, past, seed, before_refit(n) if refit_first else None)
