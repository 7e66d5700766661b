"""A process killed at any instant loses no told trial, and none is run twice as another one."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from hpo_fast.study import Study
from hpo_fast.trial import TrialState

KILLS = 20
SEED = 5


def acknowledged(log: Path) -> list[tuple[int, Any]]:
    """What the workers knew to be told; the last line of a killed one may be cut."""
    lines = [line for line in log.read_text().split("\n") if line.endswith("]")] if log.exists() else []
    return [(number, values) for number, values, _ in map(json.loads, lines)]


def check(path: Path, log: Path, worker: Any, n: int) -> None:
    study = Study.load(path)
    trials = list(study.trials)
    known = acknowledged(log)
    assert len({number for number, _ in known}) == len(known), "a trial was told twice"
    for number, values in known:
        told = trials[number]
        assert told.state.told
        assert told.values == (None if values is None else tuple(values))
    # RandomSearch: seed and number alone decide, so each row is known in advance.
    reference = Study(worker.SPACE, "random", seed=SEED)
    expected = [reference.ask().params for _ in range(n)]
    assert [t.number for t in trials] == list(range(n))
    assert [t.params for t in trials] == expected
    assert all(t.state in (TrialState.DONE, TrialState.FAILED) for t in trials)
    assert not any("worker gone" in (t.reason or "") for t in trials)
    order = study._journal.results(-1).numbers.tolist()
    assert sorted(order) == list(range(n)), "the journal holds each trial once"


@pytest.mark.parametrize("at_once", [1, 4])
def test_random_kills(at_once: int, tmp_path: Path, workers: Any, worker: Any) -> None:
    clock = random.Random(at_once)
    path, log = tmp_path / "study.db", tmp_path / "log"
    job = {
        "storage": str(path),
        "log": str(log),
        "strategy": "random",
        "seed": SEED,
        "sleep": 0.002,
        "max_attempts": KILLS + 1,
    }
    alive = [workers.start(**job, total=10**6) for _ in range(at_once)]
    for kill in range(KILLS):
        if kill % 2:  # well under way, however slow the machine is; else often while the file is being opened
            size, deadline = log.stat().st_size if log.exists() else 0, time.monotonic() + 20
            while (not log.exists() or log.stat().st_size < size + 60) and time.monotonic() < deadline:
                time.sleep(0.001)
        time.sleep(clock.uniform(0.002, 0.06))
        victim = alive.pop(clock.randrange(len(alive)))
        assert workers.kill(victim) == -signal.SIGKILL
        alive.append(workers.start(**job, total=10**6))
    for pid in alive:
        workers.kill(pid)
    before = len(acknowledged(log))
    assert before >= KILLS
    n = Study.load(path)._journal.numbers()[0] + 3
    assert workers.wait(workers.start(**job, total=n)) == 0, workers.errors()
    check(path, log, worker, n)


@pytest.mark.parametrize("at", ["reserved", "written", "objective", "run", "told"])
def test_a_kill_at_each_point_of_a_trial(at: str, tmp_path: Path, workers: Any, worker: Any) -> None:
    path, log = tmp_path / "study.db", tmp_path / "log"
    job = {"storage": str(path), "log": str(log), "strategy": "random", "seed": SEED, "total": 12}
    assert workers.wait(workers.start(**job, at=at, victim=7)) == -signal.SIGKILL
    left = Study.load(path)
    assert len(left.trials) == (7 if at == "reserved" else 8)
    assert left.trials[-1].state is {"reserved": TrialState.DONE, "told": TrialState.DONE}.get(at, TrialState.RUNNING)
    started = tmp_path / "started"
    assert workers.wait(workers.start(**job, started=str(started))) == 0, workers.errors()
    first = 8 if at == "told" else 7
    assert started.read_text().split() == [str(number) for number in range(first, 12)]
    check(path, log, worker, 12)


def test_a_trial_that_kills_its_workers_fails(tmp_path: Path, workers: Any) -> None:
    path = tmp_path / "study.db"
    job = {"storage": str(path), "strategy": "random", "seed": SEED, "total": 9}
    for _ in range(2):
        assert workers.wait(workers.start(**job, at="objective", victim=4)) == -signal.SIGKILL
    assert workers.wait(workers.start(**job, at="objective", victim=4)) == 0, workers.errors()
    trials = Study.load(path).trials
    assert [t.number for t in trials if "worker gone" in (t.reason or "")] == [4]
    assert trials[4].state is TrialState.FAILED and trials[4].values is None
    assert len(trials) == 9


def test_a_worker_that_nobody_waited_for_is_gone(tmp_path: Path, workers: Any) -> None:
    """A zombie still has its pid and its start time."""
    path = tmp_path / "study.db"
    job = {"storage": str(path), "strategy": "random", "seed": SEED, "total": 5}
    zombie = workers.start(**job, at="objective", victim=2)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{zombie}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert workers.wait(workers.start(**job)) == 0, workers.errors()
    assert all(t.state.told for t in Study.load(path).trials)


def test_asked_by_hand_stays_asked(tmp_path: Path, workers: Any, worker: Any) -> None:
    """Such a trial has no owner: the death of the process that asked means nothing."""
    path = tmp_path / "study.db"
    study = Study(worker.SPACE, "random", seed=SEED, storage=path)
    mine = study.ask()
    assert workers.wait(workers.start(storage=str(path), strategy="random", total=4)) == 0, workers.errors()
    assert study.trials[0].state is TrialState.RUNNING
    study.tell(mine.number, 1.5)
    assert study.trials[0].value == 1.5 and len(study.trials) == 4
