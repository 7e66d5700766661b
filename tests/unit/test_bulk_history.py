"""What a strategy gets to see of trials added in bulk."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hpo_fast.space import Between, Categorical, Float, Int, Space
from hpo_fast.strategies.bayesian import BayesianOptimization
from hpo_fast.study import Study

Make = Callable[..., Study]


def rows_of(space: Space, m: int, seed: int = 0) -> list[dict[str, Any]]:
    return [space.decode(u) for u in space.from_uniform(np.random.default_rng(seed).random((m, space.d)))]


def test_snapshots_of_a_mixed_history(make: Make, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a strategy gets to see from any moment on is what the rows say, in order of telling."""
    from hpo_fast.strategies.random import RandomSearch

    class Noting(RandomSearch):
        def ask(self, numbers: Any, pending: Any) -> list[Any]:
            proposals = super().ask(numbers, pending)
            for number, proposal in zip(numbers, proposals, strict=True):
                proposal.note.update({"for": number} if number % 2 else {})
            return proposals

    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0).when(x=Between(0.0, 0.5)))
    study = make(space, Noting())
    open_trials = study.ask(7)
    moments = [-1]
    for size in (30, 1, 0, 17, 45):
        study.add_trials(
            rows_of(space, size, size),
            np.arange(size),
            states=["done", "failed", "pruned"] * (size // 3) + ["done"] * (size % 3),
        )
        moments.append(study._journal.look().last_seq)
        study.tell(open_trials.pop(), 0.5)
        study.tell(study.ask(), math.nan)
        moments += [moments[-1] + 1, study._journal.look().last_seq]
    journal = study._journal
    rows = sorted((row for row in journal.rows(0, 10**6) if row.seq is not None), key=lambda row: row.seq or 0)
    assert [row.seq for row in rows] == list(range(len(rows))) and len(rows) == 103
    for after in moments:  # all that anybody can have seen
        seen = journal.snapshot(after)
        expected = rows[after + 1 :]
        results = seen.results
        assert results.last_seq == len(rows) - 1
        assert results.numbers.tolist() == [row.number for row in expected] and results.numbers.dtype == np.int64
        assert results.states.tolist() == [row.state for row in expected] and results.states.dtype == np.uint8
        values = [row.values or (math.nan,) for row in expected]
        np.testing.assert_array_equal(results.values, np.array(values).reshape(-1, 1))
        assert results.constraints.shape == (len(expected), 0)
        assert results.asked.tolist() == [row.attempts > 0 for row in expected]
        U = np.array([journal.encoded(row) for row in expected]).reshape(-1, 2)
        np.testing.assert_array_equal(seen.U, U)
        assert list(seen.notes) == [row.note for row in expected]
        assert list(seen.notes.written()) == [(i, row.note) for i, row in enumerate(expected) if row.note]
        assert seen.open.numbers.tolist() == [t.number for t in open_trials]
        for one, other in zip(results, journal.results(after), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_history_in_bulk_is_a_history() -> None:
    space = Space(x=Float(0.0, 1.0), n=Int(1, 5), kind=Categorical(["a", "b"]))
    rows = [space.decode(u) for u in space.from_uniform(np.random.default_rng(0).random((40, 3)))]
    values = [math.nan if i % 7 == 0 else (row["x"] - 0.3) ** 2 for i, row in enumerate(rows)]
    one, many = (Study(space, BayesianOptimization(n_threads=1), seed=5) for _ in range(2))
    for row, value in zip(rows, values, strict=True):
        one.add_trial(row, value)
    many.add_trials(rows, values)
    for _ in range(3):
        a, b = one.ask(), many.ask()
        assert a == b and one.trials[-1].note == many.trials[-1].note
        one.tell(a, 0.5)
        many.tell(b, 0.5)


def test_arrays_of_one_bulk_are_seen_as_they_are_kept_and_cannot_be_changed(make: Make) -> None:
    study = make(Space(x=Float(0.0, 1.0)), constraints=1)
    values, limits = np.arange(40.0), np.arange(40.0) - 20.0
    study.add_trials({"x": np.linspace(0, 1, 40)}, values, limits)
    values[:] = limits[:] = -7.0  # the journal has its own
    seen = study._journal.snapshot(-1)
    assert seen.results.values[:, 0].tolist() == list(range(40))
    assert seen.results.constraints[:, 0].tolist() == list(range(-20, 20))
    assert [t.values for t in study.trials] == [(float(i),) for i in range(40)]
    assert study.trials[39].constraints == (19.0,) and study.best_trial.number == 0
    if study.storage is None:  # what is read from a file is nobody else's
        for array in (seen.U, seen.results.values, seen.results.constraints, seen.results.states):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
