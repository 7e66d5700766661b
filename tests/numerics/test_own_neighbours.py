"""The model of many observations at points that have neighbours of their own beside the rows near the best told."""

from __future__ import annotations

import numpy as np
import pytest

from hpo_fast.backends import gaussian_process
from hpo_fast.backends.base import Surrogate, Utility
from hpo_fast.backends.reference import GaussianProcess as Reference
from hpo_fast.space import Categorical, Float, Int, Space
from hpo_fast.testing.backends import assert_close, distinct, history, points
from hpo_fast.testing.local import CLOSE, some_theta

N, BASE = 5600, 300
SPACES = {
    "floats": Space({f"x{j}": Float(0.0, 1.0) for j in range(4)}),
    "mixed": Space(
        x=Float(0.0, 1.0),
        n=Int(1, 9),
        kind=Categorical(["a", "b"]),
        y=Float(0.0, 1.0),
        z=Float(0.0, 1.0).when(kind="a"),
    ),
}


def told(space: Space) -> tuple[Surrogate, Reference]:
    ours, theirs = gaussian_process(space.layout, surrogate="vecchia"), Reference(space.layout, surrogate="vecchia")
    U, Y, *noise = history(space, N, 3)
    Y = Y + 3.0 * np.sum(np.nan_to_num(U) ** 2, axis=1, keepdims=True)  # the best in a corner, the space behind it open
    for handle in (ours, theirs):
        handle.set_theta(some_theta(space), BASE)
        handle.append(U, Y, *noise)
    return ours, theirs


@pytest.mark.parametrize("name", SPACES)
def test_several_points_share_their_neighbours(name: str) -> None:
    """The moments of samples are those of the reference's model near all points together."""
    space = SPACES[name]
    ours, theirs = told(space)
    X = points(space, 8, 17)
    theirs.predict(X[:1])
    assert theirs._local is not None and len(theirs._local._own(X)) == 128
    mean, covariance = theirs._model(X).joint(X)
    draws = ours.sample(X, 20_000, (1, 2))[:, :, 0]
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 5 * sd / np.sqrt(20_000))
    # Five standard errors of a covariance: at most sqrt(2 / draws) of the product of the two.
    assert np.all(np.abs(np.cov(draws.T) - covariance) < 5 * np.sqrt(2 / 20_000) * np.outer(sd, sd))


def test_the_point_found_has_its_own_neighbours_and_the_pending_points() -> None:
    """Its variance is that of the model near it, given what is pending."""
    space = SPACES["floats"]  # where the search goes to points with neighbours of their own
    ours, theirs = told(space)
    bound = Utility("ucb", 100.0)  # far from all that is told
    found = ours.maximise(bound, 1, None, (1, 1))
    pending = found.U + 0.1
    given = ours.maximise(bound, 1, pending, (1, 1))
    theirs.predict(found.U)
    local = theirs._local
    assert local is not None and local._own(found.U) and local._own(given.U)
    nothing = pending[:0]
    # The neighbours are those of where the last climb began: a fifth of what they change is left for that.
    far, near = local.far(nothing).predict(found.U)[1][0], local.near(found.U, nothing).predict(found.U)[1][0]
    assert abs(found.var[0, 0] - near) < 0.2 * abs(far - near)
    near, alone = (local.near(given.U, waiting).predict(given.U)[1][0] for waiting in (pending, nothing))
    assert abs(given.var[0, 0] - near) < 0.2 * abs(alone - near)


def test_pending_points_and_a_batch() -> None:
    """No point of a batch repeats another, and the same rows give the same bits."""
    space = SPACES["floats"]
    ours, _ = told(space)
    bound = Utility("ucb", 100.0)
    found = ours.maximise(bound, 1, None, (1, 1))
    given = ours.maximise(bound, 1, found.U, (1, 1))
    assert distinct(np.concatenate([found.U, given.U])), "the point that is pending again"
    assert given.values[0] < found.values[0]
    batch = ours.maximise(bound, 3, found.U, (1, 1))
    assert np.array_equal(batch.U[0], given.U[0], equal_nan=True)
    assert distinct(np.concatenate([found.U, batch.U]))
    again, _ = told(space)
    again.append(*history(space, 40, 4))
    again.predict(found.U)
    again.truncate(N)
    other = again.maximise(bound, 3, found.U, (1, 1))
    assert np.array_equal(other.U, batch.U, equal_nan=True) and np.array_equal(other.values, batch.values)


# The rows near the best are 2,048 where at most 5,000 are before the tail, and 1,024 beyond.
@pytest.mark.parametrize("n, base, near", [(3000, 300, 2048), (5050, 5000, 2048), (5100, 300, 1024)])
def test_up_to_some_thousand_rows(n: int, base: int, near: int) -> None:
    before_the_tail = base + (n - base) // 64 * 64
    _agree_from_the_best_outwards(n, base, near, halfway=(1 + near / before_the_tail) / 2)


def test_where_the_rows_near_the_best_are_common() -> None:
    _agree_from_the_best_outwards(12_000, 12_000, 1024, halfway=4 * 1024 / 12_000)


def _agree_from_the_best_outwards(n: int, base: int, near: int, halfway: float) -> None:
    """Assert that points without neighbours of their own, and with some, on both sides of `halfway`, agree."""
    space = SPACES["floats"]
    rng = np.random.default_rng(5)
    U, Y = history(space, n, 3)
    best = np.full(space.d, 0.5)
    U[::3] = np.clip(best + 0.05 * rng.standard_normal((len(U[::3]), space.d)), 0.0, 1.0)
    Y[:, 0] = np.sum((U - best) ** 2, axis=1) + 0.01 * rng.standard_normal(n)
    ours, theirs = gaussian_process(space.layout, surrogate="vecchia"), Reference(space.layout, surrogate="vecchia")
    for handle in (ours, theirs):
        handle.set_theta(some_theta(space), base)
        handle.append(U, Y)
    steps = np.linspace(0.0, 0.4, 81)[:, None]
    X = best + steps * np.array([1.0, 0.5, -0.5, 0.2])
    theirs.predict(X[:1])
    local = theirs._local
    assert local is not None
    near_best = set(local._near_best)
    assert len(near_best) == near
    share = np.array([len(near_best & set(rows)) / len(rows) for rows in local._nearest(X, 128)])
    less, more = share < halfway, share >= halfway
    # The most distant and the nearest point, and the last on each side of the threshold.
    chosen = [int(np.argmin(share)), int(np.argmax(np.where(less, share, 0.0)))]
    chosen += [int(np.argmin(np.where(more, share, 1.0))), int(np.argmax(share))]
    assert halfway - 0.1 < share[chosen[1]] < halfway <= share[chosen[2]] < halfway + 0.1, "no point near the threshold"
    assert [bool(local._own(X[i : i + 1])) for i in chosen] == [True, True, False, False]
    for a, b in zip(ours.predict(X[chosen]), theirs.predict(X[chosen]), strict=False):
        assert_close(a, b, CLOSE, "along the way")
