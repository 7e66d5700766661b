from __future__ import annotations

import math

import numpy as np
import pytest

from hpo_fast.space import Between, Categorical, Float, Int, Space
from hpo_fast.strategies._seen import AnyOf, Seen
from hpo_fast.strategies.axes import grid_axis
from hpo_fast.strategies.bayesian import BayesianOptimization
from hpo_fast.strategies.enumeration import Enumeration
from hpo_fast.study import Study
from hpo_fast.study.ranking import non_dominated
from hpo_fast.testing import Driver
from hpo_fast.trial import TrialState


@pytest.mark.parametrize("size", [1, 7, 255, 256, 257, 10_000])
def test_it_knows_what_was_added_and_nothing_else(size: int) -> None:
    rng = np.random.default_rng(size)
    U = rng.random((2 * size, 3))
    U[::3, 1] = math.nan
    told, others = U[:size], U[size:]
    seen = Seen()
    for part in np.array_split(told, 5):
        seen.add(part)
    some = range(0, size, max(size // 50, 1))
    assert all(told[i].tobytes() in seen for i in some)
    assert not any(others[i].tobytes() in seen for i in some)
    assert not any(told[i][::-1].copy().tobytes() in seen for i in some), "the place of a column counts"
    assert told[0].tobytes() in AnyOf(set(), seen) and others[0].tobytes() in AnyOf({others[0].tobytes()}, seen)
    assert others[0].tobytes() not in AnyOf(set(), seen)


def test_hashes_are_the_same_everywhere() -> None:
    """A resumed study, on another machine too, has to avoid the same points."""
    from hpo_fast.strategies._seen import _hashed

    assert _hashed(np.array([[0.5, 0.25], [0.25, 0.5]])).tolist() == [5373863128929215909, 11986669160905643717]


def test_points_that_failed_are_avoided_when_there_are_many() -> None:
    """The first candidates of the filling design are told as failed before they are asked."""
    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))
    plain = Driver(BayesianOptimization(n_initial=8), space)
    plain.run(8)
    taken = np.array(plain.points())
    far = Driver(BayesianOptimization(n_initial=8), space)
    far.next_number = 3
    far.add(np.concatenate([taken, space.from_uniform(np.random.default_rng(0).random((400, 2)))]), TrialState.FAILED)
    far.next_number = 5
    far.ask(3)  # nothing is valid, so that the design is asked
    asked = {u.tobytes() for u, _ in far.waiting.values()}
    assert len(asked) == 3 and not asked & {u.tobytes() for u in taken}


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


def test_candidates_of_a_grid_hold_all_its_points() -> None:
    space = Space(
        x=Float(-1.0, 3.0),
        lr=Float(1e-4, 1.0, log=True),
        n=Int(1, 40),
        kind=Categorical(["a", "b"]),
        y=Float(0.0, 1.0).when(kind="a", n=Between(1, 20)),
    )
    axes = [grid_axis(space[name], 4, name) for name in space.names]
    points = Enumeration(space.layout, axes)
    U = np.array([points.point(i) for i in range(0, points.size, 3)])
    rng = np.random.default_rng(0)
    near = U + np.where(rng.random(U.shape) < 0.5, 1e-13, 0.0) * np.array([1, 1, 0, 0, 1])
    others = space.from_uniform(rng.random((300, space.d)))
    mixed = np.concatenate([U, near, others])
    found = set(points.candidates(mixed).tolist())
    on_grid = {i for i, u in enumerate(mixed) if points.index(u) is not None}
    assert on_grid <= found and len(on_grid) >= 2 * len(U) and len(found) < len(U) * 2 + 10
    assert points.candidates(mixed[:0]).tolist() == []


@pytest.mark.parametrize("pairs", [1, 7, 50, 2**18])
def test_the_front_does_not_depend_on_the_blocks(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_fast.study.ranking._BLOCK_PAIRS", pairs)
    rng = np.random.default_rng(0)
    for k in (2, 3):
        Y = rng.integers(0, 6, (120, k)).astype(float)
        keep, values = non_dominated(Y)
        beaten = [any((y <= z).all() and (y < z).any() for y in Y) for z in Y]
        assert sorted(keep.tolist()) == [i for i in range(120) if not beaten[i]]
        np.testing.assert_array_equal(values, Y[keep])
