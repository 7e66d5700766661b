"""The search of the compiled core where there are so many observations that it climbs by the rows nearby."""

from __future__ import annotations

import numpy as np
import pytest

from hpo_fast.backends import gaussian_process
from hpo_fast.backends.base import Utility
from hpo_fast.space import Categorical, Float, Int, Space
from hpo_fast.testing.backends import history, points

N = 2100

SPACES = {
    "floats": Space({f"x{j}": Float(0.0, 1.0) for j in range(6)}),
    "mixed": Space(
        x=Float(0.0, 1.0),
        units=Int(1, 500, log=True),
        kind=Categorical(["a", "b", "c"]),
        rate=Float(1e-4, 1.0, log=True).when(kind=["a", "b"]),
        layers=Int(1, 4),
    ),
    "choices": Space({f"c{j}": Categorical(list("abcdefg")) for j in range(6)}),
}


@pytest.mark.parametrize("surrogate", ["exact", "vecchia"])
@pytest.mark.parametrize("name", SPACES)
def test_a_batch_beside_pending_points(name: str, surrogate: str) -> None:
    """Every point is new and worth what the exact model says, and none of many random ones is worth more.

    The local model of so many observations takes nearly all of them as they are.
    """
    space = SPACES[name]
    U, Y = history(space, N, 3)
    handle = gaussian_process(space.layout, backend="cpu", standardise=False, surrogate=surrogate)
    told = gaussian_process(space.layout, backend="cpu", standardise=False)
    handle.set_theta(handle.theta, N)
    handle.append(U, Y)
    pending = points(space, 2, 11)
    probe = points(space, 2000, 12)
    before = handle.predict(probe[:50])
    found = handle.maximise(Utility(), 3, pending, (1, 2))
    again = handle.maximise(Utility(), 3, pending, (1, 2))
    assert np.array_equal(found.U, again.U, equal_nan=True), "one key, two answers"
    for one, other in zip(before, handle.predict(probe[:50]), strict=True):
        assert np.array_equal(one, other), "the search changed the model"
    rows = [tuple(u) for u in np.nan_to_num(np.concatenate([pending, found.U]), nan=-1.0)]
    assert len(set(rows)) == 5
    # The value of the first is that of an exact model that was told the pending points' means.
    close = 1e-6 if surrogate == "exact" else 0.05
    told.append(U, Y)
    told.append(pending, handle.predict(pending)[0], np.full((2, 1), 1e-6 * np.exp(handle.theta[0, -2])))
    assert found.values[0] == pytest.approx(told.score(Utility(), found.U[:1])[0], abs=close)
    assert found.values[0] >= np.max(told.score(Utility(), probe)) - close
    assert found.mean[0] == pytest.approx(told.predict(found.U[:1])[0][0], abs=close)


@pytest.mark.parametrize("kind", ["log_ei", "ei", "log_pi", "pi", "ucb"])
def test_every_utility_at_the_first_size(kind: str) -> None:
    """With one observation less the search climbs by all rows: it finds no more."""
    space = SPACES["floats"]
    U, Y = history(space, 2048, 5)
    handle = gaussian_process(space.layout, backend="cpu")
    handle.append(U[:-1], Y[:-1])
    by_all = handle.maximise(Utility(kind), 1, None, (3, 4))
    handle.append(U[-1:], Y[-1:])
    found = handle.maximise(Utility(kind), 1, None, (3, 4))
    best = np.max(handle.score(Utility(kind), np.concatenate([points(space, 2000, 6), by_all.U])))
    assert found.values[0] >= best - 0.05 * (1.0 if kind.startswith("log") else abs(best)), "less than 0.95 of the best"
