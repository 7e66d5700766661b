"""The contract kit for the state of local models: the same bits, however a handle came to its observations."""

# ruff: noqa: D102 - the names of the tests say what they assert

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from hpo_fast.backends.base import Surrogate, Utility
from hpo_fast.backends.reference import GaussianProcess as Reference
from hpo_fast.errors import NumericalError
from hpo_fast.space import Space
from hpo_fast.testing.backends import FloatArray, assert_close, history, points
from hpo_fast.testing.local import LocalKit, crowd, fitted_likelihood, some_theta


class LocalStateContract(LocalKit):
    """The state of the local model. Subclass it, give `make`, and let pytest collect the subclass.

    class TestMine(hpo_fast.testing.LocalStateContract):
        def make(self, layout, **options):
            return MyHandle(layout, **options)
    """

    def assert_same_state(
        self, one: Surrogate, other: Surrogate, space: Space, message: str, search: bool = False
    ) -> None:
        """Assert that two handles agree bit for bit, in everything they tell, and, if wanted, in what they ask."""
        X = points(space, 3, 99)
        assert (one.n, one.regime) == (other.n, other.regime), f"{message}: {one.n}, {one.regime}; {other.n}"
        for what, read in (_READINGS | _SEARCH if search else _READINGS).items():
            a, b = read(one, X), read(other, X)
            same = all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))
            assert same, f"{message}: {what} differ\n{a}\n{b}"

    def some_spaces(self) -> Iterator[tuple[str, Space]]:
        """Give spaces of each kind, for what takes long."""
        for name in ("one float", "mixed", "conditional"):
            yield name, self.spaces()[name]

    # -- one state, however it was reached ---------------------------------------------------------------------------

    def test_append_in_parts_or_at_once_is_the_same(self) -> None:
        for name, space in self.some_spaces():
            U, Y = crowd(space, 220, 1)
            Y[[5, 60, 170]] = np.inf
            noise = np.full((220, 1), np.nan)
            noise[[7, 150]] = 0.01
            for base in (0, 1, 70, 500):  # 0: theta was fitted to nothing; 500: to more than there are
                whole, parts, later = (self.local(space, base) for _ in range(3))
                whole.append(U, Y, noise)
                for first, last in pairwise(CUTS):
                    parts.append(U[first:last], Y[first:last], noise[first:last])
                    if first in (0, 130, 201):
                        parts.predict(U[:1])  # what was made for it must not show later
                later.set_theta(some_theta(space) + 0.3, 40)
                later.append(U, Y, noise)
                later.predict(U[:1])
                later.set_theta(some_theta(space), base)
                self.assert_same_state(
                    whole, parts, space, f"in parts on {name}, base {base}", name == "mixed" and base == 70
                )
                self.assert_same_state(whole, later, space, f"theta set later on {name}, base {base}")

    def test_truncate_undoes_append(self) -> None:
        for name, space in self.some_spaces():
            U, Y = crowd(space, 220, 1)
            for n, base in ((30, 70), (70, 70), (133, 70), (134, 70), (210, 70), (100, 0)):
                before, handle = self.local(space, base), self.local(space, base)
                for h in (before, handle):
                    h.append(U[:n], Y[:n])
                handle.append(U[n:], Y[n:] + 1.0)
                handle.predict(U[:1])
                handle.truncate(n)
                self.assert_same_state(handle, before, space, f"truncated to {n} on {name}")
                for h in (before, handle):
                    h.append(U[n : n + 3], Y[n : n + 3])
                self.assert_same_state(
                    handle, before, space, f"truncated to {n} and gone on, on {name}", name == "mixed" and n == 210
                )

    def test_a_rebuilt_handle_goes_on_as_the_one_that_grew(self) -> None:
        """Grown through refits, at once and in pieces; built anew from theta, what it was fitted to, and the rows."""
        for name, parts in (("floats", 1), ("conditional", 5)):
            space = self.spaces()[name]
            U, Y = crowd(space, 200, 1)
            grown = self.make(space.layout, surrogate="vecchia")
            grown.append(U[:30], Y[:30])
            grown.refit()
            grown.append(U[30:90], Y[30:90])
            grown.predict(U[:1])
            grown.begin_refit(90)
            for part in np.array_split(np.arange(90, 180), parts):
                grown.append(U[part], Y[part])
                grown.predict(U[:1])
                grown.advance_refit(grown.refit_work(90) / 3)
            fit = grown.finish_refit()
            rebuilt = self.make(space.layout, surrogate="vecchia")
            rebuilt.set_theta(fit.theta, 90)
            rebuilt.append(U[:180], Y[:180])
            self.assert_same_state(grown, rebuilt, space, f"rebuilt on {name}", search=True)
            assert np.array_equal(fit.log_likelihood, fitted_likelihood(rebuilt))
            for handle in (grown, rebuilt):
                handle.append(U[180:], Y[180:])
            self.assert_same_state(grown, rebuilt, space, f"gone on, on {name}")

    def test_a_refit_reaches_what_that_of_the_exact_model_does(self) -> None:
        space = self.spaces()["floats"]
        local, exact = self.make(space.layout, surrogate="vecchia"), self.make(space.layout)
        for handle in (local, exact):
            handle.append(*history(space, 150, 2))
        fit, expected = local.refit(), exact.refit()
        assert_close(fit.theta, expected.theta, 1e-12, "theta is fitted to the observations as they are")
        assert_close(fit.log_likelihood, expected.log_likelihood, 1e-3, "the log likelihood of the fit")
        assert_close(fit.log_posterior, expected.log_posterior, 1e-3, "the log posterior of the fit")

    def test_maximise_leaves_the_handle_as_it_was(self) -> None:
        for name, space in self.some_spaces():
            handle, other = self.local(space, 90), self.local(space, 90)
            for h in (handle, other):
                h.append(*crowd(space, 170, 90))
            handle.maximise(Utility(), 2, points(space, 4, 8), (3, 4), starts=points(space, 2, 9), avoid_known=True)
            self.assert_same_state(handle, other, space, f"after a search on {name}", search=name == "one float")

    # -- the frozen warp ---------------------------------------------------------------------------------------------

    def test_the_warp_stays_until_theta_is_fitted_again(self) -> None:
        space = self.spaces()["floats"]
        U, Y = history(space, 90, 2)
        handle, base = self.local(space, 60), self.make(space.layout)
        base.append(U[:60], Y[:60])
        handle.append(U[:60], Y[:60])
        handle.append(U[60:], Y[60:] * 1.5)
        assert np.array_equal(handle.shift, base.shift) and np.array_equal(handle.scale, base.scale)
        handle.set_theta(handle.theta, 90)
        assert not np.array_equal(handle.scale, base.scale), (
            "theta is fitted to more, and the warp is still the old one"
        )

    def test_a_value_of_another_world_starts_the_warp_anew(self) -> None:
        space = self.spaces()["floats"]
        U, Y = history(space, 150, 2)
        same = np.full((150, 1), 7.25)
        cases = {
            "far below": (Y, -1e4, 101),
            "constant, then more": (same, 8.0, 101),
            "constant, then less": (same, 7.0, 101),
        }
        cases |= {
            "a failed row": (Y, np.inf, 60),
            "far above": (Y, 1e4, 60),
            "constant, then failed": (same, np.inf, 60),
        }
        cases |= {"failed, then one": (np.full((150, 1), np.inf), 2.0, 101), "huge": (Y, -1e300, 101)}
        for what, (values, other, base) in cases.items():
            told = values.copy()
            told[100] = other
            ours, parts, theirs = (
                self.local(space, 60),
                self.local(space, 60),
                Reference(space.layout, surrogate="vecchia"),
            )
            theirs.set_theta(some_theta(space), 60)
            for handle in (ours, theirs):
                handle.append(U, told)
            for first in (0, 99, 100, 101):
                parts.append(U[first : first + 1 if first else 99], told[first : first + 1 if first else 99])
            parts.append(U[102:], told[102:])
            self.assert_agree(ours, theirs, space, what)
            self.assert_same_state(ours, parts, space, what)
            frozen = self.make(space.layout)
            frozen.append(U[:base], told[:base])
            assert np.array_equal(ours.scale, frozen.scale), f"{what}: the warp is that of {base} rows"
            best = ours.predict(U[[100]])[0][0, 0]
            if what in ("far below", "constant, then less"):
                assert best < np.min(ours.predict(U[:5])[0]), f"{what}: the best value is not seen"

    # -- auto --------------------------------------------------------------------------------------------------------

    def test_auto_changes_at_exact_below_both_ways(self) -> None:
        for name, space in self.some_spaces():
            U, Y = crowd(space, 160, 4)
            noise = np.full((160, 1), np.nan)
            noise[::20] = 0.02
            for fitted in (0, 40):

                def fresh(n: int, fitted: int = fitted, space: Space = space, told: Any = (U, Y, noise)) -> Surrogate:
                    made = self.make(space.layout, surrogate="auto", exact_below=100)
                    made.set_theta(some_theta(space), fitted)
                    made.append(*(part[:n] for part in told))
                    return made

                handle = fresh(0)
                for n, regime in ((60, "exact"), (99, "exact"), (100, "vecchia"), (155, "vecchia")):
                    handle.append(U[handle.n : n], Y[handle.n : n], noise[handle.n : n])
                    assert handle.regime == regime, f"{regime} at {n} rows, but it is {handle.regime}"
                    self.assert_same_state(handle, fresh(n), space, f"grown to {n}, on {name}")
                for n, regime in ((100, "vecchia"), (99, "exact"), (50, "exact"), (0, "exact")):
                    handle.truncate(n)
                    assert handle.regime == regime, f"{regime} at {n} rows, but it is {handle.regime}"
                    self.assert_same_state(handle, fresh(n), space, f"truncated to {n}, on {name}")

    def test_a_refit_that_meets_the_border(self) -> None:
        """Begun in one regime and ended in the other, or gone back and forth meanwhile."""
        space = self.spaces()["floats"]
        U, Y = crowd(space, 100, 4)
        noise = np.full((100, 1), np.nan)
        noise[::20] = 0.02
        for begun, steps in ((60, (90,)), (60, (90, 65)), (60, (65, 85, 68)), (75, (80,)), (60, (68, 95))):
            handle, rebuilt = (self.make(space.layout, surrogate="auto", exact_below=70) for _ in range(2))
            handle.append(U[:begun], Y[:begun], noise[:begun])
            handle.begin_refit(begun)
            for n in steps:
                if n < handle.n:
                    handle.truncate(n)
                else:
                    handle.append(U[handle.n : n], Y[handle.n : n], noise[handle.n : n])
                handle.advance_refit(10.0 * handle.refit_work(begun) if n == steps[0] else 1.0)
            rebuilt.set_theta(handle.finish_refit().theta, begun)
            rebuilt.append(U[: handle.n], Y[: handle.n], noise[: handle.n])
            self.assert_same_state(handle, rebuilt, space, f"begun at {begun}, then {steps}")
            for h in (handle, rebuilt):
                h.truncate(50)
            self.assert_same_state(handle, rebuilt, space, f"begun at {begun}, then {steps}, then 50")

    def test_bad_options_are_refused(self) -> None:
        layout = self.spaces()["floats"].layout
        wrong: dict[str, Callable[[], object]] = {
            "surrogate": lambda: self.make(layout, surrogate="nearest"),
            "exact_below": lambda: self.make(layout, surrogate="auto", exact_below=0),
            "n": lambda: self.make(layout).set_theta(np.zeros((1, 5)), -1),
        }
        for what, call in wrong.items():
            try:
                call()
            except ValueError as error:
                assert f"{what} must be" in str(error)
            else:
                raise AssertionError(f"ValueError expected for {what}")

    def test_what_cannot_be_factorised_leaves_a_handle_to_go_on_with(self) -> None:
        space = self.spaces()["floats"]
        U, Y = crowd(space, 170, 4)
        handle, other = self.local(space, 90), self.local(space, 90)
        other.append(U, Y)
        handle.append(U[:80], Y[:80])
        handle.append(np.full((1, space.d), 1e170), Y[:1])  # its covariance is not a number
        handle.append(U[80:], Y[80:])
        theta = handle.theta
        for verb in (lambda: handle.predict(U[:1]), lambda: handle.maximise(Utility(), 1, None, (0, 0)), handle.refit):
            try:
                verb()
            except NumericalError as error:
                blames = verb == handle.refit or error.row == -1  # a refit fits the exact model, which has rows
                assert blames, "what fails in sums over many rows is the fault of no single one"
            else:
                raise AssertionError("a covariance that is not finite must be a NumericalError")
        assert np.array_equal(handle.theta, theta), "a refit that failed moved theta"
        handle.truncate(80)
        handle.append(U[80:], Y[80:])
        self.assert_same_state(handle, other, space, "after a point out of all bounds")


CUTS = (0, 1, 2, 40, 69, 71, 130, 131, 170, 200, 201, 202, 220)
_READINGS: dict[str, Callable[[Surrogate, FloatArray], tuple[FloatArray, ...]]] = {
    "theta, shift and scale": lambda handle, X: (handle.theta, handle.shift, handle.scale),
    "predictions": lambda handle, X: handle.predict(X, gradient=True),
    "scores": lambda handle, X: (handle.score(Utility(), X),),
    "samples": lambda handle, X: (handle.sample(X, 2, (3, 4)),),
    "likelihoods": lambda handle, X: (handle.log_likelihood(handle.theta)[0], fitted_likelihood(handle)),
}


def _asked(handle: Surrogate, X: FloatArray) -> tuple[FloatArray, ...]:
    found = handle.maximise(Utility(), 2, X[:1], (5, 6))
    return found.U, found.values, found.mean, found.var, found.optima


_SEARCH = {"searches": _asked}
