"""The loop whose tell + ask is timed: after a told history, over a whole refit interval, values outside the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from hpo_fast_bench.histories import NOISE, History, history
from hpo_fast_bench.methods import METHODS, OurSession, Session
from hpo_fast_bench.parts.blocks import alternate, block, fastest, figures, peer_threads, seconds_by_threads

from hpo_fast.strategies._refits import NEAR_FROM, REFIT_ALWAYS, REFIT_GROWTH, is_due, shares


def interval(n: int) -> int:
    """Trials from one refit of ours, at n told ones, until a tenth more were told."""
    m = 1
    while n + m > REFIT_ALWAYS and n + m < REFIT_GROWTH * n:
        m += 1
    return m


def refits_within(n: int, trials: int, exact: bool = False) -> int:
    """Refits of ours that end in so many timed trials of `our_loop`, at least one; exact: that model is forced."""
    if n < NEAR_FROM:
        return 1
    fitted, end, ends = n, n, 0
    for told in range(n + 1, n + trials + 1):
        if told > end and is_due(told, fitted, n):  # one that is due meanwhile waits until the one under way has ended
            fitted, end = told, told + shares(told, exact)
            ends += end <= n + trials
    return max(1, ends)


def before_refit(n: int) -> int:
    """The most trials told at a refit such that the next one is due at n + 1, or at n."""
    first = n
    while not is_due(n + 1, first, first):
        first -= 1
    return first


def begins_refit(note: Mapping[str, Any]) -> bool:
    """Whether a trial of ours began a refit that is spread over those after it."""
    return "refit" in note and "number" not in note["refit"]


class Loop:
    """tell and ask after a history; the values are computed outside the clock.

    Args:
        session: a new one.
        past: what it is told before.
        seed: of the noise.
        first: rows of the history that the first fit sees; an ask before the clock takes in the others, so that the
            clock sees no more than a trial's share of that. Left out: all.

    Attributes:
        session: what asks.
        U: points asked, in order; the first is that of the ask before the clock.
        told: values told for them; the last one waits for the next step.
        notes: of ours alone, what the strategy decided for each of them.
        best: the least noise-free value so far.
    """

    def __init__(self, session: Session, past: History, seed: int, first: int | None = None) -> None:
        self.session, self._past = session, past
        self._noise = np.random.default_rng([seed, 7])
        self.U: list[npt.NDArray[np.float64]] = []
        self.told: list[float] = []
        self.notes: list[dict[str, Any]] = []
        self._first: dict[str, Any] = {}  # the note of the first fit, where that was before the first of `notes`
        self.best = np.inf
        if first is None or first > past.n - 2:
            self._add(0, past.n)
            self.begin()  # the first fit, from no theta, is not the steady state
        else:
            self._add(0, first)
            self.begin()
            self._add(first, past.n - 2)  # a refit may be due at n
            U, y = past.U.copy(), past.y.copy()
            U[-2], y[-2] = self.U.pop(), self.told.pop()  # the trial of the first fit stands for one of the history
            session.tell(float(y[-2]))
            self._past, self._first = replace(past, U=U, y=y), self.notes.pop()
            self.begin()
            self._add(past.n - 1, past.n)

    @property
    def layout(self) -> Any:
        """Of the space."""
        return self._past.space.layout

    def _add(self, first: int, last: int) -> None:
        columns = {name: column[first:last] for name, column in self._past.columns().items()}
        self.session.add(columns, self._past.y[first:last])

    def begin(self) -> None:
        self._params = self.session.ask()
        self.evaluate()

    def evaluate(self) -> None:
        """Compute what the trial asked last will be told; not a part of the step, so that no clock sees it."""
        self.U.append(np.array(list(self._params.values())))
        value = self._past.f(self.U[-1])
        self.best = min(self.best, value)
        self.told.append(value + NOISE * float(self._noise.standard_normal()))
        if isinstance(self.session, OurSession):
            self.notes.append(self.session.note())

    def step(self) -> None:
        self.session.tell(self.told[-1])
        self._params = self.session.ask()

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

    @property
    def moved(self) -> int:
        """Those of them that moved theta.

        The others leave the factor of an exact model as well, which is most of the work; a local one is made anew.
        """
        count, theta = 0, self._first.get("fit", {}).get("theta")
        for i, note in enumerate(self.notes):
            if "fit" in note:
                count += i > 0 and note["fit"]["theta"] != theta
                theta = note["fit"]["theta"]
        return count

    def seen(self, number: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Points and values told before ask `number` (of `U`)."""
        return np.vstack([self._past.U, *self.U[:number]]), np.concatenate([self._past.y, self.told[:number]])

    def fit(self, number: int) -> tuple[npt.NDArray[np.float64], int]:
        """Theta (1, p) of the model of ask `number`, and the observations told when it was fitted."""
        fit = next(note["fit"] for note in reversed([self._first, *self.notes[: number + 1]]) if "fit" in note)
        return np.array([fit["theta"]]), int(fit["n"])


def first_fit(n: int) -> int | None:
    """`first` of a Loop of n told trials: below 1,000 as if they had come one by one, from there on as one bulk."""
    return before_refit(n) if n < NEAR_FROM else None


def our_loop(n: int, d: int, seed: int, threads: int, method: str = "hpo_fast") -> Loop:
    """The loop that is timed; the same arguments give the same trials, so others may look at them again.

    Below 1,000 the first timed ask fits theta; from there on the refits that follow a bulk, each spread over many asks,
    lie in the `interval(n + 1)` trials that come then.

    Args:
        n: told trials.
        d: parameters.
        seed: of history, method and noise.
        threads: of the method.
        method: one of ours.
    """
    past = history(n, d, seed)
    return Loop(METHODS[method](past.space, seed, threads), past, seed, first_fit(n))


def our_block(loop: Loop, trials: int) -> dict[str, Any]:
    """What so many timed trials of ours are remembered by."""
    return {**figures(loop.timed(trials, 0.0, trials)), "refits": loop.refits, "moved": loop.moved, "best": loop.best}


def against_peer(
    runs: int,
    ours: Callable[[int], dict[str, Any]],
    method: str,
    size: tuple[int, int],
    trials: int,
    seconds: float,
    threads: int,
) -> dict[str, Any]:
    """Blocks of ours beside those of a peer's loop after the same history, with the count of threads that suits it.

    Args:
        runs: blocks of either side.
        ours: run -> its block.
        method: the peer.
        size: n and d of the history.
        trials: of a block of the peer.
        seconds: after which it ends, with the trial that is running.
        threads: at most, of either side.
    """

    def begin(run: int, count: int) -> Loop:
        past = history(*size, run)
        return Loop(METHODS[method](past.space, run, count), past, run)

    seen = seconds_by_threads(lambda count: begin(runs, count).timed_once, threads)
    count = fastest(seen)

    def peer(run: int) -> dict[str, Any]:
        with peer_threads(count):
            loop = begin(run, count)
            return {**figures(loop.timed(trials, seconds, 1)), "best": loop.best, "threads": count}

    return {**alternate(runs, ours, peer), "peer seconds by threads": seen}
