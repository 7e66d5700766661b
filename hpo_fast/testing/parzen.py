"""The contract kit for the handles of two Parzen densities, compared with the reference.

Plain assertions with messages of their own, so that the kit needs no test runner; pytest collects a subclass by name.
"""
# ruff: noqa: D102 - the names of the tests say what they assert

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_fast.backends.parzen import Parzen, parzen
from hpo_fast.space import Between, Categorical, Float, Int, Ordinal, Space
from hpo_fast.space.layout import Layout

FloatArray = npt.NDArray[np.float64]

CLOSE = 1e-9  # sums of a hundred logarithms, each correct to some 1e-15 of at most 1e3
SIZES = (0, 1, 2, 30, 90)  # the window of these tests holds 50 rows
KEY = (7, 11)


class ParzenContract:
    """What every backend keeps. Subclass it, give `make`, and let pytest collect the subclass.

    class TestMine(hpo_fast.testing.ParzenContract):
        def make(self, layout, **options):
            return MyHandle(layout, **options)
    """

    def make(self, layout: Layout, **options: Any) -> Parzen:
        """Build a new handle; the options are those of `hpo_fast.backends.parzen.parzen`."""
        raise TypeError(f"{type(self).__name__}: make must be defined; let it return a new handle.")

    def spaces(self) -> Mapping[str, Space]:
        """Give the spaces to run on."""
        return {
            "one float": Space(x=Float(0.0, 1.0)),
            "numbers": Space(
                x=Float(0.0, 1.0),
                wide=Int(1, 4),
                fine=Int(0, 10_000),
                units=Int(1, 300, log=True),
                size=Ordinal([16, 64, 256]),
            ),
            "choices": Space({f"c{i}": Categorical(list("abcdef")[: i + 1]) for i in range(5)}),
            "conditional": Space(
                optimizer=Categorical(["sgd", "adam", "none"]),
                lr=Float(1e-4, 1.0, log=True).when(optimizer=["sgd", "adam"]),
                momentum=Float(0.0, 0.99).when(optimizer="sgd"),
                layers=Int(1, 4),
                nesterov=Categorical([False, True]).when(optimizer="sgd", layers=Between(2, 3)),
                damping=Float(0.0, 1.0).when(momentum=Between(0.5, 0.99)),
            ),
        }

    def cases(self, sizes: tuple[int, ...] = SIZES) -> Iterator[tuple[str, Space, FloatArray, FloatArray, Any]]:
        """Give, for each space, each size and both kinds of kernels, a history and a maker of handles told of it."""
        for seed, (name, space) in enumerate(self.spaces().items()):
            for n in sizes:
                U, y = history(space, n, seed)
                for multivariate in (True, False):
                    options = {"multivariate": multivariate, "window": 50, "most_good": 6, "candidates": 9}
                    yield f"{name}, n = {n}, {options}", space, U, y, options

    def told(self, space: Space, U: FloatArray, y: FloatArray, options: Mapping[str, Any]) -> Parzen:
        """Build a handle and tell it the rows."""
        handle = self.make(space.layout, **options)
        handle.append(U, y)
        return handle

    def test_densities_agree_with_the_reference(self) -> None:
        for what, space, U, y, options in self.cases():
            ours, theirs = self.told(space, U, y, options), reference(space, U, y, options)
            X, pending = points(space, 20, 99), points(space, 3, 98)
            for waiting in (None, pending):
                for one, other, kind in zip(
                    ours.log_density(X, waiting), theirs.log_density(X, waiting), ("good", "bad"), strict=True
                ):
                    assert_close(one, other, f"the {kind} density, {what}, pending {waiting is not None}")

    def test_draws_agree_with_the_reference(self) -> None:
        for what, space, U, y, options in self.cases():
            ours, theirs = self.told(space, U, y, options), reference(space, U, y, options)
            assert_close(ours.sample(40, KEY), theirs.sample(40, KEY), f"draws, {what}")

    def test_values_are_those_of_the_densities(self) -> None:
        for what, space, U, y, options in self.cases():
            handle, pending = self.told(space, U, y, options), points(space, 3, 98)
            X, values = handle.propose(pending, KEY)
            good, bad = handle.log_density(X, pending)
            assert X.shape == (9, space.d), what
            assert_close(X, space.canonical(X), f"no points of the space, {what}")
            assert_close(values, good - bad, f"values, {what}")
            assert np.all(np.diff(values) <= 0.0), f"the candidates are not in order, {what}"
            if options["multivariate"]:
                drawn = handle.sample(9, KEY)
                assert sorted(map(bytes, X)) == sorted(map(bytes, drawn)), f"other candidates than draws, {what}"

    def test_told_in_parts_or_at_once_is_the_same(self) -> None:
        for what, space, U, y, options in self.cases():
            whole, parts = self.told(space, U, y, options), self.told(space, U[:0], y[:0], options)
            for i in range(len(y)):
                parts.append(U[i : i + 1], y[i : i + 1])
            halves = self.told(space, U[: len(y) // 2], y[: len(y) // 2], options)
            halves.append(U[len(y) // 2 :], y[len(y) // 2 :])
            for other in (parts, halves):
                assert other.n == len(y)
                assert_same_bits(readings(whole, space), readings(other, space), what)

    def test_inputs_are_not_changed_and_may_be_read_only(self) -> None:
        for what, space, U, y, options in self.cases((30,)):
            X = points(space, 4, 5)
            kept = [a.copy() for a in (U, y, X)]
            for a in (U, y, X):
                a.flags.writeable = False
            handle = self.told(space, U, y, options)
            handle.log_density(X, X)
            handle.propose(X, KEY)
            assert_same_bits([U, y, X], kept, what)
            before = readings(handle, space)
            assert_same_bits(readings(handle, space), before, f"asking changed something, {what}")

    def test_refused_rows_change_nothing(self) -> None:
        space = self.spaces()["numbers"]
        U, y = history(space, 30, 0)
        handle = self.told(space, U, y, {})
        before = readings(handle, space)
        high, nan, wide = U[:2].copy(), U[:2].copy(), np.zeros((2, space.d + 1))
        high[1, 0], nan[1, 0] = 1.5, np.nan
        bad: list[Callable[[], object]] = [
            lambda: handle.append(high, y[:2]),
            lambda: handle.append(nan, y[:2]),
            lambda: handle.append(wide, y[:2]),
            lambda: handle.append(U[:2], y[:1]),
            lambda: handle.append(U[:2], np.array([0.0, np.nan])),
            lambda: handle.append(U[:2], np.array([0.0, -np.inf])),
            lambda: handle.log_density(high),
            lambda: handle.log_density(U, nan),
            lambda: handle.propose(nan, KEY),
            lambda: handle.sample(-1, KEY),
        ]
        for i, call in enumerate(bad):
            try:
                call()
            except ValueError as error:
                assert "must" in str(error), f"call {i} does not say its rule: {error}"
            else:
                raise AssertionError(f"call {i} must raise ValueError")
        assert_same_bits(readings(handle, space), before, "a refused call changed something")

    def test_failed_rows_are_never_good(self) -> None:
        space = self.spaces()["one float"]
        handle = self.make(space.layout, most_good=5)
        handle.append(np.full((99, 1), 0.3), np.full(99, np.inf))
        good, bad = handle.log_density(np.array([[0.3], [0.9]]))
        assert np.array_equal(good, [0.0, 0.0]), "nothing is good, so the density is the prior's"
        assert bad[0] > 1.0 > bad[1], "failed rows are bad"
        handle.append(np.array([[0.9]]), np.array([1e300]))
        good, _ = handle.log_density(np.array([[0.3], [0.9]]))
        assert good[1] > good[0], "the one that did not fail is good"

    def test_pending_points_are_avoided(self) -> None:
        for what, space, U, y, options in self.cases((30,)):
            handle, X = self.told(space, U, y, options), points(space, 1, 3)
            _, before = handle.log_density(X)
            _, after = handle.log_density(X, np.repeat(X, 50, axis=0))
            assert after[0] > before[0], f"a pending point is not dense in bad ones, {what}"


def history(space: Space, n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Give n rows with ties, a few failures, and repeated points."""
    rng = np.random.default_rng([n, seed])
    U = space.from_uniform(rng.random((n, space.d)))
    if n > 20:
        U[10:15] = U[5]
    y = np.round(rng.normal(size=n), 1)
    y[3::7] = np.inf
    return U, y


def points(space: Space, m: int, seed: int) -> FloatArray:
    """Give m random points."""
    return space.from_uniform(np.random.default_rng([m, seed]).random((m, space.d)))


def reference(space: Space, U: FloatArray, y: FloatArray, options: Mapping[str, Any]) -> Parzen:
    """Give the specification, told the rows."""
    handle = parzen(space.layout, backend="reference", **options)
    handle.append(U, y)
    return handle


def readings(handle: Parzen, space: Space) -> list[FloatArray]:
    """Give all that a handle tells."""
    X = points(space, 6, 1)
    return [*handle.log_density(X, X[:2]), *handle.propose(X[:2], KEY), handle.sample(5, KEY)]


def assert_same_bits(one: list[FloatArray], other: list[FloatArray], message: str) -> None:
    """Assert that the arrays are equal, any NaN counting as equal to any other."""
    same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))
    assert same, f"{message}:\n{one}\n{other}"


def assert_close(one: FloatArray, other: FloatArray, message: str) -> None:
    """Assert that the arrays differ by CLOSE at most, with NaN in the same places."""
    assert np.allclose(one, other, rtol=CLOSE, atol=CLOSE, equal_nan=True), f"{message}:\n{one}\n{other}"
