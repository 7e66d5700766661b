from __future__ import annotations

import gc
import logging
import math
import os
import re
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from hpo_fast.errors import NothingToAsk, StorageError, StudyError
from hpo_fast.space import Float, Space
from hpo_fast.storage.owner import current_owner
from hpo_fast.strategies.base import Pending, Proposal
from hpo_fast.strategies.random import RandomSearch
from hpo_fast.study import Study, minimize
from hpo_fast.trial import Outcome, Trial, TrialRecord, TrialState

SPACE = Space(x=Float(0.0, 1.0), y=Float(-1.0, 1.0))

Make = Callable[..., Study]


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def build(strategy: Any = "random", **arguments: Any) -> Study:
        storage = None if request.param == "memory" else tmp_path / "study.db"
        return Study(SPACE, strategy, storage=storage, **{"seed": 1, "durability": "process"} | arguments)

    return build


def x(trial: Trial) -> float:
    return float(trial["x"])


def test_optimize_is_ask_and_tell(make: Make) -> None:
    study = make()
    study.optimize(x, 20)
    by_hand = Study(SPACE, "random", seed=1)
    for trial in by_hand.ask(20):
        by_hand.tell(trial, trial["x"])
    assert list(study.trials) and [(t.number, t.params, t.values, t.state) for t in study.trials] == [
        (t.number, t.params, t.values, t.state) for t in by_hand.trials
    ]
    assert study.best_trial.value == min(t.params["x"] for t in study.trials)


def test_counts(make: Make) -> None:
    study = make()
    study.add_trial({"x": 0.5, "y": 0.0}, 1.0)
    study.optimize(x, 3)
    study.optimize(x, 2)
    assert len(study.trials) == 6, "n_trials are further ones"
    study.optimize(x, total_trials=8)
    assert len(study.trials) == 9, "what was added does not count"
    study.optimize(x, total_trials=8)
    study.optimize(x, total_trials=3)
    study.optimize(x, 0)
    assert len(study.trials) == 9
    study.enqueue({"x": 0.25, "y": 0.0})
    mine = study.ask()
    assert mine["x"] == 0.25
    study.optimize(x, total_trials=10)
    assert len(study.trials) == 11, "what was enqueued or asked counts, told or not"
    study.release(mine)
    study.optimize(x, total_trials=10)
    assert study.trials[9].state is TrialState.DONE, "and it is run, though all numbers are given out"


def test_wrong_arguments(make: Make) -> None:
    study = make()
    for arguments, match in (
        ({"n_trials": 1, "total_trials": 2}, "one of them"),
        ({"n_trials": -1}, "n_trials must"),
        ({"n_trials": 1.0}, "n_trials must"),
        ({"n_trials": True}, "n_trials must"),
        ({"total_trials": "3"}, "total_trials must"),
        ({"max_attempts": 0}, "max_attempts must"),
        ({"timeout": -1.0}, "timeout must"),
        ({"timeout": "1"}, "timeout must"),
        ({"catch": ("ValueError",)}, "catch must"),
    ):
        with pytest.raises(StudyError, match=match):
            study.optimize(x, **arguments)  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="objective must be a function"):
        study.optimize(0.5, 1)  # type: ignore[arg-type]
    assert len(study.trials) == 0


def test_timeout_stops_between_trials(make: Make) -> None:
    study = make()
    study.optimize(lambda t: time.sleep(0.02) or 1.0, timeout=0.1)
    assert 1 <= len(study.trials) <= 6 and all(t.state is TrialState.DONE for t in study.trials)
    study.optimize(x, 5, timeout=0)
    assert len(study.trials) <= 6


def test_stop_from_a_callback_and_a_thread(make: Make) -> None:
    study = make()

    def enough(study: Study, record: TrialRecord) -> None:
        if record.number == 4:
            study.stop()

    study.optimize(x, callbacks=[enough])
    assert len(study.trials) == 5
    study.stop()  # nothing runs, so nothing happens
    study.optimize(x, 2)
    assert len(study.trials) == 7
    timer = threading.Timer(0.1, study.stop)
    timer.start()
    study.optimize(lambda t: time.sleep(0.01) or 1.0)
    timer.join()
    assert len(study.trials) > 7


def test_a_failed_trial_lets_go_of_what_it_held(make: Make) -> None:
    class Large:
        pass

    held: list[weakref.ref[Large]] = []
    alive: list[bool] = []

    def failing(trial: Trial) -> float:
        alive.extend(one() is not None for one in held)
        large = Large()
        held.append(weakref.ref(large))
        if trial.number:
            raise RuntimeError("out of memory")
        return 1.0

    gc.disable()  # it would find them sooner or later
    try:
        make().optimize(failing, 4)
    finally:
        gc.enable()
    assert alive == [False] * 6


def test_what_cannot_be_read_fails_the_trial(make: Make) -> None:
    class Odd:
        def __float__(self) -> float:
            raise RuntimeError("the device is gone")

    study = make()
    study.optimize(lambda t: Odd() if t.number else 1.0, 2)  # type: ignore[arg-type, return-value]
    assert [t.state.name for t in study.trials] == ["DONE", "FAILED"]
    assert (study.trials[1].reason or "").startswith("RuntimeError: the device is gone\n")


@pytest.mark.parametrize("value", [0.25, math.nan])
def test_a_result_that_cannot_be_kept_is_named_and_its_trial_comes_back(value: float, make: Make) -> None:
    study = make()
    journal = study._journal
    broken = False

    def breaking(verb: Callable[..., None]) -> Callable[..., None]:
        def broken_verb(*arguments: Any) -> None:
            if broken:
                raise StorageError("the disk is full.")
            verb(*arguments)

        return broken_verb

    journal.finish, journal.give_back = breaking(journal.finish), breaking(journal.give_back)  # type: ignore[method-assign]

    def out_of_reach(trial: Trial) -> float:
        nonlocal broken
        broken = True
        return value

    what = r"gave 0\.25.*study\.tell\(0, 0\.25\)" if value == 0.25 else r"failed \(the value is nan\).*study\.fail\(0"
    with pytest.raises(StorageError, match=rf"trial 0 {what}") as caught:
        study.optimize(out_of_reach, 3)
    assert "the disk is full" in str(caught.value)
    assert study.trials[0].state is TrialState.RUNNING
    with pytest.raises(StorageError, match="disk is full"):
        study.optimize(x, 1)
    broken = False
    study.optimize(x, total_trials=3)
    assert [(t.number, t.value) for t in study.trials] == [(i, t.params["x"]) for i, t in enumerate(study.trials)]
    assert len(study.trials) == 3


def test_two_trials_that_cannot_be_given_back_both_come_back(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make()
    asker, give_back, owner = study._asker, study._journal.give_back, current_owner()
    first, _, third = (trial.number for trial in asker.ask(3, owner))
    asked: list[list[int]] = []

    def unsteady(numbers: list[int], whose: str | None) -> None:
        asked.append(numbers)
        if len(asked) == 2:  # while one is given back at last, another thread has one that cannot be
            other = threading.Thread(target=asker.give_back, args=([third], owner))
            other.start()
            other.join(60)
        elif len(asked) < 5:
            raise StorageError("the disk is full.")
        give_back(numbers, whose)

    monkeypatch.setattr(study._journal, "give_back", unsteady)
    asker.give_back([first], owner)
    with pytest.raises(StorageError, match="disk is full"):
        study.ask()
    assert [trial.number for trial in study.ask(2)] == [first, third]
    assert asked == [[first], [first], [third], [third], [third]]


def test_what_is_somebody_elses_by_now_is_not_given_back(make: Make) -> None:
    study = make()

    def leaving(trial: Trial) -> float:
        study.release(trial)
        assert study.ask() == trial
        raise SystemExit

    with pytest.raises(SystemExit):
        study.optimize(leaving, 1)
    assert [t.state for t in study.trials] == [TrialState.RUNNING]
    study.tell(0, 1.0)


def test_callbacks_see_the_told_trial(make: Make) -> None:
    study = make()
    seen: list[TrialRecord] = []
    study.optimize(x, 3, callbacks=lambda study, record: seen.append(record))
    assert [t.number for t in seen] == [0, 1, 2] and all(t.value == t.params["x"] for t in seen)

    def broken(study: Study, record: TrialRecord) -> None:
        raise KeyError("callback")

    with pytest.raises(KeyError, match="callback"):
        study.optimize(x, 3, callbacks=[broken])
    assert [t.state for t in study.trials] == [TrialState.DONE] * 4, "the trial was told before"


def test_what_objectives_return(make: Make) -> None:
    study = make(directions=["minimize", "maximize"], constraints=1)
    answers = iter(
        [
            Outcome([1, 2.0], [0.5], attrs={"note": "a"}),
            Outcome(np.array([1.0, 2.0]), np.array([-0.5])),
            [1.0, 2.0],
            Outcome([1.0, math.nan], [0.0]),
            Outcome([1.0, 2.0, 3.0], [0.0]),
            None,
            "0.5",
            Outcome([1.0, 2.0], [0.0], attrs={"model": object()}),
        ]
    )
    study.optimize(lambda t: next(answers), 8)
    trials = list(study.trials)
    assert [t.state.name for t in trials] == ["DONE", "DONE"] + ["FAILED"] * 6
    assert trials[0].attrs == {"note": "a"} and trials[1].constraints == (-0.5,)
    for trial, words in zip(
        trials[2:],
        ["constraints must be", "value 1 is nan", "values must be", "value is None", "values must be", "JSON-able"],
        strict=True,
    ):
        assert words in (trial.reason or "") and trial.values is None


def test_a_raising_objective_fails_its_trial(make: Make) -> None:
    study = make()

    def sometimes(trial: Trial) -> float:
        if trial.number == 1:
            raise ValueError("matrix is singular")
        return 1.0

    study.optimize(sometimes, 3)
    assert [t.state.name for t in study.trials] == ["DONE", "FAILED", "DONE"]
    reason = study.trials[1].reason or ""
    assert reason.startswith("ValueError: matrix is singular\n")
    assert "in sometimes" in reason and "optimize.py" not in reason.replace("test_optimize.py", "")


def test_catch(make: Make) -> None:
    def failing(trial: Trial) -> float:
        raise OSError("disk")

    study = make()
    for catch in ((), (ValueError, KeyError)):
        with pytest.raises(OSError, match="disk"):
            study.optimize(failing, 3, catch=catch)
    study.optimize(failing, 1, catch=(OSError,))
    assert [t.state.name for t in study.trials] == ["FAILED"] * 3
    assert all("OSError: disk" in (t.reason or "") for t in study.trials)


def test_five_failures_from_the_start_raise(make: Make) -> None:
    def failing(trial: Trial) -> float:
        raise ValueError(f"number {trial.number}")

    study = make()
    with pytest.raises(StudyError, match=r"first 5 trials.*ValueError: number 4") as caught:
        study.optimize(failing, 50)
    assert isinstance(caught.value.__cause__, ValueError)
    assert len(study.trials) == 5 and all(t.state is TrialState.FAILED for t in study.trials)
    with pytest.raises(StudyError, match="the value is nan"):
        study.optimize(lambda t: math.nan, 50)
    assert len(study.trials) == 10


def test_failures_count_over_calls_and_workers(make: Make) -> None:
    study = make()
    for _ in range(2):
        study.optimize(lambda t: math.nan, 2)
    with pytest.raises(StudyError, match="all 5 failed"):
        study.optimize(lambda t: math.nan, 4)
    assert len(study.trials) == 5


def test_others_prove_an_objective(make: Make) -> None:
    study = make()

    def unlucky(trial: Trial) -> float:
        if trial.number == 3:
            study.optimize(lambda t: 1.0, 1)
        return math.nan

    study.optimize(unlucky, 9)
    assert len(study.trials) == 10


def test_added_trials_prove_nothing(make: Make) -> None:
    study = make()
    study.add_trials({"x": [0.5] * 20, "y": [0.5] * 20}, [1.0] * 10 + [math.nan] * 10)
    with pytest.raises(StudyError, match="all 5 failed"):
        study.optimize(lambda t: math.nan, 30)
    assert len(study.trials) == 25


def test_later_failures_do_not_raise(make: Make) -> None:
    study = make()
    study.optimize(lambda t: 1.0 if t.number == 4 else math.nan, 20)
    study.optimize(lambda t: math.nan, 20)
    assert len(study.trials) == 40 and study.best_trial.number == 4


def test_exits_give_the_trial_back(make: Make) -> None:
    study = make()

    def leaving(trial: Trial) -> float:
        if trial.number == 2:
            sys.exit(3)
        return 1.0

    for _ in range(4):  # leaving is not dying: it does not count as an attempt
        with pytest.raises(SystemExit):
            study.optimize(leaving, 5)
        assert [t.state.name for t in study.trials] == ["DONE", "DONE", "WAITING"]
        assert study._journal.rows(2, 3)[0].attempts == 0
    given = study.trials[2].params
    study.optimize(lambda t: 2.0, 1)
    assert study.trials[2].value == 2.0 and study.trials[2].params == given


@pytest.fixture
def own_ctrl_c() -> Iterator[None]:
    """Python's handler, which a process that was started in the background may lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("own_ctrl_c")
@pytest.mark.skipif(os.name != "posix", reason="signals to oneself")
def test_ctrl_c(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    study = make()
    handler = signal.getsignal(signal.SIGINT)

    def interrupted(trial: Trial) -> float:
        if trial.number == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        return 1.0

    began = time.monotonic()
    study.optimize(interrupted, 10)
    assert time.monotonic() - began < 4, "the objective is left at once"
    assert [t.state.name for t in study.trials] == ["DONE"] * 3 + ["WAITING"]
    text = capsys.readouterr().err
    assert "Every told trial is kept" in text and "optimizer" in text
    assert ("the same command continues" in text) == (study.storage is not None)
    assert signal.getsignal(signal.SIGINT) is handler
    study.optimize(x, 1, progress=False)
    assert study.trials[3].state is TrialState.DONE
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("own_ctrl_c")
@pytest.mark.skipif(os.name != "posix", reason="signals to oneself")
def test_ctrl_c_while_a_point_is_chosen_runs_no_objective(make: Make) -> None:
    """Nothing is torn apart, and the trial waits."""

    class Interrupted(RandomSearch):
        name: ClassVar[str] = "interrupted"

        def ask(self, numbers: Any, pending: Pending) -> list[Proposal]:
            if 2 in list(numbers):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)
            return super().ask(numbers, pending)

    study = make(Interrupted())
    ran: list[int | None] = []
    study.optimize(lambda t: ran.append(t.number) or 1.0, 10)
    assert ran == [0, 1]
    assert [t.state.name for t in study.trials] == ["DONE", "DONE", "WAITING"]
    assert study._journal.rows(2, 3)[0].attempts == 0
    study.optimize(x, 1)
    assert [t.state.name for t in study.trials] == ["DONE"] * 3


def test_optimize_in_threads(make: Make) -> None:
    study = make()
    threads = [threading.Thread(target=lambda: study.optimize(x, total_trials=60)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [t.number for t in study.trials] == list(range(60))
    assert all(t.value == t.params["x"] for t in study.trials)


class Holding(RandomSearch):
    """Gives nothing while a trial is pending."""

    name: ClassVar[str] = "holding"
    reads_history: ClassVar[bool] = True
    stubborn = False

    def ask(self, numbers: Any, pending: Pending) -> list[Proposal]:
        return [] if self.stubborn or len(pending.numbers) else super().ask(numbers, pending)


def test_optimize_waits_for_others(make: Make) -> None:
    study = make(Holding())
    other = study.ask()
    threading.Timer(0.15, lambda: study.tell(other, 5.0)).start()
    study.optimize(x, 2)
    assert [t.number for t in study.trials] == [0, 1, 2]
    assert study.trials[1].started >= study.trials[0].ended  # type: ignore[operator]


def test_waiting_is_said_once_and_costs_no_writing(
    make: Make, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_fast.study.optimize._PATIENCE_SECONDS", 0.1)
    study = make(Holding())
    other = study.ask()
    reserve, asks = study._journal.reserve, 0

    def counting(*arguments: Any) -> Any:
        nonlocal asks
        asks += 1
        return reserve(*arguments)

    study._journal.reserve = counting  # type: ignore[method-assign]
    timer = threading.Timer(0.7, lambda: study.tell(other, 5.0))
    timer.start()
    with caplog.at_level(logging.INFO, "hpo_fast"):
        study.optimize(x, 2)
    timer.join()
    assert asks == 4, "two that gave nothing, two that gave a trial"
    assert capsys.readouterr().err.count("optimize waits for: 0.") == 1
    found = re.search(r"optimizer (\S+) s of (\S+) s", caplog.text)
    assert found is not None and float(found[1]) + 0.5 < float(found[2]), "waiting is not the optimizer's time"
    study.ask()
    began = time.monotonic()
    study.optimize(x, 1, timeout=0.3, progress=True)
    assert time.monotonic() - began < 0.6
    assert "optimize waits for: 3." in capsys.readouterr().err
    study.optimize(x, 1, timeout=0.3, progress=False)
    assert capsys.readouterr().err == ""


def test_optimize_does_not_wait_for_nobody(make: Make) -> None:
    class Never(Holding):
        stubborn = True

    with pytest.raises(NothingToAsk):
        make(Never()).optimize(x, 2)


def test_a_result_that_came_too_late(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    study = make()

    def released(trial: Trial) -> float:
        if trial.number == 1:
            study.release(trial)
            study.tell(study.ask(), 7.0)  # another worker was faster
        return 1.0

    with caplog.at_level(logging.WARNING, "hpo_fast"):
        study.optimize(released, 3)
    assert [t.value for t in study.trials] == [1.0, 7.0, 1.0]
    assert "trial 1: the result of this process is dropped" in caplog.text


def test_a_file_out_of_reach_ends_the_run(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    study = Study(SPACE, "random", storage=path, seed=1)

    def cut(trial: Trial) -> float:
        if trial.number == 2:
            study._opened.file._disconnect()
            path.rename(tmp_path / "elsewhere.db")
        return 1.0

    with pytest.raises(StorageError, match="there is no"):
        study.optimize(cut, 5, progress=True)
    assert [p.name for p in tmp_path.iterdir()] == ["elsewhere.db"], "no empty file was put in its place"
    path.with_name("elsewhere.db").rename(path)
    assert [t.state.name for t in Study.load(tmp_path / "s.db").trials] == ["DONE", "DONE", "RUNNING"]


def test_silent_unless_asked(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    study = make()
    study.optimize(x, 3)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_progress_in_a_pipe(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    study = make()
    study.optimize(lambda t: time.sleep(0.02) or x(t), 10, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    first, last = captured.err.splitlines()
    assert re.fullmatch(r"1/10 trials, best \S+ \(trial 0\)", first)
    found = re.fullmatch(r"best \S+ \(trial \d+\), 10 trials in this run, optimizer (\S+) s of (\S+) s", last)
    assert found is not None
    assert float(found[1]) < float(found[2]), "the objective's time is not the optimizer's"


def test_progress_counts_what_the_total_counts(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    study = make()
    study.add_trials({"x": [0.5] * 20, "y": [0.5] * 20}, [1.0] * 20)
    study.optimize(x, 2)
    study.optimize(x, total_trials=12, progress=True)
    assert capsys.readouterr().err.startswith("3/12 trials")


class Terminal:
    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("tqdm", [True, False])
def test_progress_on_a_terminal(tqdm: bool, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    if tqdm:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    study = make()
    study.optimize(lambda t: time.sleep(0.02) or x(t), 10)
    assert "10/10" in terminal.text if tqdm else "1/10 trials" in terminal.text
    assert "\r" in terminal.text and "best" in terminal.text
    assert terminal.text.endswith(" s\n") and "10 trials in this run, optimizer" in terminal.text
    before = terminal.text
    study.optimize(x, 2, progress=False)
    assert terminal.text == before


@pytest.mark.parametrize("tqdm", [True, False])
def test_waiting_is_said_on_a_line_of_its_own(tqdm: bool, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    if tqdm:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("hpo_fast.study.optimize._PATIENCE_SECONDS", 0.0)

    def leaving_one(study: Study, record: TrialRecord) -> None:
        if record.number == 1:
            study.ask()

    study = make(Holding())
    study.optimize(x, timeout=0.4, callbacks=leaving_one)
    before, line, after = terminal.text.partition("The strategy has no point")
    assert line and before.endswith(("\r", "\n")) and "optimize waits for: 2." in after.splitlines()[0]


def test_the_closing_line_is_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hpo_fast"):
        make().optimize(x, 1)
    assert "1 trial in this run, optimizer" in caplog.text


def test_minimize(tmp_path: Path) -> None:
    study = minimize(x, SPACE, 20, strategy="random", seed=0)
    assert len(study.trials) == 20 and study.seed == 0
    stored = minimize(x, SPACE, 5, strategy="random", seed=0, storage=tmp_path / "s.db")
    assert [t.params for t in stored.trials] == [t.params for t in study.trials][:5]
