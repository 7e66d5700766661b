"""A study that was interrupted goes on as if it had not been: the same trials, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo_fast.backends import gaussian_process
from hpo_fast.strategies import bayesian
from hpo_fast.study import Study

POINTS = ("reserved", "written", "objective", "run", "told")
TRIALS = 60
SEED = 11


# "chain" is a strategy of these tests, every point of which hangs on all that was told and pending before it.
NAMES = ["chain", "random", "quasi_random", "grid", "bayesian_optimization", "tpe"]


def content(study: Study) -> list[str]:
    """Every row in the order of telling, but for its times. JSON writes a float so that it can be read back exactly."""
    trials = study.trials
    rows = [trials[number] for number in study._journal.results(-1).numbers.tolist()]
    return [
        json.dumps(
            [t.number, t.state, t.params, t.u.tobytes().hex(), t.values, t.note, (t.reason or "").split("\n")[0]]
        )
        for t in rows
    ]


def uninterrupted(worker: Any, name: str) -> list[str]:
    study = Study(worker.SPACE, worker.strategy_of(name), seed=SEED)
    study.optimize(worker.objective, total_trials=TRIALS)
    return content(study)


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_20_points(name: str, tmp_path: Path, workers: Any, worker: Any) -> None:
    dice = random.Random(name)
    path = tmp_path / "study.db"
    job = {"storage": str(path), "strategy": name, "seed": SEED, "total": TRIALS}
    for victim in sorted(dice.sample(range(TRIALS), 20)):
        assert workers.wait(workers.start(**job, at=dice.choice(POINTS), victim=victim)) == -signal.SIGKILL
    assert workers.wait(workers.start(**job)) == 0, workers.errors()
    assert content(Study.load(path)) == uninterrupted(worker, name)


def test_killed_at_20_points_of_spread_refits(
    tmp_path: Path, workers: Any, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the exact model, with the local one, and where a refit begins in the one and ends in the other."""
    dice = random.Random(7)
    path = tmp_path / "study.db"
    job = {"storage": str(path), "strategy": "bayesian_optimization", "seed": SEED, "total": TRIALS, "early": True}
    for victim in sorted(dice.sample(range(24, TRIALS), 20)):
        assert workers.wait(workers.start(**job, at=dice.choice(POINTS), victim=victim)) == -signal.SIGKILL
    assert workers.wait(workers.start(**job)) == 0, workers.errors()
    worker.spread_early(monkeypatch.setattr)
    study = Study.load(path)
    assert content(study) == uninterrupted(worker, "bayesian_optimization")
    notes = [trial.note for trial in study.trials]
    assert sum("refit" in note for note in notes) >= 15
    under_way = [i for i in range(1, TRIALS) if "number" in notes[i].get("refit", {})]
    answered = {(notes[i - 1]["surrogate"], notes[i]["surrogate"]) for i in under_way}
    assert answered == {("exact", "exact"), ("exact", "vecchia"), ("vecchia", "vecchia")}


class Interrupting:
    """What it wraps, but now and then Ctrl-C comes when a call has begun or has done its work."""

    def __init__(self, wrapped: Any, dice: random.Random, calls: set[str]) -> None:
        self._wrapped, self._dice, self._calls = wrapped, dice, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        return self._call(found) if name in self._calls else found

    def _call(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def interrupted(*arguments: Any, **options: Any) -> Any:
            when = self._dice.random()
            if when < 0.1:
                raise KeyboardInterrupt
            result = call(*arguments, **options)
            if when < 0.2:
                raise KeyboardInterrupt
            return result

        return interrupted


def content_after_interrupts(study: Study, objective: Callable[..., Any], least: int) -> list[str]:
    """What a study comes to that goes on after every Ctrl-C."""
    runs = 0
    while len(content(study)) < TRIALS:
        study.optimize(objective, total_trials=TRIALS)
        runs += 1
    assert runs > least
    return content(study)


@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_inside_the_strategy(name: str, worker: Any) -> None:
    study = Study(worker.SPACE, worker.strategy_of(name), seed=SEED)
    asker = study._asker
    asker.strategy = Interrupting(asker.strategy, random.Random(5), {"start", "tell", "ask"})
    assert content_after_interrupts(study, worker.objective, 5) == uninterrupted(worker, name)


def test_ctrl_c_inside_the_model(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of spread refits too."""
    worker.spread_early(monkeypatch.setattr)
    plain = uninterrupted(worker, "bayesian_optimization")
    dice = random.Random(6)
    calls = {"append", "set_theta", "refit", "begin_refit", "advance_refit", "finish_refit", "maximise"}
    monkeypatch.setattr(
        bayesian, "gaussian_process", lambda *a, **o: Interrupting(gaussian_process(*a, **o), dice, calls)
    )
    study = Study(worker.SPACE, worker.strategy_of("bayesian_optimization"), seed=SEED)
    assert content_after_interrupts(study, worker.objective, 20) == plain


@pytest.mark.parametrize("name", ["chain"])
def test_ctrl_c_ends_cleanly(name: str, tmp_path: Path, workers: Any, worker: Any) -> None:
    dice = random.Random(1)
    path, started = tmp_path / "study.db", tmp_path / "started"
    job = {"storage": str(path), "strategy": name, "seed": SEED, "started": str(started)}
    runs = 0
    for _ in range(8):
        started.unlink(missing_ok=True)
        pid = workers.start(**job, total=TRIALS, sleep=0.002)
        while not started.exists():  # from the first trial on Ctrl-C is ours
            time.sleep(0.002)
        time.sleep(dice.uniform(0.0, 0.03))
        os.kill(pid, signal.SIGINT)
        assert workers.wait(pid) == 0, workers.errors()
        left = Study.load(path)
        assert not [t for t in left.trials if t.state.name == "RUNNING"], "the trial that was out waits"
        runs += len(left.trials) < TRIALS
    assert runs >= 3
    assert "the same command continues" in workers.errors() and str(path) in workers.errors()
    assert workers.wait(workers.start(**job, total=TRIALS)) == 0, workers.errors()
    assert content(Study.load(path)) == uninterrupted(worker, name)


@pytest.mark.parametrize("name", NAMES)
def test_in_parts_without_a_crash(name: str, tmp_path: Path, worker: Any) -> None:
    path = tmp_path / "study.db"
    Study(worker.SPACE, worker.strategy_of(name), seed=SEED, storage=path)
    for total in (1, 17, 18, 40, TRIALS):
        Study(worker.SPACE, worker.strategy_of(name), storage=path).optimize(worker.objective, total_trials=total)
    assert content(Study.load(path)) == uninterrupted(worker, name)
