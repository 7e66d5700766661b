"""The contract kit for the refits of backends: to all rows or to the nearest, at once or planned.

Beside `hpo_fast.testing.backends`, whose rules hold as well.
"""

# ruff: noqa: D102 - the names of the tests say what they assert

from __future__ import annotations

import numpy as np

from hpo_fast.backends.reference import GaussianProcess as Reference
from hpo_fast.errors import NumericalError
from hpo_fast.space import Categorical, Float, Int, Space
from hpo_fast.testing.backends import CLOSE, BackendKit, FloatArray, assert_close, history, points


class RefitContract(BackendKit):
    """What every refit keeps. Subclass it, give `make`, and let pytest collect the subclass."""

    def test_refit_reaches_the_maximum(self) -> None:
        for name, space, ours, theirs in self.pairs(n=30):
            before = ours.log_likelihood(ours.theta, prior=True)[0]
            fit, expected = ours.refit(), theirs.refit()
            assert fit.theta.shape == ours.theta.shape and fit.log_posterior.shape == fit.log_likelihood.shape == (1,)
            assert np.array_equal(fit.theta, ours.theta), "theta of the handle is that of the fit"
            value, posterior = (ours.log_likelihood(fit.theta, prior=p)[0] for p in (False, True))
            assert_close(fit.log_likelihood, value, CLOSE, f"the log likelihood of the fit on {name}")
            assert_close(fit.log_posterior, posterior, CLOSE, f"the log posterior of the fit on {name}")
            assert fit.log_posterior[0] >= before[0] - 1e-9, f"a refit made it worse on {name}"
            # Half a nat: less than the prior of one length scale says about it.
            assert fit.log_posterior[0] >= expected.log_posterior[0] - 0.5, f"a poor maximum on {name}"
            low, high = np.log([0.025] * space.layout.b + [1e-3, 1e-6]), np.log([1e3] * space.layout.b + [1e3, 10.0])
            assert np.all(fit.theta >= low - 1e-9) and np.all(fit.theta <= high + 1e-9), f"out of bounds on {name}"

    def test_refit_is_a_function_of_the_state(self) -> None:
        space = self.spaces()["mixed"]
        one, other = self.make(space.layout), self.make(space.layout)
        U, Y = history(space, 30, 5)
        one.append(U, Y)
        for i in range(30):
            other.append(U[i : i + 1], Y[i : i + 1])
        assert np.array_equal(one.refit().theta, other.refit().theta)
        self.assert_same_state(one, other, space, "after a refit")

    def test_a_planned_refit_is_that_of_its_observations(self) -> None:
        """Whatever is told meanwhile, and in whatever steps the work is done."""
        space = self.spaces()["mixed"]
        U, Y = history(space, 900, 5)
        for n, more, nearest in ((40, 5, 0), (40, 5, 25), (300, 100, 0), (300, 100, 270), (800, 100, 0)):
            alone = self.make(space.layout)
            alone.append(U[:n], Y[:n])
            alone.begin_refit(n, nearest)
            theta = alone.finish_refit().theta
            alone.append(U[n : n + more], Y[n : n + more])
            for parts in (1, 7):
                handle, before = self.make(space.layout), self.make(space.layout)
                handle.append(U[:n], Y[:n])
                handle.begin_refit(n, nearest)
                for part in np.array_split(np.arange(n, n + more), parts):
                    handle.append(U[part], Y[part])
                    handle.advance_refit(handle.refit_work(n, nearest) / 10)
                before.append(U[: n + more], Y[: n + more])
                self.assert_same_state(handle, before, space, "while a refit is prepared")
                handle.finish_refit()
                assert np.array_equal(handle.theta, theta), f"{parts} parts gave another theta"
                self.assert_same_state(handle, alone, space, "after a planned refit")

    def test_a_refit_to_the_nearest(self) -> None:
        """Of each of the four best in turn, all by the length scales that the handle has."""
        layout = self.spaces()["floats"].layout
        U, Y = history(self.spaces()["floats"], 120, 3)
        Y[7] = Y[11] = Y.min() - 1.0  # equal ones, and a failed trial among their neighbours
        Y[int(np.argsort(np.sum((U - U[7]) ** 2, axis=1))[1])] = np.inf
        scales = np.linspace(-2.0, 1.0, layout.b)
        theta = np.array([[*scales, 0.0, -4.0]])
        order = np.argsort(Y[:, 0], kind="stable")[:4]
        near = [np.argsort(np.sum(((U - U[i]) / np.exp(scales)) ** 2, axis=1), kind="stable") for i in order]
        rows = sorted(list(dict.fromkeys(np.stack(near, axis=1).ravel().tolist()))[:30])
        values = np.where(np.isfinite(Y), Y, np.max(Y[np.isfinite(Y)]))
        expected = self.make(layout, standardise=False)
        expected.append(U[rows], values[rows])
        handle = self.make(layout, standardise=False)
        handle.append(U, Y)
        for one in (expected, handle):
            one.set_theta(theta)
        handle.begin_refit(120, 30)
        found = handle.finish_refit().theta
        np.testing.assert_allclose(found, expected.refit().theta, rtol=1e-9)
        handle.set_theta(theta)
        assert not np.allclose(handle.refit().theta, found, rtol=1e-2), "all rows tell the same as 30"
        for nearest in (120, 1000):  # no more than there are: all
            handle.set_theta(theta)
            handle.begin_refit(120, nearest)
            limited = handle.finish_refit().theta
            handle.set_theta(theta)
            assert np.array_equal(limited, handle.refit().theta)
        try:
            handle.begin_refit(120, -1)
        except ValueError as error:
            assert "nearest must be a number of rows, or 0 for all, but got -1" in str(error)
        else:
            raise AssertionError("fewer rows than none must be a ValueError")

    def test_a_refit_to_the_nearest_in_every_space(self) -> None:
        """Beside the reference: rows that are copies, failed or known to a variance, in both models."""
        moved, stayed = 0, 0
        for surrogate in ("exact", "vecchia"):
            for _, space, ours, theirs in self.pairs(60, surrogate=surrogate):
                U, Y = history(space, 40, 9)
                U[5:9], Y[7], Y[8] = U[4], Y[4] - 2.0, np.inf
                noise = np.full((40, 1), np.nan)
                noise[::6] = 0.01
                for handle in (ours, theirs):
                    handle.append(U, Y, noise)
                for n, nearest in ((90, 30), (100, 55)):  # the rows after the first n count for nothing
                    before = theirs.theta
                    theirs.begin_refit(n, nearest)
                    planned = theirs._planned
                    assert planned is not None and len(planned._U) == nearest
                    ours.begin_refit(n, nearest)
                    theta, expected = ours.finish_refit().theta, theirs.finish_refit().theta
                    if np.array_equal(expected, before):
                        assert np.array_equal(theta, before), "theta should stay"
                        stayed += 1
                        continue
                    moved += 1
                    mine, best = (planned.log_likelihood(t, prior=True)[0][0] for t in (theta, expected))
                    assert mine >= best - 0.05, f"log posterior {mine} of the nearest, {best} is there"
                    ours.set_theta(expected, n)  # the next ones are near by the same length scales
                    theirs.set_theta(expected, n)
        assert moved >= 6 and stayed >= 4

    def test_a_refit_to_the_nearest_moves_theta_for_two_nats_a_parameter(self) -> None:
        layout = self.spaces()["floats"].layout
        U, Y = history(self.spaces()["floats"], 120, 3)
        flat = U.copy()
        flat[:, 2] = 0.5  # nothing about its length scale
        for rows, noise, parameters in ((U, None, 5), (U, 0.01, 4), (flat, None, 4), (flat, 0.01, 3)):
            theta = np.array([[-0.5, -0.5, -0.5, 0.0, -4.0 if noise is None else np.log(noise)]])
            handle = self.make(layout, noise=noise)
            reference = Reference(layout, noise=noise)
            for one in (handle, reference):
                one.append(rows, Y)
                one.set_theta(theta)
            while True:  # until it stays: then the nearest by its length scales are those that it is fitted to
                best = reference.theta
                reference.begin_refit(120, 40)
                planned = reference._planned
                assert planned is not None
                if np.array_equal(reference.finish_refit().theta, best):
                    break

            def gain(wide: float, best: FloatArray = best, planned: Reference = planned) -> tuple[FloatArray, float]:
                """Theta with so much more variance, and what the most probable one gains over it."""
                start = best.copy()
                start[0, 3] += wide
                planned._theta = start[0]
                return start, planned._gain(planned._most_probable(anyway=True))

            low, high = 0.0, 8.0  # beyond the bounds too
            for _ in range(30):
                middle = (low + high) / 2
                low, high = (low, middle) if gain(middle)[1] > 2.0 * parameters else (middle, high)
            for wide, moves in ((low - 0.05, False), (low + 0.05, True)):
                start, nats = gain(wide)
                assert moves == (nats > 2.0 * parameters) and abs(nats - 2.0 * parameters) < 1.0
                handle.set_theta(start)
                handle.begin_refit(120, 40)
                assert np.array_equal(handle.finish_refit().theta, start) != moves, f"{nats} nats were gained"

    def test_a_refit_that_leaves_theta_leaves_the_state(self) -> None:
        """Whatever is told meanwhile: the factor that is there serves."""
        for name in ("mixed", "conditional"):
            space = self.spaces()[name]
            U, Y = history(space, 350, 5)
            start = self.make(space.layout).theta
            for k, surrogate in ((0, "exact"), (250, "exact"), (250, "auto")):  # the first time it does not stay
                theta = start
                if k:
                    first = self.make(space.layout)
                    first.append(U[:k], Y[:k])
                    theta = first.refit().theta
                handle, other = (self.make(space.layout, surrogate=surrogate, exact_below=340) for _ in range(2))
                handle.append(U[:300], Y[:300])
                handle.set_theta(theta, k)
                handle.begin_refit(300, 280)
                for i in range(300, 330, 10):
                    handle.append(U[i : i + 10], Y[i : i + 10])
                    handle.advance_refit(handle.refit_work(300, 280) / 2)
                after = handle.finish_refit().theta
                assert np.array_equal(after, theta) == (k > 0), "250 rows tell as much as 280, the prior less"
                other.set_theta(after, 300)
                other.append(U[:330], Y[:330])
                self.assert_same_state(handle, other, space, "after a refit that left theta")
                for one in (handle, other):
                    one.append(U[330:], Y[330:])  # the local model of "auto" begins with the rows of the refit
                assert handle.regime == other.regime == ("vecchia" if surrogate == "auto" else "exact")
                self.assert_same_state(handle, other, space, f"after it and more rows, {surrogate}")

    def test_a_block_that_the_nearest_have_not_keeps_its_length_scale(self) -> None:
        space = Space(
            kind=Categorical(["a", "b"]),
            x=Float(0.0, 1.0).when(kind="a"),
            y=Float(0.0, 1.0).when(kind="b"),
            z=Int(1, 9),
        )
        U = points(space, 200, 2)
        first = U[:, 0] == U[~np.isnan(U[:, 1]), 0][0]
        values = np.where(first, np.sin(9.0 * U[:, 1]) + U[:, 3] - 5.0, 3.0 + np.nan_to_num(U[:, 2]))
        handle = self.make(space.layout)
        theta = np.array([[-1.0, 0.7, 0.3, 0.5, 0.0, -6.0]])
        handle.append(U, values[:, None])
        handle.set_theta(theta)
        handle.begin_refit(200, 40)
        found = handle.finish_refit().theta[0]
        assert found[0] == theta[0, 0] and found[2] == theta[0, 2], "neither the choice nor y differs near the best"
        assert found[1] != theta[0, 1] and found[3] != theta[0, 3]

    def test_copies_of_one_point_tell_of_the_noise_alone(self) -> None:
        """Of length scales and variance the prior alone would decide; they are where it has them not."""
        space = self.spaces()["finite"]
        U, Y = history(space, 100, 4)
        best = int(np.argmin(Y[:, 0]))
        U[40:], Y[40:] = U[best], Y[best] - 1.0 + 0.5 * np.random.default_rng(1).standard_normal((60, 1))
        for surrogate in ("exact", "vecchia"):
            for noise in (None, 0.01):
                handle = self.make(space.layout, surrogate=surrogate, noise=noise)
                handle.append(U, Y)
                theta = handle.theta
                theta[0, :-2] -= 0.7
                theta[0, -2] += 1.5
                handle.set_theta(theta)
                handle.begin_refit(100, 50)
                found = handle.finish_refit().theta
                assert np.array_equal(found[0, :-1], theta[0, :-1])
                assert noise is not None or found[0, -1] > theta[0, -1] + 1.0
                assert noise is None or found[0, -1] == theta[0, -1], "nothing may move"

    def test_where_nothing_is_near_all_are_fitted(self) -> None:
        """Length scales so short that single precision knows no distance."""
        space = self.spaces()["one float"]
        U, Y = history(space, 60, 3)
        handle = self.make(space.layout)
        handle.append(U, Y)
        theta = handle.theta
        theta[0, 0] = -95.0
        expected = None
        for nearest in (0, 20):
            handle.set_theta(theta)
            handle.begin_refit(60, nearest)
            found = handle.finish_refit().theta
            assert found[0, 0] > -4.0 and (expected is None or np.array_equal(found, expected))
            expected = found

    def test_theta_that_stays_may_be_out_of_bounds(self) -> None:
        space = self.spaces()["floats"]
        U, Y = history(space, 120, 3)
        handle = self.make(space.layout, bounds={"variance": (0.5, 2.0)})
        handle.append(U, Y)
        theta = handle.refit().theta
        theta[0, -2] = np.log(0.5) - 0.05 if theta[0, -2] < 0.0 else np.log(2.0) + 0.05
        handle.set_theta(theta)
        handle.begin_refit(120, 100)
        assert np.array_equal(handle.finish_refit().theta, theta)

    def test_theta_without_a_likelihood_moves(self) -> None:
        """The local model takes any theta; what a refit to the nearest gains over this one cannot be computed."""
        space = self.spaces()["floats"]
        for make in (self.make, Reference):
            handle = make(space.layout, surrogate="vecchia")
            handle.append(*history(space, 60, 3))
            handle.set_theta(np.array([[0.0, 0.0, 0.0, 800.0, -5.0]]))
            handle.begin_refit(60, 30)
            assert handle.finish_refit().theta[0, -2] < np.log(1e3) + 1e-9

    def test_a_plan_ends_with_its_rows(self) -> None:
        space = self.spaces()["floats"]
        handle = self.make(space.layout)
        U, Y = history(space, 30, 1)
        handle.append(U, Y)
        theta = handle.theta
        for fewer in (True, False):
            handle.begin_refit(handle.n)
            if fewer:
                handle.truncate(20)
            else:
                handle.set_theta(theta)
            handle.advance_refit(1e9)
            try:
                handle.finish_refit()
            except ValueError:
                pass
            else:
                raise AssertionError("the plan should be gone")
            assert np.array_equal(handle.theta, theta)
        for wrong in (-1, handle.n + 1):
            try:
                handle.begin_refit(wrong)
            except ValueError as error:
                assert "n must be between 0 and" in str(error)
            else:
                raise AssertionError(f"a refit on {wrong} of {handle.n} observations must be a ValueError")

    def test_bounds_are_kept(self) -> None:
        space = self.spaces()["floats"]
        bounds = {"lengthscale": (2.0, 3.0), "variance": (0.5, 0.6), "noise": (0.2, 0.3)}
        handle = self.make(space.layout, bounds=bounds)
        handle.append(*history(space, 20, 1))
        theta = np.exp(handle.refit().theta[0])
        for value, (low, high) in zip(
            theta, [bounds["lengthscale"]] * 3 + [bounds["variance"], bounds["noise"]], strict=True
        ):
            assert low * (1 - 1e-9) <= value <= high * (1 + 1e-9), f"{theta} is out of {bounds}"

    def test_a_planned_refit_survives_a_verb_that_fails(self) -> None:
        space = Space(x=Float(0.0, 1.0))
        U, Y = history(space, 40, 0)
        handle = self.make(space.layout)
        handle.begin_refit(0)
        handle.truncate(0)
        handle.append(U, Y)
        handle.begin_refit(40)
        try:
            handle.set_theta(np.array([[0.0, 800.0, -5.0]]))
        except NumericalError:
            handle.finish_refit()
            return
        raise AssertionError("set_theta must refuse a variance of e^800")
