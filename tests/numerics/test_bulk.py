"""Rows told in bulk, whose factor waits for the verb that needs it."""

from __future__ import annotations

import numpy as np
import pytest

from hpo_fast import GaussianProcess, NumericalError
from hpo_fast.backends import gaussian_process
from hpo_fast.backends.base import Surrogate, Utility
from hpo_fast.space import Float, Space
from hpo_fast.testing.backends import history, points

SPACE = Space({f"x{j}": Float(0.0, 1.0) for j in range(4)})
N = 1500


def same(one: Surrogate, other: Surrogate) -> None:
    X = points(SPACE, 20, 9)
    for a, b in zip(one.predict(X, gradient=True), other.predict(X, gradient=True), strict=True):
        assert np.array_equal(a, b)
    assert one.incumbent() == other.incumbent()
    found, given = (handle.maximise(Utility(), 2, X[:1], (1, 2)) for handle in (one, other))
    assert np.array_equal(found.U, given.U) and np.array_equal(found.var, given.var)


@pytest.mark.parametrize(
    "verb", ["nothing", "refit", "planned refit", "theta", "a theta that fails", "truncate", "more rows", "known noise"]
)
def test_the_state_is_that_of_rows_told_in_parts(verb: str) -> None:
    U, Y = history(SPACE, N, 1)
    bulk, parts = (gaussian_process(SPACE.layout, backend="cpu") for _ in range(2))
    bulk.append(U, Y)
    for first in range(0, N, 100):
        parts.append(U[first : first + 100], Y[first : first + 100])
    for handle in (bulk, parts):
        if verb == "refit":
            handle.refit()
        elif verb == "planned refit":
            handle.begin_refit(1400)
            handle.advance_refit(handle.refit_work(1400) / 3)
            handle.append(*history(SPACE, 10, 2))
            handle.finish_refit()
        elif verb == "theta":
            handle.set_theta(handle.theta + 0.1)
        elif verb == "truncate":
            handle.truncate(900)
        elif verb == "more rows":
            handle.append(*history(SPACE, 1, 2))
        elif verb == "a theta that fails":
            with pytest.raises(NumericalError):
                handle.set_theta(np.where(np.arange(6) == 4, 800.0, handle.theta))
        elif verb == "known noise":  # the scale of the values, and with it the whole diagonal, becomes another one
            handle.append(*history(SPACE, 1, 2), np.array([[1e-4]]))
    assert np.array_equal(bulk.theta, parts.theta)
    same(bulk, parts)


@pytest.mark.parametrize("noise", [1e-2, 1e-6])
def test_a_factor_that_grew_by_single_rows_has_not_drifted(noise: float) -> None:
    """A row of the inverse factor hangs on the rows before it alone, and none is ever updated: nothing adds up."""
    U, Y = history(SPACE, N, 1)
    grown, bulk, reference = (gaussian_process(SPACE.layout, backend=name) for name in ("cpu", "cpu", "reference"))
    theta = np.array([[*np.full(4, 0.0), 0.0, np.log(noise)]])
    grown.set_theta(theta)
    while grown.n < N:
        n = grown.n
        if n % 97 == 96:
            grown.truncate(n - 5)
            n -= 5
            grown.append(U[n : n + 6], Y[n : n + 6])
            continue
        grown.append(U[n : n + 1], Y[n : n + 1])
        if n % 3 == 0:
            grown.predict(U[:2])
    for handle in (bulk, reference):
        handle.append(U, Y)
        handle.set_theta(theta)
    same(bulk, grown)
    X = points(SPACE, 50, 9)
    (mean, var), (exact_mean, exact_var) = (handle.predict(X) for handle in (grown, reference))
    assert np.max(np.abs(mean - exact_mean) / np.sqrt(exact_var)) < 1e-5
    assert np.max(np.abs(var / exact_var - 1.0)) < 1e-5


def test_a_bulk_without_a_covariance_is_an_error_of_what_needs_one() -> None:
    U, Y = history(SPACE, N, 1)
    good, model = GaussianProcess(4), GaussianProcess(4)
    good.append(U[:1200], Y[:1200, 0])
    U[1300] = 1e170
    model.append(U, Y[:, 0])
    for _ in range(2):
        with pytest.raises(NumericalError) as error:
            model.predict(U[:3])
        assert error.value.row == 1300
    model.append(U[:1], Y[:1, 0])  # behind, and stays so
    with pytest.raises(NumericalError):
        model.refit()
    assert model.n == N + 1
    model.truncate(1200)
    for a, b in zip(good.predict(U[:9]), model.predict(U[:9]), strict=True):
        assert np.array_equal(a, b)
    with pytest.raises(NumericalError):
        model.append(U[1300:1301], Y[:1, 0])  # one row alone says so at once
    assert model.n == 1200
