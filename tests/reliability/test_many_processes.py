"""Several processes share one file."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hpo_fast.study import Study
from hpo_fast.trial import TrialState

WORKERS = 8


def run(workers: Any, tmp_path: Path, **job: Any) -> tuple[Study, Counter[int]]:
    path, log = tmp_path / "study.db", tmp_path / "log"
    pids = [workers.start(storage=str(path), log=str(log), **job) for _ in range(WORKERS)]
    assert [workers.wait(pid) for pid in pids] == [0] * WORKERS, workers.errors()
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert len({number for number, _, _ in told}) == len(told), "a trial was told twice"
    return Study.load(path), Counter(pid for _, _, pid in told)


@pytest.mark.parametrize("durability", ["power", "process"])
def test_total_trials_is_exact(durability: str, tmp_path: Path, workers: Any, worker: Any) -> None:
    """They also race to create the file; the seed is the one of whoever came first."""
    study, _ = run(workers, tmp_path, strategy="random", total=100, sleep=0.002, durability=durability)
    trials = list(study.trials)
    assert [t.number for t in trials] == list(range(100))
    assert all(t.state in (TrialState.DONE, TrialState.FAILED) for t in trials)
    reference = Study(worker.SPACE, "random", seed=study.seed)
    assert [t.params for t in trials] == [t.params for t in reference.ask(100)]


def test_each_sees_the_others(tmp_path: Path, workers: Any) -> None:
    study, shares = run(workers, tmp_path, strategy="chain", total=100, sleep=0.005)
    assert len(shares) >= 2
    seen = [t.note["told"] for t in study.trials]
    assert max(seen) >= 100 - WORKERS > max(shares.values())
    ends = sorted(t.ended for t in study.trials if t.ended is not None)
    for t in study.trials:  # nobody knows the future
        assert t.started is not None and t.note["told"] <= sum(end <= t.started for end in ends)


def test_distinct_points_stay_distinct(tmp_path: Path, workers: Any) -> None:
    """All workers want the same point all the time; the study asks again until it is nobody else's."""
    study, shares = run(workers, tmp_path, strategy="lowest_free", space="line", total=10**6)
    assert sorted(t.params["i"] for t in study.trials) == list(range(100))
    assert len(shares) >= 2


def test_opening_twice_keeps_the_locks(tmp_path: Path, workers: Any, worker: Any) -> None:
    """Who opens a file and closes it drops its process's locks on it; others then delete the log under its hands."""
    path = tmp_path / "study.db"
    first = Study(worker.SPACE, "random", seed=1, storage=path)
    first.optimize(worker.objective, 2)
    second = Study.load(path)
    assert len(second.trials) == 2
    job = {"storage": str(path), "strategy": "random"}
    assert workers.wait(workers.start(**job, total=4)) == 0, workers.errors()
    assert path.with_name("study.db-wal").exists(), "the log stays while somebody is connected"
    first.optimize(worker.objective, 2)
    del first, second
    assert [t.number for t in Study.load(path).trials] == list(range(6))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_parent_and_child_of_a_fork_are_two_processes(tmp_path: Path, worker: Any) -> None:
    """The parent leaves first. If the child believed that it has the parent's locks, its last trials would be lost."""
    path = tmp_path / "study.db"
    study = Study(worker.SPACE, "random", seed=1, storage=path)
    study.optimize(worker.objective, 2)
    context = multiprocessing.get_context("fork")
    told, left = context.Event(), context.Event()

    def child() -> None:
        mine = Study.load(path)
        mine.optimize(worker.objective, 2)
        told.set()
        assert left.wait(30)
        mine.optimize(worker.objective, 2)
        os.kill(os.getpid(), signal.SIGKILL)  # so that nothing is tidied up

    process = context.Process(target=child)
    process.start()
    assert told.wait(30)
    assert len(study.trials) == 4
    del study
    left.set()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [t.number for t in Study.load(path).trials] == list(range(6))
