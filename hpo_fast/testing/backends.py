"""The contract kit for backends: what each handle of a Gaussian process must keep, compared with the reference.

Plain assertions with messages of their own, so that the kit needs no test runner; pytest collects a subclass by name.
"""

# ruff: noqa: D102 - the names of the tests say what they assert

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_fast.backends.base import KERNELS, UTILITIES, Surrogate, Utility
from hpo_fast.backends.reference import GaussianProcess as Reference
from hpo_fast.backends.reference_utility import log_h
from hpo_fast.errors import NumericalError
from hpo_fast.space import Between, Categorical, Float, Int, Ordinal, Space
from hpo_fast.space.layout import Layout

FloatArray = npt.NDArray[np.float64]

# Two correct implementations differ by rounding times the condition of K: eps x (n s2 / noise), 1e-16 x 1e5 here, and a
# few digits more through exp and the sums of a thousand terms.
CLOSE = 1e-8
# A ladder step of 1e-8 leaves a condition of 1e10 or so.
LOOSE = 1e-4


class Kit:
    """What all kits of backends share: handles and spaces."""

    def make(self, layout: Layout, **options: Any) -> Surrogate:
        """Build a new handle; the options are those of `hpo_fast.backends.gaussian_process`."""
        raise TypeError(f"{type(self).__name__}: make must be defined; let it return a new handle.")

    def spaces(self) -> Mapping[str, Space]:
        """Give the spaces to run on."""
        return {
            "one float": Space(x=Float(0.0, 1.0)),
            "floats": Space(x=Float(0.0, 1.0), y=Float(-1.0, 2.0), z=Float(1e-4, 1.0, log=True)),
            "mixed": Space(
                x=Float(0.0, 1.0),
                units=Int(1, 300, log=True),
                step=Float(0.0, 1.0, step=0.15),
                size=Ordinal([16, 64, 256]),
                kind=Categorical(["a", "b", "c"]),
            ),
            "conditional": Space(
                optimizer=Categorical(["sgd", "adam", "none"]),
                lr=Float(1e-4, 1.0, log=True).when(optimizer=["sgd", "adam"]),
                momentum=Float(0.0, 0.99).when(optimizer="sgd"),
                layers=Int(1, 4),
                nesterov=Categorical([False, True]).when(optimizer="sgd", layers=Between(2, 3)),
                damping=Float(0.0, 1.0).when(momentum=Between(0.5, 0.99)),
            ),
            "finite": Space(
                n=Int(1, 4), kind=Categorical(["a", "b", "c"]), flag=Categorical([False, True]).when(kind="a")
            ),
            "choices": Space(**{f"c{i}": Categorical(list("abcdef")) for i in range(6)}),
        }


class BackendKit(Kit):
    """What the kits share where a handle is exact: pairs of handles, comparisons."""

    def pairs(self, n: int = 40, **options: Any) -> Iterator[tuple[str, Space, Surrogate, Reference]]:
        """Give, for each space, a handle and a reference that were told the same n rows, at a theta of their own."""
        for seed, (name, space) in enumerate(self.spaces().items()):
            U, Y = history(space, n, seed)
            ours, theirs = self.make(space.layout, **options), Reference(space.layout, **options)
            theta = np.random.default_rng(seed).normal(0.0, 0.4, ours.theta.shape)
            theta[:, -1] = -5.0
            for handle in (ours, theirs):
                handle.set_theta(theta)
                handle.append(U, Y)
            yield name, space, ours, theirs

    def assert_same_state(self, one: Surrogate, other: Surrogate, space: Space, message: str) -> None:
        """Assert that two handles agree bit for bit, in everything they tell."""
        X = points(space, 7, 99)
        assert one.n == other.n, f"{message}: n = {one.n} and {other.n}"
        for what, read in _READINGS.items():
            a, b = read(one, X), read(other, X)
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True)), f"{message}: {what} differ\n{a}\n{b}"


class BackendContract(BackendKit):
    """What every backend keeps, but of refits and of the local model: these have kits of their own.

    Subclass it, give `make`, and let pytest collect the subclass; so too `RefitContract`, `LocalContract` and
    `LocalStateContract`.

    class TestMine(hpo_fast.testing.BackendContract):
        def make(self, layout, **options):
            return MyHandle(layout, **options)
    """

    # -- the same numbers as the reference ---------------------------------------------------------------------------

    def test_nothing_told(self) -> None:
        for space in self.spaces().values():
            handle = self.make(space.layout)
            X = points(space, 5, 0)
            b = space.layout.b
            assert (handle.n, handle.d, handle.k) == (0, space.d, 1)
            expected = [*np.full(b, np.log(np.exp(np.sqrt(2.0) - 3.0) * np.sqrt(b))), 0.0, -5.0]
            assert_close(handle.theta, [expected], 1e-12, "theta of a new handle")
            mean, var = handle.predict(X)
            assert_close(mean, np.zeros((5, 1)), 0.0, "the mean before anything is told")
            assert_close(var, np.ones((5, 1)), 1e-15, "the variance before anything is told")
            assert handle.log_likelihood(handle.theta)[0][0] == 0.0
            theta = handle.theta
            fit = handle.refit()
            assert np.array_equal(fit.theta, theta) and fit.log_likelihood[0] == 0.0, (
                "a refit on nothing must move nothing"
            )
            assert handle.incumbent() == 0.0
            found = handle.maximise(Utility(), 2, None, (0, 0))
            assert_representable(space, found.U)
            handle.append(np.empty((0, space.d)), np.empty((0, 1)))
            assert handle.n == 0

    def test_one_row(self) -> None:
        for _, space, ours, theirs in self.pairs(n=1):
            self._agree(ours, theirs, space, CLOSE)
            assert_representable(space, ours.maximise(Utility(), 1, None, (0, 1)).U)
            assert np.all(np.isfinite(ours.refit().theta))

    def test_likelihood_agrees(self) -> None:
        for kernel, mean, prior in product(KERNELS, ("constant", "zero"), ("default", None)):
            for name, _, ours, theirs in self.pairs(kernel=kernel, mean=mean, prior=prior):
                theta = theirs.theta + 0.1
                for with_prior in (False, True):
                    value, slope = ours.log_likelihood(theta, gradient=True, prior=with_prior)
                    expected, d_expected = theirs.log_likelihood(theta, gradient=True, prior=with_prior)
                    what = f"{kernel}, {mean} mean, prior {prior} ({with_prior}), {name}"
                    assert_close(value, expected, CLOSE, f"log likelihood, {what}")
                    assert slope is not None and d_expected is not None
                    assert_close(slope, d_expected, 1e-7, f"its gradient, {what}")
                    assert ours.log_likelihood(theta, prior=with_prior)[1] is None

    def test_predictions_agree(self) -> None:
        for kernel in KERNELS:
            for _, space, ours, theirs in self.pairs(kernel=kernel):
                self._agree(ours, theirs, space, CLOSE)

    def test_gradients_are_those_of_the_values(self) -> None:
        # Central differences with h = 1e-5: truncation h^2 = 1e-10 times a third derivative of up to 1e3 or so,
        # rounding 1e-16 / 1e-5 times the condition.
        h = 1e-5
        for kernel in KERNELS:
            for name, space, ours, _ in self.pairs(kernel=kernel):
                theta = ours.theta
                _, slope = ours.log_likelihood(theta, gradient=True, prior=True)
                assert slope is not None
                for i in range(theta.shape[1]):
                    step = np.zeros_like(theta)
                    step[0, i] = h
                    up = ours.log_likelihood(theta + step, prior=True)[0]
                    down = ours.log_likelihood(theta - step, prior=True)[0]
                    assert_close(
                        slope[:, i], (up - down) / (2 * h), 1e-5, f"d log posterior / d theta[{i}], {kernel}, {name}"
                    )
                X = points(space, 5, 3)
                d_mean, d_var = ours.predict(X, gradient=True)[2:]
                for j, c in enumerate(space.layout.start[:-1]):
                    if space.layout.kind[j] == 2:
                        assert not d_mean[:, :, c].any() and not d_var[:, :, c].any(), "a choice has no gradient"
                        continue
                    step_u = np.zeros(space.d)
                    step_u[c] = h
                    above, below = ours.predict(X + step_u), ours.predict(X - step_u)
                    for slope_u, at, what in ((d_mean, 0, "mean"), (d_var, 1, "var")):
                        numeric = (above[at] - below[at]) / (2 * h)
                        assert_close(slope_u[:, :, c], numeric, 1e-5, f"d {what} / d u[{c}], {kernel}, {name}")

    def test_scores_agree(self) -> None:
        for name, space, ours, theirs in self.pairs():
            X = points(space, 20, 5)
            for kind in UTILITIES:
                utility = Utility(kind, 2.5)
                score = ours.score(utility, X)
                assert score.shape == (20,)
                assert_close(score, theirs.score(utility, X), 1e-7, f"{kind} on {name}")
            assert_close(ours.incumbent(), theirs.incumbent(), 1e-7, f"the value to improve on, on {name}")

    def test_the_value_to_improve_on(self) -> None:
        """Without noise the best value told; with noise two standard deviations below what is believed, if no less."""
        for noise in (0.0, 1e-3, 0.5):
            for name, space in self.spaces().items():
                U, Y = history(space, 70, 3)
                handle = self.make(space.layout, standardise=False, noise=noise)
                handle.append(U, Y)
                mean, var = (part[:, 0] for part in handle.predict(U[np.argsort(Y[:, 0], kind="stable")[:50]]))
                expected = max(np.min(Y), np.min(mean - 2.0 * np.sqrt(var)))
                # Without noise, equal points with different values leave nothing but what the jitter makes of them.
                tolerance = 1e-4 if noise == 0.0 else 1e-7
                assert_close(handle.incumbent(), expected, tolerance, f"noise of {noise} on {name}")
                X = points(space, 5, 1)
                (mean, var), ei = (part[:, 0] for part in handle.predict(X)), handle.score(Utility("ei"), X)
                sd = np.sqrt(var)
                z = (expected - mean) / sd
                assert_close(ei, sd * np.exp(log_h(z)), tolerance, f"noise of {noise} on {name}")

    def test_warp_agrees(self) -> None:
        space = self.spaces()["floats"]
        rng = np.random.default_rng(0)
        plain = rng.normal(size=9)
        columns = {
            "an outlier": np.r_[plain, 1e30],
            "an outlier whose square is infinite": np.r_[plain, 1e300],
            "an outlier, beside small values": np.r_[1e-30 * plain, 1e300],
            "two hundred decades": 10.0 ** np.linspace(-100.0, 100.0, 20),
            "the largest doubles": np.r_[-1.7e308, -1.7e308, -1.7e308, 1.0, 1.7e308, 1.7e308, 1.7e308],
            "ties": np.round(plain),
            "two values": np.r_[1.0, 2.0],
            "one value": np.r_[3.0],
            "the best half equal": np.r_[0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 5.0],
            "all equal": np.full(5, 7.25),
            "equal up to rounding": 1.0 + 1e-15 * np.arange(5),
            "failed rows": np.r_[plain, np.inf, np.inf],
            "failed rows only": np.full(3, np.inf),
            "failed and one more": np.r_[np.inf, 2.0],
            "huge": 1e300 * plain,
            "huge of both signs": np.r_[-1e300, 1e300, 0.0, 3.0],
            "tiny": 1e-300 * plain,
            "least": 5e-324 * (plain > 0.0),
            "shifted": 1e6 + 1e-3 * plain,
        }
        for what, y in columns.items():
            U = points(space, len(y), 1)
            for standardise in (True, False):
                if not standardise and np.max(np.abs(y[np.isfinite(y)]), initial=0.0) > 1e9:
                    continue  # as they are, huge values only show the rounding
                ours, theirs = (f(space.layout, standardise=standardise) for f in (self.make, Reference))
                for handle in (ours, theirs):
                    handle.append(U, y[:, None])
                unit = float(theirs.scale[0])
                # What subtracting the mean leaves; far above the third quartile are those that the warp compresses.
                plain_ones = y[np.isfinite(y)] if np.any(np.isfinite(y)) else np.zeros(1)
                rounding = float(np.max(np.abs(np.quantile(plain_ones, [0.0, 0.75])))) / unit
                tolerance = CLOSE + 1e-15 * rounding
                assert_close(ours.shift / unit, theirs.shift / unit, tolerance, f"shift, {what}")
                assert_close(ours.scale / unit, theirs.scale / unit, tolerance, f"scale, {what}")
                self._agree(ours, theirs, space, 10.0 * tolerance)
                assert np.all(np.isfinite(ours.predict(U)[0])), what

    def test_known_noise(self) -> None:
        space = self.spaces()["floats"]
        U, Y = history(space, 20, 4)
        noise = np.full((20, 1), np.nan)
        noise[:7, 0] = 10.0 ** np.linspace(-6.0, 1.0, 7)
        for standardise in (True, False):
            ours, theirs = (f(space.layout, standardise=standardise) for f in (self.make, Reference))
            plain = self.make(space.layout, standardise=standardise)
            for handle in (ours, theirs):
                handle.append(U, 3.0 * Y, noise)
            plain.append(U, 3.0 * Y, np.full((20, 1), np.nan))
            self._agree(ours, theirs, space, CLOSE)
            slope, expected = (h.log_likelihood(h.theta, gradient=True)[1] for h in (ours, theirs))
            assert slope is not None and expected is not None
            assert_close(slope, expected, 1e-7, "the gradient with known noise")
            assert not np.allclose(ours.predict(U)[0], plain.predict(U)[0]), "known noise has no effect"
            # A row of little noise pins the function down, one of much noise does not.
            var = ours.predict(U[:7])[1][:, 0]
            assert var[0] < 1e-4 and var[0] < var[6]

    def test_fixed_noise(self) -> None:
        space = self.spaces()["floats"]
        U, Y = history(space, 25, 4)
        ours, theirs = (f(space.layout, noise=1e-6) for f in (self.make, Reference))
        for handle in (ours, theirs):
            handle.append(U, Y)
            assert_close(handle.theta[:, -1], [np.log(1e-6)], 1e-12, "the entry of a fixed noise")
            theta = handle.theta
            theta[0, -1] = 0.0
            handle.set_theta(theta)
            assert_close(handle.theta[:, -1], [np.log(1e-6)], 1e-12, "the entry of a fixed noise")
        self._agree(ours, theirs, space, 1e-7)
        for prior in (False, True):
            value, slope = ours.log_likelihood(ours.theta, gradient=True, prior=prior)
            assert slope is not None and slope[0, -1] == 0.0
            assert_close(value, theirs.log_likelihood(theirs.theta, prior=prior)[0], CLOSE, "with fixed noise")
        assert_close(ours.refit().theta[:, -1], [np.log(1e-6)], 1e-12, "a refit with fixed noise")

    def test_failed_rows_count_as_the_worst(self) -> None:
        space = self.spaces()["floats"]
        U, Y = history(space, 12, 2)
        Y[[3, 8]] = np.inf
        ours, theirs = self.make(space.layout), Reference(space.layout)
        for handle in (ours, theirs):
            handle.append(U[:9], Y[:9])
            handle.append(U[9:], Y[9:])
        self._agree(ours, theirs, space, CLOSE)
        assert ours.predict(U[[3]])[0][0, 0] > np.median(ours.predict(U)[0])

    # -- the guard ---------------------------------------------------------------------------------------------------

    def test_equal_rows_are_merged(self) -> None:
        """Without noise equal rows are one row with their mean; values are told as they are, so this can be checked."""
        for name, space in self.spaces().items():
            U = unique(points(space, 8, 6))
            y = np.cos(np.arange(len(U), dtype=np.float64))[:, None]
            ours, merged = (self.make(space.layout, standardise=False, noise=0.0) for _ in range(2))
            ours.append(np.concatenate([U, U[:2], U[:1]]), np.concatenate([y + 0.0, y[:2] + 3.0, y[:1] + 6.0]))
            expected = y.copy()
            expected[0] += 3.0
            if len(y) > 1:
                expected[1] += 1.5
            merged.append(U, expected)
            assert ours.n == len(U) + len(np.concatenate([U[:2], U[:1]])), "merged rows are still told rows"
            X = points(space, 6, 7)
            for a, b, what in zip(ours.predict(X), merged.predict(X), ("mean", "var"), strict=True):
                assert_close(a, b, LOOSE, f"{what} with merged rows on {name}")
            a, b = (h.log_likelihood(h.theta)[0] for h in (ours, merged))
            assert_close(a, b, LOOSE, f"log likelihood with merged rows on {name}")
            ours.truncate(len(U))
            merged.truncate(0)
            merged.append(U, y)
            self.assert_same_state(ours, merged, space, f"equal rows forgotten again on {name}")

    def test_close_rows_get_jitter(self) -> None:
        space = self.spaces()["floats"]
        U, Y = history(space, 15, 3)
        near = U[:5] + np.where(U[:5] < 0.5, 3e-8, -3e-8)
        for noise in (0.0, None):
            ours, theirs = (f(space.layout, noise=noise) for f in (self.make, Reference))
            for handle in (ours, theirs):
                handle.append(np.concatenate([U, near, U[:3]]), np.concatenate([Y, Y[:5], Y[:3]]))
            self._agree(ours, theirs, space, LOOSE)
            assert_close(ours.predict(U)[0], theirs.predict(U)[0], LOOSE, "the mean at close rows")
            assert np.all(np.isfinite(ours.refit().theta[:, :-1]))

    # -- one state, however it was reached ---------------------------------------------------------------------------

    def test_append_in_parts_or_at_once_is_the_same(self) -> None:
        for n in (70, 200):  # over the edges of whatever panels a backend has
            for name, space in self.spaces().items():
                U, Y = history(space, n, 1)
                Y[5] = np.inf
                noise = np.full((n, 1), np.nan)
                noise[10:13] = 0.01
                whole, parts, later = (self.make(space.layout) for _ in range(3))
                whole.append(U, Y, noise)
                for first in [*range(0, n - 20, 13), *range(n - 20, n)]:
                    last = first + 1 if first >= n - 20 else min(first + 13, n - 20)
                    parts.append(U[first:last], Y[first:last], noise[first:last])
                theta = later.theta
                later.set_theta(theta + 0.3)
                later.append(U, Y, noise)
                later.set_theta(theta)
                self.assert_same_state(whole, parts, space, f"{n} rows in parts on {name}")
                self.assert_same_state(whole, later, space, f"{n} rows, theta set later, on {name}")

    def test_truncate_undoes_append(self) -> None:
        for name, space in self.spaces().items():
            U, Y = history(space, 80, 1)
            for n in (0, 1, 30, 64, 79):
                before, handle = self.make(space.layout), self.make(space.layout)
                for h in (before, handle):
                    h.append(U[:n], Y[:n])
                handle.append(U[n:], Y[n:])
                handle.truncate(n)
                self.assert_same_state(handle, before, space, f"truncated to {n} rows on {name}")
                for h in (before, handle):
                    h.append(U[n : n + 1], Y[n : n + 1])
                self.assert_same_state(handle, before, space, f"truncated to {n} rows and gone on, on {name}")

    def test_reading_changes_nothing(self) -> None:
        for name, space, handle, _ in self.pairs(n=20):
            before = self.make(space.layout)
            before.set_theta(handle.theta)
            before.append(*history(space, 20, list(self.spaces()).index(name)))
            handle.log_likelihood(handle.theta + 0.5, gradient=True, prior=True)
            handle.predict(points(space, 3, 0), gradient=True)
            handle.sample(points(space, 3, 0), 2, (0, 0))
            handle.maximise(Utility(), 2, points(space, 2, 8), (3, 4), avoid_known=True)
            handle.theta[:] = 0.0
            handle.shift[:] = 5.0
            self.assert_same_state(handle, before, space, f"after reading only, on {name}")

    def test_errors_leave_everything_as_it_was(self) -> None:
        space = self.spaces()["conditional"]
        handle, before = self.make(space.layout), self.make(space.layout)
        U, Y = history(space, 10, 1)
        for h in (handle, before):
            h.append(U, Y)
        nan_u, inf_u = U.copy(), U.copy()
        nan_u[0, 0], inf_u[0, 3] = np.nan, np.inf
        bad_theta = handle.theta
        bad_theta[0, 1] = np.nan
        wrong: dict[str, Callable[[], object]] = {
            "U of another width": lambda: handle.append(U[:, :-1].copy(), Y),
            "Y of another length": lambda: handle.append(U, Y[:-1]),
            "Y of one dimension": lambda: handle.append(U, Y[:, 0].copy()),
            "NaN where a block always exists": lambda: handle.append(nan_u, Y),
            "an infinite code": lambda: handle.append(inf_u, Y),
            "NaN for a value": lambda: handle.append(U, np.where(np.arange(10)[:, None] == 4, np.nan, Y)),
            "-inf for a value": lambda: handle.append(U, np.where(np.arange(10)[:, None] == 4, -np.inf, Y)),
            "a negative noise": lambda: handle.append(U, Y, np.full((10, 1), -1.0)),
            "an infinite noise": lambda: handle.append(U, Y, np.full((10, 1), np.inf)),
            "noise of another shape": lambda: handle.append(U, Y, np.ones((9, 1))),
            "truncate to -1": lambda: handle.truncate(-1),
            "truncate to more than there is": lambda: handle.truncate(11),
            "theta of another length": lambda: handle.set_theta(np.zeros((1, 3))),
            "theta with NaN": lambda: handle.set_theta(bad_theta),
            "theta with NaN in log_likelihood": lambda: handle.log_likelihood(bad_theta),
            "predict at another width": lambda: handle.predict(np.zeros((2, 3))),
            "predict at NaN": lambda: handle.predict(nan_u),
            "score at another width": lambda: handle.score(Utility(), np.zeros((2, 3))),
            "no points to maximise": lambda: handle.maximise(Utility(), 0, None, (0, 0)),
            "pending of another width": lambda: handle.maximise(Utility(), 1, np.zeros((2, 3)), (0, 0)),
            "starts of another width": lambda: handle.maximise(Utility(), 1, None, (0, 0), starts=np.zeros((2, 3))),
            "a negative number of samples": lambda: handle.sample(U, -1, (0, 0)),
        }
        for what, call in wrong.items():
            try:
                call()
            except ValueError:
                pass
            else:
                raise AssertionError(f"ValueError expected for {what}")
            self.assert_same_state(handle, before, space, f"after {what}")

    def test_bad_options_are_refused(self) -> None:
        layout = self.spaces()["floats"].layout
        options: list[dict[str, Any]] = [
            {"kernel": "cubic"},
            {"mean": "linear"},
            {"prior": "flat"},
            {"noise": -1.0},
            {"outputs": 2},
            {"bounds": {"theta": (0.1, 1.0)}},
            {"bounds": {"noise": (0.0, 1.0)}},
            {"bounds": {"noise": (2.0, 1.0)}},
        ]
        for wrong in options:
            try:
                self.make(layout, **wrong)
            except ValueError:
                continue
            raise AssertionError(f"ValueError expected for {wrong}")

    def test_inputs_are_left_alone(self) -> None:
        space = self.spaces()["conditional"]
        U, Y = history(space, 10, 1)
        noise, X, pending, starts = np.full((10, 1), 0.1), points(space, 4, 2), points(space, 2, 3), points(space, 2, 4)
        handle = self.make(space.layout)
        theta = handle.theta
        arrays = (U, Y, noise, X, pending, starts, theta)
        copies = [a.copy() for a in arrays]
        for array in arrays:
            array.flags.writeable = False
        handle.append(U, Y, noise)
        handle.set_theta(theta)
        handle.log_likelihood(theta, gradient=True, prior=True)
        handle.predict(X, gradient=True)
        handle.score(Utility(), X)
        handle.sample(X, 2, (0, 0))
        handle.maximise(Utility(), 2, pending, (0, 0), starts=starts)
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(arrays, copies, strict=True)), (
            "an input was changed"
        )
        U.flags.writeable = Y.flags.writeable = noise.flags.writeable = True
        before = handle.predict(X)
        for array in (U, Y, noise):
            array[:] = 0.5
        assert all(np.array_equal(a, b) for a, b in zip(before, handle.predict(X), strict=True)), (
            "inputs must be copied"
        )

    # -- the samples -------------------------------------------------------------------------------------------------

    def test_samples_have_the_moments_of_the_posterior(self) -> None:
        for name, space, handle, _ in self.pairs(n=15):
            X = points(space, 3, 6)
            draws = handle.sample(X, 4000, (1, 2))
            assert draws.shape == (4000, 3, 1)
            assert np.array_equal(draws, handle.sample(X, 4000, (1, 2))), "one key, two draws"
            assert not np.array_equal(draws, handle.sample(X, 4000, (1, 3))), "two keys, one draw"
            mean, var = handle.predict(X)
            sd = np.sqrt(var)
            # Five standard errors: of the mean sd/sqrt(N), of the variance var sqrt(2/N).
            assert np.all(np.abs(draws.mean(axis=0) - mean) <= 5 * sd / np.sqrt(4000) + 1e-6), f"the mean on {name}"
            assert np.all(np.abs(draws.var(axis=0) - var) <= 5 * var * np.sqrt(2 / 4000) + 1e-6), (
                f"the variance on {name}"
            )
            if name == "one float":
                close = np.array([[0.5], [0.5 + 1e-7]])
                pair = handle.sample(close, 200, (0, 0))
                assert np.max(np.abs(pair[:, 0] - pair[:, 1])) < 1e-3, "neighbours must be drawn jointly"

    # -- the search --------------------------------------------------------------------------------------------------

    def test_maximise_gives_points_of_the_space(self) -> None:
        for name, space, handle, _ in self.pairs(n=20):
            for kind in UTILITIES:
                found = handle.maximise(Utility(kind), 1, None, (5, 6))
                assert found.U.shape == (1, space.d) and found.values.shape == (1,)
                assert found.mean.shape == found.var.shape == (1, 1)
                assert found.optima.ndim == 2 and found.optima.shape[1] == space.d and len(found.optima) >= 1
                assert_representable(space, found.U)
                assert_representable(space, found.optima)
                assert_close(found.values, handle.score(Utility(kind), found.U), 1e-6, f"the value of {kind} on {name}")
                mean, var = handle.predict(found.U)
                assert_close(found.mean, mean, 1e-6, f"the mean on {name}")
                assert_close(found.var, var, 1e-6, f"the variance on {name}")
                again = handle.maximise(Utility(kind), 1, None, (5, 6))
                assert np.array_equal(found.U, again.U, equal_nan=True), "one key, two answers"
                assert np.array_equal(found.optima, again.optima, equal_nan=True), "one key, two answers"

    def test_maximise_finds_the_best(self) -> None:
        for name, space, handle, reference in self.pairs(n=25):
            found = handle.maximise(Utility(), 1, None, (7, 8))
            best = np.max(handle.score(Utility(), points(space, 2000, 9)))
            assert found.values[0] >= best - 1e-6, f"2000 random points beat the search on {name}"
            oracle = reference.maximise(Utility(), 1, None, (7, 8), n_candidates=8192, n_starts=40)
            # Log EI: 0.05 is 95 % of the improvement that the oracle's point promises.
            reached = reference.score(Utility(), found.U)[0]
            assert reached >= oracle.values[0] - 0.05, f"{reached:.4f} against {oracle.values[0]:.4f} on {name}"

    def test_maximise_uses_the_starts(self) -> None:
        """A dip that no random candidate in 20 dimensions meets is found when a start lies on its slope."""
        space = Space(**{f"x{i}": Float(0.0, 1.0) for i in range(20)})
        handle = self.make(space.layout, standardise=False, noise=1e-6)
        handle.set_theta(np.array([[*np.full(20, np.log(0.05)), 0.0, 0.0]]))
        told = np.full((3, 20), [[0.37], [0.8], [0.1]])  # the dip, a deeper one, and a height
        handle.append(told, np.array([[-3.0], [-3.2], [1.0]]))
        without, given = (handle.maximise(Utility("ucb", 0.0), 1, None, (0, 1), s) for s in (None, told[:1] + 0.004))
        assert given.values[0] >= without.values[0] - 1e-6
        assert np.min(np.max(np.abs(given.optima - 0.37), axis=1)) < 0.05, "no optimum near the start that was given"

    def test_maximise_respects_pending_points(self) -> None:
        for name, space, handle, _ in self.pairs(n=20):
            asked: FloatArray = np.empty((0, space.d))
            for i in range(6):
                found = handle.maximise(Utility(), 1, asked, (9, i))
                assert_representable(space, found.U)
                asked = np.concatenate([asked, found.U])
            assert distinct(asked), f"six asks in a row repeat a point on {name}:\n{asked}"
            batch = handle.maximise(Utility(), 4, None, (9, 0))
            assert_representable(space, batch.U)
            assert distinct(batch.U), f"a batch repeats a point on {name}:\n{batch.U}"
            assert batch.values.shape == (4,) and batch.mean.shape == batch.var.shape == (4, 1)

    def test_pending_points_are_believed(self) -> None:
        """Given pending points, the value is that of a handle that was told their means."""
        for name, space in self.spaces().items():
            U, Y = history(space, 15, 3)
            pending = points(space, 3, 11)
            handle, told = (self.make(space.layout, standardise=False) for _ in range(2))
            handle.append(U, Y)
            told.append(U, Y)
            known = np.full((3, 1), 1e-6 * np.exp(handle.theta[0, -2]))
            told.append(pending, handle.predict(pending)[0], known)
            found = handle.maximise(Utility(), 1, pending, (1, 1))
            assert_close(found.values, told.score(Utility(), found.U), 1e-6, f"the value with pending points on {name}")
            assert_close(found.mean, handle.predict(found.U)[0], 1e-8, f"the mean with pending points on {name}")
            assert_close(found.var, told.predict(found.U)[1], 1e-6, f"the variance with pending points on {name}")

    def test_failed_points_are_avoided_in_any_case(self) -> None:
        space = self.spaces()["finite"]
        everything = unique(points(space, 4000, 0))
        Y = np.where(np.arange(16) < 15, np.inf, 0.0)[:, None]
        handle = self.make(space.layout)
        handle.append(everything, Y)
        found = handle.maximise(Utility("ucb"), 1, None, (5, 6))
        assert np.array_equal(found.U, everything[15:], equal_nan=True), "fifteen points of sixteen have failed"

    def test_a_failing_verb_changes_nothing(self) -> None:
        """A point so far out that the covariance overflows, and parameters so large that it does, leave no trace."""
        space = self.spaces()["floats"]
        U, Y = history(space, 70, 1)
        handle, other = self.make(space.layout), self.make(space.layout)
        handle.append(U, Y)
        other.append(U, Y)
        far = np.concatenate([U[:2], np.full((1, space.d), 1e170)])
        try:
            handle.append(far, Y[:3])
        except NumericalError as error:
            assert error.row == 72, f"the row is counted from the first one told, but the error says {error.row}"
        else:
            raise AssertionError("a covariance that is not finite must be a NumericalError")
        self.assert_same_state(handle, other, space, "after an append that failed")
        huge = handle.theta
        huge[0, -2] = 800.0
        for verb in (handle.set_theta, handle.log_likelihood):
            try:
                verb(huge)
            except NumericalError:
                pass
            else:
                raise AssertionError(f"{verb.__name__} at a variance of e^800 must be a NumericalError")
        self.assert_same_state(handle, other, space, "after a theta that failed")

    def test_a_failing_truncate_changes_nothing(self) -> None:
        """What is left is so much alike that a known variance, in units of its spread, is more than a number."""
        space = self.spaces()["floats"]
        U = points(space, 4, 1)
        Y = np.array([[0.0], [1e-10], [2e-10], [1.0]])
        known = np.array([[1e300], [np.nan], [np.nan], [np.nan]])
        handle, other = self.make(space.layout), self.make(space.layout)
        handle.append(U, Y, known)
        other.append(U, Y, known)
        try:
            handle.truncate(3)
        except NumericalError:
            pass
        else:
            raise AssertionError("a variance of 1e300 at a spread of 1e-10 must be a NumericalError")
        assert handle.n == 4
        self.assert_same_state(handle, other, space, "after a truncate that failed")
        handle.maximise(Utility(), 1, None, (0, 0))

    def test_what_is_very_far_is_not_seen(self) -> None:
        space = self.spaces()["floats"]
        handle = self.make(space.layout, standardise=False, mean="zero", prior=None)
        handle.append(np.zeros((1, space.d)), np.ones((1, 1)))
        far = np.zeros((3, space.d))
        far[:, 0] = (1e100, 1e150, 5e152)
        mean, var, d_mean, d_var = handle.predict(far, gradient=True)
        assert np.all(mean == 0.0) and np.all(d_mean == 0.0) and np.all(d_var == 0.0), "no covariance, no mean"
        np.testing.assert_allclose(var, np.exp(handle.theta[0, -2]), rtol=1e-15)

    def test_known_points_are_avoided(self) -> None:
        space = self.spaces()["finite"]
        everything = unique(points(space, 4000, 0))
        assert len(everything) == 16
        rng = np.random.default_rng(0)
        for left in (1, 2, 16):
            order = rng.permutation(16)
            told, free = everything[order[left:]], everything[order[:left]]
            handle = self.make(space.layout)
            handle.append(told, rng.normal(size=(len(told), 1)))
            for pending in (None, free[1:]):
                found = handle.maximise(Utility(), 1, pending, (2, 3), avoid_known=True)
                allowed = free if pending is None else free[:1]
                assert _contains(allowed, found.U[0]), f"{found.U[0]} was told, but {allowed} are left"
        handle = self.make(space.layout)
        handle.append(everything, rng.normal(size=(16, 1)))
        assert_representable(space, handle.maximise(Utility(), 1, None, (2, 3), avoid_known=True).U)
        some = handle.maximise(Utility(), 16, None, (2, 3))
        assert distinct(some.U), "sixteen points of sixteen must all be different"
        assert_representable(space, handle.maximise(Utility(), 17, None, (2, 3)).U)

    def test_deterministic_asks_never_repeat(self) -> None:
        for name in ("choices", "mixed"):
            space = self.spaces()[name]
            U, Y = history(space, 40, 2)
            handle = self.make(space.layout, noise=1e-6)
            handle.append(U, Y)
            for i in range(8):
                found = handle.maximise(Utility(), 1, None, (4, i), avoid_known=True)
                assert not _contains(U, found.U[0]), f"a told point again on {name}"
                U = np.concatenate([U, found.U])
                handle.append(found.U, np.array([[-float(i)]]))

    def _agree(self, ours: Surrogate, theirs: Surrogate, space: Space, tolerance: float) -> None:
        X = points(space, 9, 17)
        for a, b, what in zip(ours.predict(X, gradient=True), theirs.predict(X, gradient=True), _PARTS, strict=True):
            assert_close(a, b, tolerance, f"{what} on {space!r}")
        value, expected = (h.log_likelihood(h.theta)[0] for h in (ours, theirs))
        assert_close(value, expected, tolerance, f"log likelihood on {space!r}")


_PARTS = ("mean", "var", "d_mean", "d_var")
_READINGS: dict[str, Callable[[Surrogate, FloatArray], tuple[FloatArray, ...]]] = {
    "theta, shift and scale": lambda handle, X: (handle.theta, handle.shift, handle.scale),
    "predictions": lambda handle, X: handle.predict(X, gradient=True),
    "scores": lambda handle, X: (handle.score(Utility(), X),),
    "likelihoods": lambda handle, X: (handle.log_likelihood(handle.theta)[0],),
}


def points(space: Space, n: int, seed: int) -> FloatArray:
    """Draw n points of a space."""
    return space.from_uniform(np.random.default_rng([seed, n]).random((n, space.d)))


def history(space: Space, n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Draw n points, and values of a smooth function with a level of its own where a block is missing, and noise."""
    U = points(space, n, seed)
    x = np.where(np.isnan(U), 0.8, U)
    weight = 1.0 / (1.0 + np.arange(space.d))
    noise = 0.05 * np.random.default_rng([seed, n, 1]).standard_normal(n)
    return U, (((x - 0.35) ** 2) @ weight + 0.2 * np.sin(7.0 * x[:, 0]) + noise)[:, None]


def unique(U: FloatArray) -> FloatArray:
    """Drop the points that repeat an earlier one."""
    return np.array(list({u.tobytes(): u for u in U}.values()))


def assert_close(value: npt.ArrayLike, expected: npt.ArrayLike, tolerance: float, what: str) -> None:
    """Assert equality within tolerance x (1 + the largest expected size)."""
    value, expected = np.asarray(value), np.asarray(expected)
    assert value.shape == expected.shape, f"{what}: shape {value.shape}, expected {expected.shape}"
    unit = 1.0 + float(np.max(np.abs(expected), initial=0.0))
    error = float(np.max(np.abs(value - expected), initial=0.0))
    assert error <= tolerance * unit, f"{what}: off by {error:.3g}, at most {tolerance * unit:.3g}\n{value}\n{expected}"


def assert_representable(space: Space, U: FloatArray) -> None:
    """Assert that points are those of the space: codes exact but for rounding, NaN just where nothing exists."""
    canonical = space.canonical(U)
    same = np.isnan(U) == np.isnan(canonical)
    close = np.abs(np.nan_to_num(U) - np.nan_to_num(canonical)) <= 1e-12
    assert np.all(same & close), f"not on the grid of {space!r}:\n{U}\n{canonical}"


def distinct(U: FloatArray) -> bool:
    """Say whether all points differ."""
    return not any(_contains(U[:i], U[i]) for i in range(len(U)))


def _contains(U: FloatArray, u: FloatArray) -> bool:
    with np.errstate(invalid="ignore"):
        return bool(np.any(np.all((np.abs(U - u) <= 1e-9) | (np.isnan(U) & np.isnan(u)), axis=1)))
