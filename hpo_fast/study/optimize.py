"""The loop that runs an objective: ask, run, tell, until a count, a time, the strategy or the user ends it."""

from __future__ import annotations

import logging
import math
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from types import FrameType
from typing import TYPE_CHECKING, Any

from hpo_fast.errors import HpoFastError, NothingToAsk, StorageError, StudyError, StudyFinished
from hpo_fast.storage.journal import Look, Result
from hpo_fast.storage.owner import current_owner
from hpo_fast.study.objectives import read_count
from hpo_fast.study.progress import Progress, seconds
from hpo_fast.study.told import read_one, readable
from hpo_fast.trial import Trial, TrialRecord, TrialState

if TYPE_CHECKING:
    from hpo_fast.study.study import Study

_log = logging.getLogger("hpo_fast")

_HOPELESS = 5  # first trials that all fail: by then it is the objective that is broken
_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.05, 1.0  # between two looks for a point that others' trials hold up
_PATIENCE_SECONDS = 2.0  # of silent waiting

DONE, FAILED = TrialState.DONE, TrialState.FAILED

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
        if timeout is not None and not (isinstance(timeout, Real) and timeout >= 0):
            raise StudyError(f"timeout must be a number of seconds >= 0, but got {timeout!r}.")
        caught = catch if isinstance(catch, tuple) else (catch,)
        if not all(isinstance(one, type) and issubclass(one, BaseException) for one in caught):
            raise StudyError(f"catch must be a tuple of exception classes, but got {catch!r}.")
        called = [callbacks] if callable(callbacks) or not isinstance(callbacks, Iterable) else list(callbacks)
        for one in called:
            if not callable(one):
                raise StudyError(f"callbacks must be functions of a study and a TrialRecord, but got {one!r}.")
        self._study = study
        self._objective = objective
        self._n_trials = None if n_trials is None else read_count("n_trials", n_trials, 0)
        self._total = None if total_trials is None else read_count("total_trials", total_trials, 0)
        self._timeout = math.inf if timeout is None else float(timeout)
        self._callbacks = called
        self._catch = caught
        self._failing: tuple[type[BaseException], ...] = (Exception, *caught)  # these make a failed trial
        self._max_attempts = read_count("max_attempts", max_attempts, 1)
        self._show = progress
        self._owner = current_owner()
        self._one = study._objectives.n == 1 and not study._objectives.constraints
        self._current: int | None = None  # the trial that is out
        self._ran = 0
        self._elsewhere = 0.0  # seconds in the user's code, and waiting for others
        self._proven = False  # whether a trial of this study ever had a valid value
        self._hopeless = _HOPELESS  # failed trials of the study at which to give up until then
        self._complained = False

    def __call__(self) -> None:
        """Run trials until something ends it."""
        began = time.perf_counter()
        study = self._study
        counts = study._ranking.counts()
        self._proven = counts.asked_valid > 0
        self._hopeless = (counts.asked_failed // _HOPELESS + 1) * _HOPELESS
        if self._total is not None:
            done = min(counts.asked_valid + counts.asked_failed, self._total)
            progress = Progress(self._show, done, self._total, self._best)
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
                        f"optimizer {seconds(max(wall - self._elsewhere, 0.0))} of {seconds(wall)}"
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
        owner, total, max_attempts = self._owner, self._total, self._max_attempts
        stops, end = study._stops, began + self._timeout
        seen: Look | None = None
        while (n_trials is None or self._ran < n_trials) and study._stops == stops and not ctrl_c.asked:
            if clock() >= end:
                return
            try:
                trials = ask(1, owner, total, max_attempts)
            except StudyFinished:
                return
            except NothingToAsk:
                look = study._journal.look()
                if look == seen:  # nothing happened since before the ask
                    if not (look.waiting or look.running):
                        raise  # nobody is at work, so waiting would not help
                    look = self._wait(look, stops, end, ctrl_c, progress)
                seen = look
                continue
            if not trials:
                return  # total_trials are given out
            trial = trials[0]
            number = self._current = trial.number
            assert number is not None
            if ctrl_c.asked:
                return
            self._ran += 1
            result, error = self._run(trial, ctrl_c)
            try:
                finish(number, result)
            except StudyError as gone:  # it was released and told elsewhere while we were at it
                _log.warning("trial %d: the result of this process is dropped: %s", number, gone)
            except StorageError as lost:
                raise _lost(number, result, lost) from lost
            self._current = None
            if error is not None and not isinstance(error, self._catch):
                raise error
            if self._callbacks:
                self._call_back(number)
            if progress.shown:
                progress.advance()
            if result.state is not FAILED:
                self._proven = True
            else:
                if not self._proven:
                    self._look_for_hope(result, error)
                error = None  # it holds the objective's frames, and with them all that they held

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
            return Result(FAILED, reason=_describe(error)), error
        finally:
            ctrl_c.inside = False
            self._elsewhere += time.perf_counter() - started
        # A finite number is what `judged` would give back; this usual case goes past it for speed, a tenth of what a
        # trial of random search costs.
        if told.__class__ is float and self._one and told - told == 0.0:
            return Result(DONE, (told,)), None
        try:
            return read_one(self._study._objectives, told), None
        # What the objective returned is no value; kept as failed, like an exception.
        except HpoFastError as wrong:
            reason = readable(str(wrong))
        except Exception as wrong:  # from its own __float__, __len__ or __repr__
            reason = _describe(wrong)
        return Result(FAILED, reason=reason), None

    def _wait(self, seen: Look, stops: int, end: float, ctrl_c: CtrlC, progress: Progress) -> Look:
        """Wait until something happens that an ask could notice; say once what for, if it takes long."""
        look, pause, clock = seen, _WAIT_SECONDS, time.perf_counter
        now = began = clock()
        try:
            ctrl_c.inside = True
            while look == seen and now < end and self._study._stops == stops and not ctrl_c.asked:
                if not self._complained and now - began >= _PATIENCE_SECONDS:
                    self._complained = True
                    self._say(_waiting_for(look.running), progress)
                time.sleep(min(pause, end - now))
                pause = min(1.5 * pause, _LONGEST_WAIT_SECONDS)
                look, now = self._study._journal.look(), clock()
        finally:
            ctrl_c.inside = False
            self._elsewhere += clock() - began
        return look

    def _say(self, line: str, progress: Progress) -> None:
        _log.warning(line)
        if progress.shown:
            progress.say(line)
        elif self._show is None:  # silence would look like a hang
            print(line, file=sys.stderr)

    def _call_back(self, number: int) -> None:
        started = time.perf_counter()
        record = self._study._record(number)
        try:
            for callback in self._callbacks:
                callback(self._study, record)
        finally:
            self._elsewhere += time.perf_counter() - started

    def _look_for_hope(self, result: Result, error: BaseException | None) -> None:
        """Raise when all trials of the study failed, as far as they were asked, by whichever worker and call."""
        counts = self._study._ranking.counts()
        self._proven = counts.asked_valid > 0
        if not self._proven and counts.asked_failed >= self._hopeless:
            first = (result.reason or "").partition("\n")[0].removesuffix(".")
            raise StudyError(
                f"an objective must succeed at least once in the first {_HOPELESS} trials, but all "
                f"{counts.asked_failed} failed, the last one with: {first}; correct the objective, or the space, and "
                "run it again."
            ) from error

    def _give_back(self) -> None:
        """Let the trial that is out wait for the next worker, after Ctrl-C, sys.exit() or a failure of ours."""
        if self._current is not None:
            self._study._asker.give_back([self._current], self._owner)
            self._current = None

    def _best(self) -> str:
        try:
            numbers, _ = self._study._ranking.front()
            if not len(numbers):
                return "no valid trial yet"
            if self._study._objectives.n > 1:
                return f"{len(numbers)} trials on the Pareto front"
            best = self._study.best_trial
            return f"best {best.value:.6g} (trial {best.number})"
        except StorageError:  # this is said while another error is on its way, and must not hide it
            return "the study file is out of reach"

    def _how_to_continue(self) -> str:
        path = self._study.storage
        if path is None:
            return "Stopped. Every told trial is kept in this process: study.optimize(...) continues."
        return (
            f"Stopped. Every told trial is kept in {path}: the same command continues, "
            f"and so does Study.load({path!r}, {self._study.name!r}).optimize(...)."
        )


def _lost(number: int, result: Result, error: StorageError) -> StorageError:
    """Say what could not be kept, so that the user may tell it by hand."""
    if result.values is None:
        first = (result.reason or "").partition("\n")[0]
        got, verb = f"failed ({first})", f"study.fail({number}, reason)"
    else:
        told = result.values[0] if len(result.values) == 1 else list(result.values)
        limits = f", constraints={list(result.constraints)}" if result.constraints else ""
        got, verb = f"gave {told!r}{limits}", f"study.tell({number}, {told!r}{limits})"
    return StorageError(
        f"a result is kept before the next trial begins, but trial {number} {got} and this could not be written: "
        f"{error} Then {verb} keeps it; otherwise the next run has trial {number} again."
    )


def _waiting_for(numbers: Sequence[int]) -> str:
    few = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
    return (
        f"The strategy has no point until pending trials are told, so optimize waits for: {few}. Their workers tell "
        "them; one that was asked by hand, or whose worker is gone, needs study.tell, study.fail or study.release."
    )


def _describe(error: BaseException) -> str:
    """Give what was raised, then where, beginning with the objective's own lines."""
    head = "".join(traceback.format_exception_only(error)).strip()
    frames = error.__traceback__.tb_next if error.__traceback__ is not None else None
    return readable(head + "\n" + "".join(traceback.format_exception(type(error), error, frames)).strip())
