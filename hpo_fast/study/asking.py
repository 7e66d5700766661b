"""How a study comes to its next trials: reserve numbers, let the strategy choose, write what it chose."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import numpy as np

from hpo_fast.errors import NothingToAsk, StorageError, StudyFinished
from hpo_fast.storage.fork import renew_after_fork
from hpo_fast.storage.journal import Chosen, Journal, Snapshot
from hpo_fast.strategies import make_strategy
from hpo_fast.strategies.base import Observations, Pending, Strategy
from hpo_fast.study.copies import params_copier
from hpo_fast.study.objectives import Objectives
from hpo_fast.trial import Trial

if TYPE_CHECKING:
    from hpo_fast.space import Space


class Asker:
    """Owns a started strategy. One ask at a time; telling never waits for it.

    What was told reaches the strategy at the next ask, from the journal and in its order: then a trial told here, one
    told by another process and one told before this process began take the same way, and telling cannot fail in the
    strategy.

    Args:
        strategy: started for this study.
        space: the study's space.
        objectives: turns told values into Y.
        journal: the study's rows.
        seed: the study's seed.
    """

    def __init__(self, strategy: Strategy, space: Space, objectives: Objectives, journal: Journal, seed: int) -> None:
        self.strategy = strategy
        self._space = space
        self._decode = space.decode
        self._encode = space.encode
        self._copy = params_copier(space)
        self._objectives = objectives
        self._journal = journal
        self._seed = seed
        self._seq = -1  # the last seq that the strategy knows
        self._half_way = False  # the strategy is at work, or was left there: it may know some rows, and not all
        self._owed: list[tuple[int, list[int], str | None]] = []  # process, trials, owner: not given back yet
        # A strategy that reads no history gets none, and cannot avoid the points of others.
        self._reads = strategy.reads_history or strategy.distinct
        self._codes = self._reads or journal.path is not None
        self._no_pending = Pending(np.empty(0, dtype=np.int64), np.empty((0, space.d)), [])
        self.lock = threading.RLock()
        renew_after_fork(self)

    def renew(self) -> None:
        """Let the next ask start the strategy again."""
        self._half_way = True

    def ask(self, n: int, owner: str | None, total: int | None = None, max_attempts: int | None = None) -> list[Trial]:
        """Give out up to n trials: waiting ones, then new ones.

        Args:
            n: how many, >= 1.
            owner: the process that runs them, or None where they belong to nobody.
            total: trials that the study may come to have; None for no end.
            max_attempts: see Journal.reserve.

        Returns:
            The trials: fewer than n where the strategy gave fewer, none only where `total` is reached.

        Raises:
            NothingToAsk: when the strategy has no point now.
            StudyFinished: when it is done.
        """
        with self.lock:
            while self._owed:
                # Taken out first: another thread may come to owe something while the journal is at work.
                owed = process, mine, mine_owner = self._owed.pop()
                if process == os.getpid():  # a forked child owes nothing for its parent
                    try:
                        self._journal.give_back(mine, mine_owner)
                    except BaseException:
                        self._owed.append(owed)
                        raise
            while True:
                rows, numbers = self._journal.reserve(n, owner, total, max_attempts)
                try:
                    trials = [Trial(self._copy(row.params or {}), row.number) for row in rows]
                    if not numbers:
                        return trials
                    tried = self._choose(numbers, owner, trials)
                    if trials:
                        return trials
                except BaseException:
                    self.give_back([*(row.number for row in rows), *numbers], owner)
                    raise
                if tried:  # somebody released our number and took it
                    continue
                if self.strategy.done:
                    raise StudyFinished(
                        f"{type(self.strategy).__name__} gives each of its points once, and all were given; "
                        "continue with another strategy to try more."
                    )
                raise NothingToAsk(
                    f"{type(self.strategy).__name__} has no point to give until pending trials are told; "
                    "tell, fail or release one."
                )

    def give_back(self, numbers: list[int], owner: str | None) -> None:
        """Let these trials wait for the next worker; where the journal is out of reach, before the next ask.

        Without that memory they would run for as long as this process lives.
        """
        try:
            self._journal.give_back(numbers, owner)
        except StorageError:
            self._owed.append((os.getpid(), numbers, owner))

    def _choose(self, numbers: list[int], owner: str | None, trials: list[Trial]) -> bool:
        """Let the strategy fill reserved numbers, append the trials; tell whether it proposed anything."""
        strategy, journal = self.strategy, self._journal
        if self._half_way:  # left so by a fork or by an exception, Ctrl-C among them; replay brings it up to date
            strategy.start(self._space, self._objectives.n, self._objectives.constraints, self._seed)
            self._seq = -1
            self._half_way = False
        known = pending = None
        again = False
        while True:
            if self._reads:
                known = self._tell()
                pending = Pending(*known.open)
            chosen = []
            self._half_way = True
            proposals = strategy.ask(numbers, pending or self._no_pending)
            self._half_way = False
            for number, proposal in zip(numbers, proposals, strict=False):  # it may give fewer
                params = self._decode(proposal.u)
                chosen.append(Chosen(number, params, self._encode(params) if self._codes else None, proposal.note))
            # An equal point that became pending meanwhile is a reason to think once more. Twice would be no better: a
            # strategy may want it all the same, unless it promised that its points are distinct.
            check = known if strategy.distinct or not again else None
            done, written = journal.write(chosen, owner, check, strategy.distinct)
            if done:
                break
            again = True
        if len(chosen) < len(numbers):
            journal.give_back(numbers[len(chosen) :], owner)
        trials += [Trial(self._copy(one.params), one.number) for one in written]  # the objective may change its own
        return bool(chosen)

    def _tell(self) -> Snapshot:
        """Tell the strategy what is new in the journal."""
        seen = self._journal.snapshot(self._seq)
        results = seen.results
        if len(results.numbers):
            Y = self._objectives.minimised(results.values, results.constraints)
            self._half_way = True
            self.strategy.tell(Observations(results.numbers, seen.U, Y, results.states, seen.notes))
            self._seq = results.last_seq
            self._half_way = False
        return seen


def own_strategy(strategy: Strategy | str | None) -> Strategy:
    """Give a strategy that belongs to one study: a copy of an object of this package's classes.

    So one object may be given to several studies, and stays as it was. What a class of the user's keeps beside its
    config is not known here, so its object is used as it is.
    """
    made = make_strategy(strategy)
    if made is strategy and type(made).__module__.startswith("hpo_fast.strategies."):
        return type(made)(**made.config())
    return made
