"""The loop that runs an objective: ask, run, tell, until a count, a time, the strategy or the user ends it."""

from __future__ import annotations

import logging
import math
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from hpo_fast.errors import HpoFastError, NothingToAsk, StorageError, StudyError, StudyFinished
from hpo_fast.storage.journal import Result
from hpo_fast.storage.owner import current_owner
from hpo_fast.study.progress import Progress, seconds
from hpo_fast.trial import Trial, TrialRecord, TrialState

if TYPE_CHECKING:
    from hpo_fast.study.study import Study

_log = logging.getLogger("hpo_fast")

_HOPELESS = 5  # first trials that all fail: by then it is the objective that is broken
_WAIT_SECONDS = 0.05  # between two looks for a point that others' trials hold up

Objective = Callable[[Trial], Any]
Callback = Callable[["Study", TrialRecord], Any]


class CtrlC:
    """Lets Ctrl-C through at once inside an objective, and otherwise only between two trials.

    Only where Python's own handler is in place and only in the main thread, the one that gets signals.
    """

    def __init__(self) -> None:
        self.asked = False
        self.inside = False
        self._installed = False

    def __enter__(self) -> CtrlC:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(self, *exception: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        impatient = self.inside or self.asked  # asked twice: something hangs
        self.inside, self.asked = False, True
        if impatient:
            raise KeyboardInterrupt


class Run:
    """One call of Study.optimize. The arguments are those of that method."""

    def __init__(
        self,
        study: Study,
        objective: Objective,
        n_trials: int | None,
        total_trials: int | None,
        timeout: float | None,
        callbacks: Iterable[Callback] | Callback,
        catch: tuple[type[BaseException], ...],
        max_attempts: int,
        progress: bool | None,
    ) -> None:
        if not callable(objective):
            raise StudyError(f"objective must be a function of a Trial, but got {objective!r}.")
        if n_trials is not None and total_trials is not None:
            raise StudyError(
                f"n_trials counts the trials of this call and total_trials those of the study, but got {n_trials!r} "
                f"and {total_trials!r}; give one of them."
            )
        counts = (("n_trials", n_trials, 0), ("total_trials", total_trials, 0), ("max_attempts", max_attempts, 1))
        for name, count, least in counts:
            if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < least):
                raise StudyError(f"{name} must be an integer >= {least}, but got {count!r}.")
        if timeout is not None and not (isinstance(timeout, (int, float)) and timeout >= 0):
            raise StudyError(f"timeout must be a number of seconds >= 0, but got {timeout!r}.")
        caught = catch if isinstance(catch, tuple) else (catch,)
        if not all(isinstance(one, type) and issubclass(one, BaseException) for one in caught):
            raise StudyError(f"catch must be a tuple of exception classes, but got {catch!r}.")
        self._study = study
        self._objective = objective
        self._n_trials = n_trials
        self._total = total_trials
        self._timeout = math.inf if timeout is None else timeout
        self._callbacks = [callbacks] if callable(callbacks) else list(callbacks)
        self._catch = caught
        self._failing: tuple[type[BaseException], ...] = (Exception, *caught)  # these make a failed trial
        self._max_attempts = max_attempts
        self._show = progress
        self._current: int | None = None  # the trial that is out
        self._ran = 0
        self._failures = 0
        self._users = 0.0  # seconds in the user's code
        self._proven = False  # whether a trial of this study ever had a valid value

    def __call__(self) -> None:
        """Run trials until something ends it."""
        began = time.perf_counter()
        study = self._study
        valid, failed = study._ranking.counts()
        self._proven = valid > 0
        if self._total is not None:
            progress = Progress(self._show, min(valid + failed, self._total), self._total, self._best)
        else:
            progress = Progress(self._show, 0, self._n_trials, self._best)
        lines: list[str] = []
        with CtrlC() as ctrl_c:
            try:
                self._loop(began, ctrl_c, progress)
            except KeyboardInterrupt:
                ctrl_c.asked = True
            finally:
                self._give_back()
                wall = time.perf_counter() - began
                if progress.shown or ctrl_c.asked or _log.isEnabledFor(logging.INFO):
                    lines.append(
                        f"{self._best()}, {self._ran} trial{'' if self._ran == 1 else 's'} in this run, "
                        f"optimizer {seconds(wall - self._users)} of {seconds(wall)}"
                    )
                if ctrl_c.asked:
                    lines.append(self._how_to_continue())
                progress.close(lines)
        for line in lines:
            _log.info(line)
        # The user who pressed Ctrl-C wants the answer, wherever standard error goes.
        if ctrl_c.asked and not progress.shown and self._show is None:
            print(*lines, sep="\n", file=sys.stderr)

    def _loop(self, began: float, ctrl_c: CtrlC, progress: Progress) -> None:
        study, n_trials = self._study, self._n_trials
        ask, finish, clock = study._asker.ask, study._journal.finish, time.perf_counter
        owner = None if study._journal.path is None else current_owner()
        stops, end = study._stops, began + self._timeout
        while (n_trials is None or self._ran < n_trials) and study._stops == stops and not ctrl_c.asked:
            if clock() >= end:
                return
            try:
                trials = ask(1, owner, self._total, self._max_attempts)
            except StudyFinished:
                return
            except NothingToAsk:
                if study._asker.alone:
                    raise  # nobody was at work, so waiting would not help
                time.sleep(_WAIT_SECONDS)
                continue
            if not trials:
                return  # total_trials are given out
            trial = trials[0]
            number = self._current = trial.number
            assert number is not None
            self._ran += 1
            result, error = self._run(trial, ctrl_c)
            try:
                finish(number, result)
            except StudyError as gone:  # it was released and told elsewhere while we were at it
                _log.warning("trial %d: the result of this process is dropped: %s", number, gone)
            self._current = None
            if error is not None and not isinstance(error, self._catch):
                raise error
            if self._callbacks:
                self._call_back(number)
            if progress.shown:
                progress.advance()
            if result.state is not TrialState.FAILED:
                self._proven = True
            elif not self._proven:
                self._give_up(result, error)

    def _run(self, trial: Trial, ctrl_c: CtrlC) -> tuple[Result, BaseException | None]:
        """Run the objective; give what to tell, and what it raised."""
        started = time.perf_counter()
        try:
            ctrl_c.inside = True
            told = self._objective(trial)
            ctrl_c.inside = False
        except KeyboardInterrupt:
            raise
        except self._failing as error:
            ctrl_c.inside = False
            return Result(TrialState.FAILED, reason=_describe(error)), error
        finally:
            ctrl_c.inside = False
            self._users += time.perf_counter() - started
        try:
            return self._study._read(told), None
        except HpoFastError as error:  # what the objective returned is no value; kept as failed, like an exception
            return Result(TrialState.FAILED, reason=str(error)), None

    def _call_back(self, number: int) -> None:
        started = time.perf_counter()
        record = self._study._record(number)
        try:
            for callback in self._callbacks:
                callback(self._study, record)
        finally:
            self._users += time.perf_counter() - started

    def _give_up(self, result: Result, error: BaseException | None) -> None:
        self._failures += 1
        if self._failures >= _HOPELESS:
            first = (result.reason or "").partition("\n")[0]
            raise StudyError(
                f"an objective must succeed at least once in the first {_HOPELESS} trials, but all failed, "
                f"the last one with: {first}; correct the objective, or the space, and run it again."
            ) from error

    def _give_back(self) -> None:
        """Let the trial that is out wait for the next worker, after Ctrl-C, sys.exit() or a failure of ours."""
        if self._current is not None:
            with suppress(HpoFastError):  # told already, or the file is out of reach: then our death frees it
                self._study._journal.release(self._current)
            self._current = None

    def _best(self) -> str:
        try:
            numbers, _ = self._study._ranking.front()
        except StorageError:  # this is said while another error is on its way, and must not hide it
            return "the study file is out of reach"
        if not len(numbers):
            return "no valid trial yet"
        if self._study._objectives.n > 1:
            return f"{len(numbers)} trials on the Pareto front"
        best = self._study.best_trial
        return f"best {best.value:.6g} (trial {best.number})"

    def _how_to_continue(self) -> str:
        path = self._study.storage
        if path is None:
            return "Stopped. Every told trial is kept in this process: study.optimize(...) continues."
        return (
            f"Stopped. Every told trial is kept in {path}: the same command continues, "
            f"and so does Study.load({path!r}).optimize(...)."
        )


def _describe(error: BaseException) -> str:
    """Give what was raised, then where, beginning with the objective's own lines."""
    head = "".join(traceback.format_exception_only(error)).strip()
    frames = error.__traceback__.tb_next if error.__traceback__ is not None else None
    return head + "\n" + "".join(traceback.format_exception(type(error), error, frames)).strip()
