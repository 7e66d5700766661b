"""The contract kit for the local model of backends: what `surrogate="vecchia"` and `"auto"` must keep.

Beside `hpo_fast.testing.backends`, whose rules hold as well where a handle is exact.
"""

# ruff: noqa: D102 - the names of the tests say what they assert

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from hpo_fast.backends.base import KERNELS, UTILITIES, Surrogate, Utility
from hpo_fast.backends.reference import GaussianProcess as Reference
from hpo_fast.backends.reference_kernel import Kernel
from hpo_fast.space import Int, Space
from hpo_fast.testing.backends import (
    FloatArray,
    Kit,
    assert_close,
    assert_representable,
    distinct,
    history,
    points,
    unique,
)

# The sums divide by noise of 1e-2 of the variance or more here, and inducing points may be nearly redundant, to 1e-6 of
# it: a condition of 1e8 at most, times rounding.
CLOSE = 1e-7


class LocalKit(Kit):
    """What the kits of the local model share: handles of it, comparisons."""

    def local(self, space: Space, n: int = 0, **options: Any) -> Surrogate:
        """Give a handle of the local model, at a theta of its own that counts as fitted to n observations."""
        handle = self.make(space.layout, surrogate="vecchia", **options)
        handle.set_theta(some_theta(space), n)
        return handle

    def pairs(self, n: int, base: int, **options: Any) -> Iterator[tuple[str, Space, Surrogate, Reference]]:
        """Give, for each space, a handle and a reference told the same n rows, of which many repeat a point."""
        for name, space in self.spaces().items():
            ours, theirs = self.local(space, base, **options), Reference(space.layout, surrogate="vecchia", **options)
            theirs.set_theta(some_theta(space), base)
            for handle in (ours, theirs):
                handle.append(*crowd(space, n, base))
            yield name, space, ours, theirs

    def assert_agree(self, ours: Surrogate, theirs: Surrogate, space: Space, what: str, m: int = 4) -> None:
        """Assert that two handles agree but for rounding."""
        X = points(space, m, 17)
        for a, b, part in zip(ours.predict(X, gradient=True), theirs.predict(X, gradient=True), _PARTS, strict=True):
            assert_close(a, b, CLOSE, f"{part}, {what}")
        assert_close(fitted_likelihood(ours), fitted_likelihood(theirs), CLOSE, f"log likelihood, {what}")


class LocalContract(LocalKit):
    """The numbers of the local model, and its search. Subclass it, give `make`, and let pytest collect the subclass.

    class TestMine(hpo_fast.testing.LocalContract):
        def make(self, layout, **options):
            return MyHandle(layout, **options)
    """

    # -- the same numbers as the reference ---------------------------------------------------------------------------

    def test_predictions_agree(self) -> None:
        """Rows of the base alone; a panel after it; panels and a tail."""
        for n, base, m in ((130, 130, 4), (200, 130, 2), (330, 140, 1), (600, 500, 1)):
            for name, space, ours, theirs in self.pairs(n, base):
                self.assert_agree(ours, theirs, space, f"{n} rows, base {base}, {name}", m)

    def test_predictions_agree_with_more_rows_than_inducing_points(self) -> None:
        for name in ("floats", "conditional"):
            space = self.spaces()[name]
            ours, theirs = self.local(space, 900), Reference(space.layout, surrogate="vecchia")
            theirs.set_theta(some_theta(space), 900)
            for handle in (ours, theirs):
                handle.append(*history(space, 1100, 3))
            self.assert_agree(ours, theirs, space, name, m=2)

    def test_predictions_agree_with_more_rows_than_neighbours(self) -> None:
        for name, space, ours, theirs in self.pairs(5600, 2000):
            if name in ("one float", "conditional"):
                self.assert_agree(ours, theirs, space, name, m=4)
                assert theirs._local is not None
                own = [theirs._local._own(x[None, :]) for x in points(space, 4, 17)]
                assert any(own), f"no neighbours of their own on {name}"

    def test_the_value_to_improve_on_is_of_rows_that_the_model_knows(self) -> None:
        space = self.spaces()["floats"]
        ours, theirs = self.local(space, 5600), Reference(space.layout, surrogate="vecchia")
        theirs.set_theta(some_theta(space), 5600)
        U, Y = history(space, 5630, 3)
        for handle in (ours, theirs):
            handle.append(U, Y)
        assert_close(ours.incumbent(), theirs.incumbent(), CLOSE, "5,630 rows")
        lowest = np.argsort(Y[:, 0], kind="stable")[:50]
        assert theirs._local is not None and not np.all(theirs._local.has(lowest))

    def test_the_value_to_improve_on_is_of_points_that_many_rows_repeat(self) -> None:
        """Of the rows of the lowest values hardly one stands as it is, but the model knows their points well."""
        space = Space(a=Int(0, 3), b=Int(0, 3))
        rng = np.random.default_rng(0)
        place = rng.integers(0, 16, 60_000)
        U = (np.stack([place // 4, place % 4], axis=1) + 0.5) / 4
        Y = np.linspace(-1.0, 1.0, 16)[place, None] + 0.5 * rng.standard_normal((len(place), 1))
        handle = self.make(space.layout, surrogate="vecchia")
        handle.set_theta(np.array([[-1.0, -1.0, 0.0, -1.0]]), len(place))
        handle.append(U, Y)
        lowest = U[np.argsort(Y[:, 0], kind="stable")[:50]]
        mean, var = handle.predict(lowest)
        assert_close(handle.incumbent(), np.min(mean - 2.0 * np.sqrt(var)), 1e-3, "16 points")

    def test_predictions_agree_where_a_part_of_the_base_is_summed(self) -> None:
        space = self.spaces()["floats"]
        ours, theirs = self.local(space, 66000), Reference(space.layout, surrogate="vecchia")
        theirs.set_theta(some_theta(space), 66000)
        U, Y = history(space, 66100, 3)
        for handle in (ours, theirs):
            handle.append(U, Y)
        self.assert_agree(ours, theirs, space, "66,100 rows", m=2)
        best = U[np.argmin(Y[:, 0])][None, :]  # half of its neighbours are those near the best, and it gets no others
        for a, b, part in zip(ours.predict(best), theirs.predict(best), _PARTS, strict=False):
            assert_close(a, b, CLOSE, f"{part} at the best of 66,100 rows")

    def test_options_are_kept(self) -> None:
        for kernel, mean, standardise in product(KERNELS, ("constant", "zero"), (True, False)):
            for name, space, ours, theirs in self.pairs(120, 50, kernel=kernel, mean=mean, standardise=standardise):
                if name in ("floats", "conditional"):
                    self.assert_agree(ours, theirs, space, f"{kernel}, {mean} mean, standardise={standardise}, {name}")

    def test_scores_agree(self) -> None:
        for name, space, ours, theirs in self.pairs(170, 90):
            X = points(space, 3, 5)
            for kind in UTILITIES:
                assert_close(
                    ours.score(Utility(kind, 2.5), X), theirs.score(Utility(kind, 2.5), X), 1e-6, f"{kind} on {name}"
                )
            assert_close(ours.incumbent(), theirs.incumbent(), CLOSE, f"the value to improve on, on {name}")

    def test_known_noise_and_failed_rows(self) -> None:
        space = self.spaces()["floats"]
        U, Y = crowd(space, 200, 7)
        noise = np.full((200, 1), np.nan)
        noise[100:140, 0] = 10.0 ** np.linspace(-4.0, 6.0, 40)  # some in the base, some after it, or all after it
        Y[[3, 90, 150, 199]] = np.inf
        for base in (120, 90):
            ours, theirs, plain = (
                self.local(space, base),
                Reference(space.layout, surrogate="vecchia"),
                self.local(space),
            )
            theirs.set_theta(some_theta(space), base)
            for handle in (ours, theirs):
                handle.append(U, 3.0 * Y, noise)
            plain.append(U, 3.0 * Y)
            self.assert_agree(ours, theirs, space, f"known noise, base {base}")
            assert not np.allclose(ours.predict(U[:3])[0], plain.predict(U[:3])[0]), "known noise has no effect"
        failed = self.local(space)
        failed.append(U[:50], np.full((50, 1), np.inf))
        assert np.all(failed.predict(U[:3])[0] == 0.0)

    def test_fixed_noise(self) -> None:
        # Without noise, what is left of a variance at told points is 1e-8 of it, and the values there differ.
        for noise, tolerance in ((1e-6, CLOSE), (0.0, 1e-3)):
            for name, space, ours, theirs in self.pairs(200, 130, noise=noise):
                X = points(space, 3, 4)
                for a, b, what in zip(ours.predict(X), theirs.predict(X), _PARTS, strict=False):
                    assert_close(a, b, tolerance, f"{what} with a noise of {noise} on {name}")

    # -- beside the exact model --------------------------------------------------------------------------------------

    def test_it_is_exact_where_all_rows_are_inducing(self) -> None:
        for name, space in self.spaces().items():
            U = points(space, 150, 1)
            r2 = Kernel(space.layout, "matern52").distance(some_theta(space)[0], U, U)
            U = U[~np.any(np.tril(r2 < 0.01, -1), axis=1)]  # a tenth of a length scale apart: none is redundant
            Y = np.sin(np.arange(len(U), dtype=np.float64))[:, None]
            local, exact = self.local(space, len(U)), self.make(space.layout)
            exact.set_theta(some_theta(space))
            for handle in (local, exact):
                handle.append(U, Y)
            X = points(space, 5, 2)
            # The inducing points have a jitter of 1e-8 beside a noise of 1e-2: a millionth.
            for a, b, what in zip(
                local.predict(X, gradient=True), exact.predict(X, gradient=True), _PARTS, strict=True
            ):
                assert_close(a, b, 1e-5, f"{what} on {name}")
            assert_close(fitted_likelihood(local), exact.log_likelihood(exact.theta)[0], 1e-5, f"likelihood on {name}")
            assert_close(local.shift, exact.shift, 0.0, "shift")
            assert_close(local.scale, exact.scale, 0.0, "scale")

    def test_it_is_near_the_exact_model(self) -> None:
        """Rows that are not inducing, in the base and after it: what all say is there, whatever is near."""
        space = self.spaces()["mixed"]
        U, Y = history(space, 1100, 5)
        options = {"standardise": False}  # the two would see other values: the warp of the one is that of 900 rows
        local, exact = self.local(space, 900, **options), self.make(space.layout, **options)
        exact.set_theta(some_theta(space))
        for handle in (local, exact):
            handle.append(U, Y)
        X = points(space, 10, 2)
        (mean, var), (expected, expected_var) = local.predict(X), exact.predict(X)
        # Measured: 0.005 of a standard deviation, and 1e-4 of it.
        assert np.max(np.abs(mean - expected) / np.sqrt(expected_var)) < 0.03
        assert np.max(np.abs(var / expected_var - 1.0)) < 1e-2

    def test_gradients_are_those_of_the_values(self) -> None:
        h = 1e-5
        for kernel in KERNELS:
            for name, space, ours, _ in self.pairs(120, 50, kernel=kernel):
                X = points(space, 1, 3)
                d_mean, d_var = ours.predict(X, gradient=True)[2:]
                for j, c in enumerate(space.layout.start[:-1]):
                    if space.layout.kind[j] == 2:
                        assert not d_mean[:, :, c].any() and not d_var[:, :, c].any(), "a choice has no gradient"
                        continue
                    step = np.zeros(space.d)
                    step[c] = h
                    above, below = ours.predict(X + step), ours.predict(X - step)
                    for slope, at, what in ((d_mean, 0, "mean"), (d_var, 1, "var")):
                        numeric = (above[at] - below[at]) / (2 * h)
                        assert_close(slope[:, :, c], numeric, 1e-5, f"d {what} / d u[{c}], {kernel}, {name}")

    def test_samples_have_the_moments_of_the_posterior(self) -> None:
        for name, space, handle, _ in self.pairs(170, 90):
            X = points(space, 1, 6)
            draws = handle.sample(X, 4000, (1, 2))
            assert draws.shape == (4000, 1, 1)
            assert np.array_equal(draws, handle.sample(X, 4000, (1, 2))), "one key, two draws"
            mean, var = handle.predict(X)
            # Five standard errors: of the mean sd/sqrt(N), of the variance var sqrt(2/N).
            assert np.all(np.abs(draws.mean(axis=0) - mean) <= 5 * np.sqrt(var / 4000) + 1e-6), f"the mean on {name}"
            assert np.all(np.abs(draws.var(axis=0) - var) <= 5 * var * np.sqrt(2 / 4000) + 1e-6), f"variance on {name}"
        assert handle.sample(X[:0], 3, (0, 0)).shape == (3, 0, 1)

    # -- the search --------------------------------------------------------------------------------------------------

    def test_maximise_gives_points_of_the_space(self) -> None:
        for name, space, handle, _ in self.pairs(170, 90):
            for kind in ("log_ei", "pi") if name == "mixed" else ("ucb",):
                found = handle.maximise(Utility(kind), 1, None, (5, 6))
                assert found.U.shape == (1, space.d) and found.values.shape == (1,)
                assert found.mean.shape == found.var.shape == (1, 1)
                assert_representable(space, found.U)
                assert_representable(space, found.optima)
                again = handle.maximise(Utility(kind), 1, None, (5, 6))
                assert np.array_equal(found.U, again.U, equal_nan=True), f"one key, two answers on {name}"
                # So few rows all lie near the best: no point has neighbours to add.
                for a, b, what in zip((found.mean, found.var), handle.predict(found.U), _PARTS, strict=False):
                    assert_close(a, b, CLOSE, f"{what} of the point found on {name}")

    def test_pending_points_lower_the_variance(self) -> None:
        space = self.spaces()["floats"]
        handle = self.local(space, 90)
        handle.append(*crowd(space, 170, 90))
        found = handle.maximise(Utility("ucb", 2.0), 1, None, (1, 1))
        given = handle.maximise(Utility("ucb", 2.0), 1, found.U, (1, 1))
        assert np.max(np.abs(given.U - found.U)) > 1e-3, "the point that is pending again"
        assert given.values[0] < found.values[0]
        near = found.U + 1e-4
        batch = handle.maximise(Utility("ucb", 2.0), 3, near, (1, 1))
        assert distinct(np.concatenate([near, batch.U])), "a batch repeats a point"
        assert np.min(np.max(np.abs(batch.U - near), axis=1)) > 1e-3, "pending points do not repel"

    def test_known_failed_and_pending_points_are_avoided(self) -> None:
        space = self.spaces()["finite"]
        everything = unique(points(space, 4000, 0))
        assert len(everything) == 16
        told = np.repeat(everything[3:], 20, axis=0)
        Y = np.sin(np.arange(len(told)))[:, None]
        handle = self.local(space, 200)
        handle.append(told, Y)
        for pending in (None, everything[1:3]):
            found = handle.maximise(Utility(), 1, pending, (2, 3), avoid_known=True)
            left = everything[:3] if pending is None else everything[:1]
            assert any(np.array_equal(found.U[0], u, equal_nan=True) for u in left), f"{found.U} was told"
        handle.append(everything[:15], np.full((15, 1), np.inf))
        found = handle.maximise(Utility("ucb"), 1, None, (5, 6))
        assert np.array_equal(found.U, everything[15:], equal_nan=True), "fifteen points of sixteen have failed"

    def test_maximise_finds_what_the_exact_model_wants(self) -> None:
        for name in ("floats", "mixed"):
            space = self.spaces()[name]
            U = points(space, 800, 6)
            Y = np.sum((U - 0.35) ** 2, axis=1, keepdims=True) + 0.2 * np.sin(7.0 * U[:, :1])
            local, exact = self.local(space, 800, noise=1e-4), Reference(space.layout, noise=1e-4)
            exact.set_theta(some_theta(space))
            for handle in (local, exact):
                handle.append(U, Y)
            found = local.maximise(Utility(), 1, None, (7, 8))
            oracle = exact.maximise(Utility(), 1, None, (7, 8), n_starts=5)
            reached = exact.score(Utility(), found.U)[0]
            # Log EI: 0.1 is 90 % of the improvement that the exact model's best point promises; measured: 0.001.
            assert reached >= oracle.values[0] - 0.1, f"{reached:.4f} against {oracle.values[0]:.4f} on {name}"
            assert abs(found.values[0] - reached) < 0.2, (
                f"promised {found.values[0]:.4f}, exact {reached:.4f} on {name}"
            )


_PARTS = ("mean", "var", "d_mean", "d_var")


def some_theta(space: Space) -> FloatArray:
    """Give log parameters like those of a fit, with a noise of e^-4."""
    theta = np.random.default_rng(space.d).normal(-0.3, 0.3, (1, space.layout.b + 2))
    theta[0, -2:] = 0.3, -4.0
    return theta


def crowd(space: Space, n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Draw n points of which many repeat, the first ones most of all, with values that differ by noise."""
    U, Y = history(space, n, seed)
    rng = np.random.default_rng([seed, n, 2])
    again = rng.random(n) < 0.6
    source = np.where(again, (n * 0.3 * rng.random(n) ** 3).astype(np.int64), np.arange(n))
    return U[source], Y[source] + 0.05 * rng.standard_normal((n, 1))


def fitted_likelihood(handle: Surrogate) -> FloatArray:
    """Read what a refit returns as log likelihood, at theta as it is: a refit to no rows moves nothing."""
    handle.begin_refit(0)
    return handle.finish_refit().log_likelihood
