from __future__ import annotations

import math

import numpy as np
import pytest

from hpo_fast.space import Float, Space
from hpo_fast.strategies._seen import AnyOf, Seen, SeenExactly
from hpo_fast.strategies.bayesian import BayesianOptimization
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
        seen.add_points(part)
    some = range(0, size, max(size // 50, 1))
    assert all(told[i].tobytes() in seen for i in some)
    assert not any(others[i].tobytes() in seen for i in some)
    assert not any(told[i][::-1].copy().tobytes() in seen for i in some), "the place of a column counts"
    assert told[0].tobytes() in AnyOf(set(), seen) and others[0].tobytes() in AnyOf({others[0].tobytes()}, seen)
    assert others[0].tobytes() not in AnyOf(set(), seen)
    exactly = SeenExactly()
    exactly.add_points(told)
    exactly.add_points(told[:3])
    assert exactly == {u.tobytes() for u in told}


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
