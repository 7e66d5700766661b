"""The study: the sole owner of the user's code, of the sign of the objective and of the clock."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from hpo_fast.errors import StudyError
from hpo_fast.space import Space
from hpo_fast.storage.journal import Journal, Result, check_durability, refuse_told
from hpo_fast.storage.memory import MemoryJournal
from hpo_fast.strategies.base import Strategy
from hpo_fast.study.asking import Asker, own_strategy
from hpo_fast.study.copies import plain
from hpo_fast.study.objectives import Objectives, read_count
from hpo_fast.study.optimize import Callback, Objective, Run
from hpo_fast.study.ranking import Ranking
from hpo_fast.study.table import read_many
from hpo_fast.study.told import as_json, check_name, drawn, read_one, readable
from hpo_fast.study.trials import Trials, as_dataframe, as_record
from hpo_fast.trial import Trial, TrialRecord, TrialState

if TYPE_CHECKING:
    import pandas as pd

    from hpo_fast.study.opening import Opened


class Study:
    """Begin a study, or go on with the one in the file.

    A study that is continued must have the same space, directions and constraints; its strategy and seed are the
    file's where they are left out. Threads may share a study, and processes may share its file.

    Args:
        space: what to search.
        strategy: how to search, an object or its name; None: the file's, and BayesianOptimization() for a new study.
            Another strategy than the file's is allowed; the study goes on with it. The study works on a copy of the
            object; one of a class of your own it uses as it is, so give each study its own.
        direction: "minimize" or "maximize".
        directions: for several objectives, one direction each, by position or as {name: direction}.
        constraints: number of constraints; a trial is feasible where all are <= 0.
        storage: path of the study file; None keeps the study in memory.
        name: the study's name in the file; None: the only one there.
        seed: integer in [0, 2**63) that all random choices follow; None: the file's, and a random one for a new study.
        durability: "power": what was told survives a power cut. "process": faster, it survives the death of the
            process.

    Raises:
        StudyError: when the arguments contradict each other or the stored study.
        StorageError: when the file cannot be used. Nothing in it was changed.
        StrategyError: when the strategy cannot serve such a study.
    """

    def __init__(
        self,
        space: Space,
        strategy: Strategy | str | None = None,
        *,
        direction: str = "minimize",
        directions: Sequence[str] | Mapping[str, str] | None = None,
        constraints: int = 0,
        storage: str | os.PathLike[str] | None = None,
        name: str | None = None,
        seed: int | None = None,
        durability: str = "power",
    ) -> None:
        if not isinstance(space, Space):
            raise StudyError(f"space must be a Space, but got {type(space).__name__}; write Space(...) around it.")
        objectives = Objectives(direction, directions, constraints)
        check_durability(durability)
        check_name(name)
        if seed is not None:
            if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
                raise StudyError(f"seed must be an integer with 0 <= seed < 2**63, but got {seed!r}.")
            seed = int(seed)
        if storage is None:
            journal = MemoryJournal(space.encode, space.d, objectives.n, objectives.constraints)
            self._begin(space, objectives, name or "study", drawn(seed), journal)
            made = own_strategy(strategy)
            made.start(space, objectives.n, objectives.constraints, self._seed)
            self._made = self._asker_of(made)
        else:
            from hpo_fast.study.opening import open_study

            opened = open_study(space, strategy, objectives, storage, name, seed, durability)
            self._continue(space, objectives, opened)
            self._made = self._asker_of(opened.start_strategy(space, objectives))

    def _begin(self, space: Space, objectives: Objectives, name: str, seed: int, journal: Journal) -> None:
        self._space, self._objectives, self._name, self._seed = space, objectives, name, seed
        self._journal = journal
        self._ranking = Ranking(objectives, journal)
        self._stops = 0

    def _continue(self, space: Space, objectives: Objectives, opened: Opened) -> None:
        from hpo_fast.storage.file_journal import FileJournal

        file, stored = opened.file, opened.stored
        journal = FileJournal(file, stored.id, space.d, objectives.n, objectives.constraints)
        self._begin(space, objectives, stored.name, stored.seed, journal)
        self._opened = opened

    def _asker_of(self, started: Strategy) -> Asker:
        return Asker(started, self._space, self._objectives, self._journal, self._seed)

    @classmethod
    def load(cls, path: str | os.PathLike[str], name: str | None = None, *, durability: str = "power") -> Self:
        """Open the study in a file; space, strategy and seed are those stored there.

        Args:
            path: path of the study file.
            name: the study's name there; None: the only one.
            durability: as for a new study.

        Raises:
            StorageError: when the file cannot be used or holds no such study.
            StudyError: when name is None and the file holds several.
        """
        from hpo_fast.study.opening import load_study

        opened = load_study(path, name, durability)
        study = cls.__new__(cls)
        space, objectives = Space.from_json(opened.stored.space), Objectives.from_json(opened.stored.objectives)
        study._continue(space, objectives, opened)
        return study

    @property
    def _asker(self) -> Asker:
        # A loaded study is often only looked at, and its strategy may be one that this process does not know.
        made: Asker | None = self.__dict__.get("_made")
        if made is None:
            asker = self._asker_of(self._opened.start_strategy(self._space, self._objectives))
            made = self.__dict__.setdefault("_made", asker)  # of two threads that come here at once, the first counts
        return made

    @property
    def space(self) -> Space:
        """The search space."""
        return self._space

    @property
    def name(self) -> str:
        """The study's name."""
        return self._name

    @property
    def seed(self) -> int:
        """The seed that all random choices follow."""
        return self._seed

    @property
    def storage(self) -> str | None:
        """Path of the study file; None in memory."""
        return self._journal.path

    @property
    def strategy(self) -> Strategy:
        """The strategy that chooses the trials: a copy of what was given, or the object itself if of your own class."""
        return self._asker.strategy

    @property
    def strategy_name(self) -> str:
        """The strategy's name in the study file; known also where this process does not know the strategy."""
        return self._asker.strategy.name if "_made" in self.__dict__ else self._opened.stored.strategy

    @property
    def strategy_config(self) -> dict[str, Any]:
        """The strategy's arguments, as JSON; known also where this process does not know the strategy."""
        return self._asker.strategy.config() if "_made" in self.__dict__ else self._opened.stored.config

    @property
    def directions(self) -> tuple[str, ...]:
        """ "minimize" or "maximize", one for each objective."""
        return self._objectives.directions

    @property
    def objective_names(self) -> list[str]:
        """What the objectives are called: "value", unless they were named."""
        return self._objectives.labels()

    @property
    def constraints(self) -> int:
        """Number of constraints."""
        return self._objectives.constraints

    @property
    def attrs(self) -> dict[str, Any]:
        """What was kept with the study, as a copy."""
        return self._journal.attrs()

    def set_attr(self, name: str, value: Any) -> None:
        """Keep something JSON-able with the study.

        Raises:
            StudyError: when it is not JSON-able.
        """
        self._journal.set_attr(name, as_json({"value": value}, "value")["value"])

    @overload
    def ask(self) -> Trial: ...
    @overload
    def ask(self, n: int) -> list[Trial]: ...
    def ask(self, n: int | None = None) -> Trial | list[Trial]:
        """Take one trial, or up to n, to be told later, by anybody who knows its number.

        Trials that wait come first: those enqueued, released, or left by a worker that died.

        Args:
            n: how many, >= 1; None gives one Trial instead of a list.

        Raises:
            NothingToAsk: when the strategy has no point until pending trials are told.
            StudyFinished: when it has given all its points.
        """
        if n is None:
            return self._asker.ask(1, None)[0]
        return self._asker.ask(read_count("n", n, 1), None)

    def tell(
        self,
        trial: Trial | int,
        value: Any = None,
        *,
        constraints: Sequence[float] | None = None,
        state: TrialState | str | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        """End a trial with its values. NaN, inf and None fail it.

        Args:
            trial: the trial or its number.
            value: a number; one for each objective in a sequence, or by name where the objectives have names; or an
                Outcome.
            constraints: one number for each constraint.
            state: "done" (as without it), "pruned" or "failed".
            attrs: anything JSON-able to be kept with the trial.

        Raises:
            StudyError: when there is no such trial, it was told before, or the value is a string, True or False, or of
                wrong length.
        """
        self._journal.finish(_number(trial), read_one(self._objectives, value, constraints, state, attrs))

    def fail(self, trial: Trial | int, reason: str) -> None:
        """End a trial that gave no value; it is kept, and learned from.

        Raises:
            StudyError: when there is no such trial, or it was told before.
        """
        self._journal.finish(_number(trial), Result(TrialState.FAILED, reason=readable(str(reason))))

    def release(self, trial: Trial | int) -> None:
        """Let a running trial wait for the next worker; for one whose worker died where this process cannot see it.

        That is on another host, or in another container: a container that is started again does not see the processes
        of its former life either. `pending()` gives the numbers that may be meant.

        Raises:
            StudyError: when there is no such trial, or it was told.
        """
        self._journal.release(_number(trial))

    def add_trial(
        self,
        params: Mapping[str, Any],
        value: Any = None,
        *,
        constraints: Sequence[float] | None = None,
        state: TrialState | str | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> int:
        """Add a trial that was run elsewhere; the keywords are those of `tell`.

        Returns:
            Its number.

        Raises:
            SpaceError: when params is no point of the space.
            StudyError: as for `tell`.
        """
        result = read_one(self._objectives, value, constraints, state, attrs)
        kept = plain(params)
        return self._journal.add(kept, self._space.encode(kept), result)

    def add_trials(
        self,
        params: Iterable[Mapping[str, Any]] | Mapping[str, Any],
        values: Any,
        constraints: Any = None,
        states: Iterable[TrialState | str | int] | None = None,
    ) -> range:
        """Add m trials that were run elsewhere, all or none.

        Nothing is stored before the last row is read, and then all in one transaction: where an iterator raises, or a
        row is wrong, the study stays as it is. The params of these trials come back in the order of the space, whatever
        their order was; those of `add_trial` as they were told.

        Args:
            params: m dicts, in a list or from an iterator, which is read once; or a mapping from each parameter's name
                to an array of m values, None, NaN, NA or masked where it does not exist; or a pandas DataFrame.
            values: (m,) or (m, objectives) numbers; rows with NaN, inf or None are failed trials.
            constraints: (m, constraints) numbers.
            states: m states as for `tell`.

        Returns:
            Their numbers.

        Raises:
            SpaceError: when a row of params is no point of the space; it names the first one.
            StudyError: when the lengths differ or something is no number.

        Cost: O(m d). A million trials of 10 numbers take 0.7 s from arrays and 2 s from dicts, and in memory twice the
            bytes of the numbers. A study file takes 10 s more, and as much room for temporary files as it grows by. In
            the last 4 to 8 s of that nobody else can write into it, and who waits for 60 s gives up with an error: so
            add more than five million trials in parts, where others use the file meanwhile. Other threads of this
            process, which share its connection, wait for all of it.
        """
        bulk = read_many(self._space, self._objectives, params, values, constraints, states)
        first = self._journal.add_many(bulk)
        return range(first, first + len(bulk))

    def enqueue(self, params: Mapping[str, Any]) -> int:
        """Let these parameters be tried next, after those enqueued before.

        Returns:
            The number of the trial.

        Raises:
            SpaceError: when params is no point of the space.
        """
        kept = plain(params)
        return self._journal.enqueue(kept, self._space.encode(kept))

    def optimize(
        self,
        objective: Objective,
        n_trials: int | None = None,
        *,
        total_trials: int | None = None,
        timeout: float | None = None,
        callbacks: Iterable[Callback] | Callback = (),
        catch: tuple[type[BaseException], ...] = (Exception,),
        max_attempts: int = 2,
        progress: bool | None = None,
    ) -> None:
        """Run trials until a count, the timeout, the strategy, `stop()` or Ctrl-C ends it.

        A trial whose worker died, in whatever process, comes first, with its number and parameters. After Ctrl-C
        everything told is kept, and the trial that was running waits.

        Args:
            objective: takes a Trial; gives a number, one for each objective, or an Outcome. What is none of these makes
                a failed trial.
            n_trials: further trials of this call.
            total_trials: instead: trials that the study shall have, over all workers and calls. What was asked or
                enqueued counts, what was added does not.
            timeout: seconds after which no further trial begins.
            callbacks: one or several, called as callback(study, record) after each trial.
            catch: exceptions of the objective that make a failed trial; others do so as well, and end the run.
            max_attempts: how often a trial may take its worker down, >= 1, before it counts as failed.
            progress: True shows a live line, False none, None one where standard error is a terminal.

        Raises:
            StudyError: when the arguments contradict each other, or the first five trials of the study all fail, over
                all workers and calls (and again at each further five, until one succeeds). Trials that were added do
                not count: they say nothing of the objective.
            StorageError: when the file is out of reach; the message has the number and the value of the trial that
                could not be told, which waits for the next call otherwise.
            NothingToAsk: when the strategy waits for pending trials, and there are none.
        """
        Run(self, objective, n_trials, total_trials, timeout, callbacks, catch, max_attempts, progress)()

    def stop(self) -> None:
        """End the calls of `optimize` that run now, after their current trial."""
        self._stops += 1

    @property
    def trials(self) -> Trials:
        """All trials with parameters, in order of number, whatever their state; read as they are looked at."""
        return Trials(self._journal)

    def find_trial(self, number: int) -> TrialRecord | None:
        """Give the trial of that number; None when there is none, or it has no parameters yet.

        Raises:
            StudyError: when `number` is no integer.
        """
        number = _integer(number, "number must be the number of a trial", "give an integer, such as trial.number")
        known = 0 <= number < self._journal.numbers()[0]
        rows = self._journal.rows(number, number + 1) if known else []
        return as_record(self._journal, rows[0]) if rows else None

    def pending(self) -> list[int]:
        """Give the numbers of the trials that wait or run, in order."""
        look = self._journal.look()
        return sorted(look.waiting + look.running)

    @property
    def total_trials(self) -> int:
        """How many trials `optimize(total_trials=...)` counts: those asked or enqueued, whatever became of them."""
        return self._journal.total()

    def counts(self) -> dict[TrialState, int]:
        """Give how many trials are in each state from WAITING on; one whose worker died waits.

        Cost: reading what was told since the last look.
        """
        told = self._ranking.counts()
        look = self._journal.look()
        return {
            TrialState.WAITING: len(look.waiting),
            TrialState.RUNNING: len(look.running),
            TrialState.DONE: told.done,
            TrialState.PRUNED: told.pruned,
            TrialState.FAILED: told.failed,
        }

    @property
    def best_trial(self) -> TrialRecord:
        """The feasible trial with the best value; of equal ones, the one told first.

        Raises:
            StudyError: when there is none, or the study has several objectives.
        """
        if self._objectives.n > 1:
            raise StudyError(
                f"best_trial needs one objective, but the study has {self._objectives.n}; look at pareto_front."
            )
        numbers, _ = self._ranking.front()
        if not len(numbers):
            counts = self._ranking.counts()
            raise StudyError(
                f"best_trial needs a feasible trial that was told its value, but of {counts.valid + counts.failed} "
                f"told trials {counts.failed} failed and {counts.valid} are pruned or not feasible."
            )
        return self._record(int(numbers[0]))

    @property
    def pareto_front(self) -> list[TrialRecord]:
        """The feasible trials that no other beats in one objective without being worse in another, by number."""
        return [self._record(int(number)) for number in self._ranking.front()[0]]

    def to_dataframe(self) -> pd.DataFrame:
        """Give a row a trial: number, state, the values, constraints, parameters and attrs, times and reason.

        Raises:
            BackendUnavailable: when pandas is not installed.
        """
        return as_dataframe(self.trials, list(self._space.names), self._objectives)

    def __repr__(self) -> str:
        where = "memory" if self.storage is None else repr(self.storage)
        return f"<Study {self._name!r} in {where}: {self._objectives!r}, {len(self.trials)} trials>"

    def _record(self, number: int) -> TrialRecord:
        return as_record(self._journal, self._journal.rows(number, number + 1)[0])


def minimize(
    objective: Objective,
    space: Space,
    n_trials: int = 100,
    *,
    strategy: Strategy | str | None = None,
    storage: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    timeout: float | None = None,
    progress: bool | None = None,
) -> Study:
    """Run one study that minimises an objective, and give it back.

    Args:
        objective: takes a Trial, gives a number.
        space: what to search.
        n_trials: further trials, >= 0.
        strategy: as for Study; None is BayesianOptimization().
        storage: path of a study file; None: memory.
        seed: as for Study.
        timeout: as for Study.optimize.
        progress: as for Study.optimize.
    """
    study = Study(space, strategy, storage=storage, seed=seed)
    study.optimize(objective, n_trials, timeout=timeout, progress=progress)
    return study


def _number(trial: Trial | int) -> int:
    if isinstance(trial, Trial):
        if trial.number is None:
            raise StudyError(
                "trial must come from a study, but this one was made by hand and has no number; use add_trial."
            )
        return trial.number
    number = _integer(trial, "trial must be a Trial or its number", "give what ask gave")
    if not -(2**63) <= number < 2**63:  # SQLite's integers
        raise refuse_told(number, None)
    return number


def _integer(given: Any, rule: str, advice: str) -> int:
    try:
        if not isinstance(given, bool):
            return operator.index(given)
    except TypeError:
        pass
    raise StudyError(f"{rule}, but got {given!r}; {advice}.")
