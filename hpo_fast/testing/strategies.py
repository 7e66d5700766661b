"""The contract kit for strategies: what each must keep, whatever its method.

Plain assertions with messages of their own, so that the kit needs no test runner; pytest collects a subclass by name.
"""
# ruff: noqa: D102 - the name of a test says what it asserts

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from hpo_fast.errors import StrategyError
from hpo_fast.space import Between, Categorical, Constant, Float, Int, Normal, Ordinal, Space
from hpo_fast.strategies.base import FloatArray, Strategy
from hpo_fast.testing.driver import SEED, Driver, same_bits
from hpo_fast.trial import TrialState


class StrategyContract:
    """What every strategy keeps. Subclass it, give `make`, and let pytest collect the subclass::

        class TestMine(hpo_fast.testing.StrategyContract):
            def make(self):
                return Mine()

    Attributes:
        random: False for a strategy that ignores the seed.
        batches_are_sequences: True when ask([3, 4, 5]) gives what three asks give that each see the ones before as
            pending. False for strategies that place a batch jointly.
        several_objectives: False when `start` refuses more than one objective.
        constraints: False when `start` refuses constraints.
        steps: trials that most tests run on each space, >= 6.
    """

    random = True
    batches_are_sequences = True
    several_objectives = True
    constraints = True
    steps = 12

    def make(self) -> Strategy:
        """Build a new strategy, always with the same arguments."""
        raise TypeError(f"{type(self).__name__}: make must be defined; let it return a new strategy.")

    def spaces(self) -> Mapping[str, Space]:
        """Give the spaces to run on; replace it to leave out or add some."""
        plain = Space(
            x=Float(-1.0, 3.0), lr=Float(1e-5, 1e-1, log=True), n=Int(1, 40), kind=Categorical(["a", "b", "c"])
        )
        mixed = Space(
            step=Float(0.0, 1.0, step=0.15),
            units=Int(1, 300, log=True),
            depth=Int(2, 11, step=3),
            size=Ordinal([16, 64, 256]),
            flag=Categorical([None, True, 1, 1.0, "1"]),
            fixed=Constant("on"),
            weight=Float(-4.0, 4.0, prior=Normal(1.0, 0.5)),
        )
        conditional = Space(
            optimizer=Categorical(["sgd", "adam", "none"]),
            lr=Float(1e-4, 1.0, log=True).when(optimizer=["sgd", "adam"]),
            momentum=Float(0.0, 0.99).when(optimizer="sgd"),
            layers=Int(1, 4),
            width=Int(8, 64).when(layers=Between(2, 4)),
            nesterov=Categorical([False, True]).when(optimizer="sgd", layers=Between(2, 3)),
            damping=Float(0.0, 1.0).when(nesterov=False, momentum=Between(0.5, 0.99)),
        )
        return {
            "plain": plain,
            "mixed": mixed,
            "conditional": conditional,
            "one float": Space(x=Float(0.0, 1.0)),
            "one int": Space(n=Int(-3, 3)),
            "one choice": Space(kind=Categorical(["a", "b", "c"])),
            "one point": Space(fixed=Constant(None)),
        }

    def drivers(self) -> list[Driver]:
        """Start a new strategy on each space."""
        return [Driver(self.make(), space) for space in self.spaces().values()]

    def test_arguments_survive_json(self) -> None:
        strategy = self.make()
        again = type(strategy)(**json.loads(json.dumps(strategy.config())))
        assert again.config() == strategy.config()
        for space in self.spaces().values():
            one, other = Driver(self.make(), space), Driver(again, space)
            one.run(3)
            other.run(3)
            _assert_same(one.points(), other.points(), f"config() does not rebuild the strategy, on {space!r}")

    def test_proposals_are_points_of_the_space(self) -> None:
        for driver in self.drivers():
            driver.run(self.steps)  # each proposal is checked by the driver
            assert driver.told, f"no proposal at all for {driver.space!r}"

    def test_same_seed_same_sequence(self) -> None:
        for one, other in zip(self.drivers(), self.drivers(), strict=True):
            one.run(self.steps)
            other.run(self.steps)
            _assert_same(one.points(), other.points(), f"two runs with one seed differ on {one.space!r}")

    def test_another_seed_another_sequence(self) -> None:
        space = self.spaces()["plain"]
        one, other = Driver(self.make(), space, seed=1), Driver(self.make(), space, seed=2**63 - 1)
        one.run(self.steps)
        other.run(self.steps)
        differ = not _same_points(one.points(), other.points())
        assert differ == self.random, "another seed must give another sequence, unless random = False"

    def test_start_forgets_the_study_before(self) -> None:
        spaces = list(self.spaces().values())
        for before, space in zip(spaces[1:] + spaces[:1], spaces, strict=True):
            used = self.make()
            Driver(used, before, seed=7).run(self.steps)
            one, other = Driver(used, space), Driver(self.make(), space)
            one.run(self.steps)
            other.run(self.steps)
            _assert_same(one.points(), other.points(), f"a used strategy differs from a new one on {space!r}")

    def test_asking_changes_nothing(self) -> None:
        for driver in self.drivers():
            for n in range(self.steps):
                first = driver.propose(1 + n % 2)
                again = driver.propose(1 + n % 2)
                what = f"asked twice, two answers after {n} trials on {driver.space!r}"
                _assert_same([p.u for p in first], [p.u for p in again], what)
                assert [p.note for p in first] == [p.note for p in again], "asked twice, two notes"
                driver.tell(driver.ask())

    def test_batches(self) -> None:
        for one, other in zip(self.drivers(), self.drivers(), strict=True):
            for driver in (one, other):
                driver.run(3)
            together = one.ask(3)
            singly = [number for _ in range(3) for number in other.ask()]
            if self.batches_are_sequences:
                assert together == singly, f"{len(together)} at once, but {len(singly)} one by one on {one.space!r}"
                _assert_same(one.points(), other.points(), f"a batch differs from asks one by one on {one.space!r}")
            for driver, numbers in ((one, together), (other, singly)):
                driver.tell(numbers[::-1])
                driver.run(2)

    def test_no_numbers_and_no_trials(self) -> None:
        for driver in self.drivers():
            assert driver.ask(0) == []
            driver.add(np.empty((0, driver.space.d)))
            driver.run(1)
            assert driver.ask(0) == []
            driver.run(1)

    def test_telling_in_parts_or_at_once_is_the_same(self) -> None:
        for driver in self.drivers():
            self._some_history(driver)
            parts, whole = self._fresh(driver), self._fresh(driver)
            for i in range(len(driver.told)):
                driver.tell_strategy(parts, i, i + 1)
            driver.tell_strategy(whole)
            self._assert_goes_on_alike(driver, parts, "told in parts")
            self._assert_goes_on_alike(driver, whole, "told at once")

    def test_saved_midway_goes_on(self) -> None:
        for driver in self.drivers():
            self._some_history(driver)
            state = json.loads(json.dumps(driver.strategy.state_dict()))
            other = self._fresh(driver)
            driver.tell_strategy(other)
            other.load_state_dict(state)
            self._assert_goes_on_alike(driver, other, "saved and loaded")

    def test_a_new_process_goes_on_from_the_journal(self) -> None:
        for driver in self.drivers():
            for _ in range(4):
                driver.run(2)
                driver.ask()  # stays pending
                other = self._fresh(driver)
                driver.tell_strategy(other)
                assert other.done == driver.strategy.done
                self._assert_goes_on_alike(driver, other, "rebuilt from journal and notes")

    def test_a_foreign_state_is_refused(self) -> None:
        driver = self.drivers()[0]
        try:
            driver.strategy.load_state_dict({"a key of no strategy": 1})
        except StrategyError:
            pass
        else:
            raise AssertionError("load_state_dict must refuse a state that is not its own with StrategyError")
        driver.run(2)

    def test_failed_and_pruned_trials_survive(self) -> None:
        for driver in self.drivers():
            for state in (TrialState.FAILED, TrialState.FAILED, TrialState.PRUNED, TrialState.DONE, TrialState.FAILED):
                driver.tell(driver.ask(), state)
            driver.tell(driver.ask(), TrialState.PRUNED, valued=False)
            driver.run(self.steps - 6)
        for driver in self.drivers():  # nothing else but failures
            for _ in range(self.steps):
                driver.tell(driver.ask(), TrialState.FAILED)

    def test_points_of_the_user_and_duplicates_survive(self) -> None:
        for driver in self.drivers():
            space = driver.space
            U = space.from_uniform(np.random.default_rng(3).random((6, space.d)))
            driver.add(np.concatenate([U, U[:2], U[:2]]))
            driver.add(U[:1], TrialState.FAILED)
            number = driver.enqueue(U[-1])
            driver.run(3)
            driver.tell([number])
            driver.tell(driver.ask(2))

    def test_points_are_distinct_when_promised(self) -> None:
        if not self.make().distinct:
            return
        for elsewhere, driver in zip(self.drivers(), self.drivers(), strict=True):
            elsewhere.run(self.steps)
            points = elsewhere.points()
            driver.add(np.array(points[1:3]).reshape(-1, driver.space.d))
            for u in points[4:5]:
                driver.enqueue(u)
            driver.run(self.steps)
            given = [u.tobytes() for u in driver.points()]
            assert len(set(given)) == len(given), f"a point tried or pending is asked again on {driver.space!r}"

    def test_pending_trials_are_respected(self) -> None:
        for driver in self.drivers():
            driver.run(4)
            for _ in range(8):
                driver.ask()
            continuous = any(isinstance(driver.space[name], Float) for name in self._always(driver.space))
            if continuous or driver.strategy.distinct:
                points = [u.tobytes() for u in driver.points()]
                assert len(set(points)) == len(points), f"eight asks in a row repeat a point on {driver.space!r}"

    def test_several_objectives(self) -> None:
        self._accepts_or_refuses((2, 0), self.several_objectives, "several objectives")

    def test_constraints(self) -> None:
        self._accepts_or_refuses((1, 2), self.constraints, "constraints")

    def _accepts_or_refuses(self, n_outputs: tuple[int, int], supported: bool, what: str) -> None:
        space = self.spaces()["plain"]
        try:
            driver = Driver(self.make(), space, n_outputs=n_outputs)
        except StrategyError:
            assert not supported, f"start refuses {what}"
        else:
            assert supported, f"start must refuse {what} with StrategyError"
            driver.run(self.steps)

    def _some_history(self, driver: Driver) -> None:
        """Run trials of all kinds, told out of order, and leave one pending."""
        driver.run(2)
        numbers = driver.ask(3)
        driver.tell(numbers[1:][::-1])
        driver.add(driver.space.from_uniform(np.random.default_rng(5).random((2, driver.space.d))))
        driver.tell(driver.ask(), TrialState.FAILED)
        driver.run(1)

    def _fresh(self, driver: Driver) -> Strategy:
        """Start another strategy on the study of `driver`, before anything is told to it."""
        strategy = self.make()
        strategy.start(driver.space, 1, 0, SEED)
        return strategy

    def _assert_goes_on_alike(self, driver: Driver, other: Strategy, how: str) -> None:
        original, proposals = driver.strategy, driver.propose(2)
        try:
            driver.strategy = other
            others = driver.propose(2)
        finally:
            driver.strategy = original
        what = f"{how}, the next points differ on {driver.space!r}"
        _assert_same([p.u for p in proposals], [p.u for p in others], what)
        assert [p.note for p in proposals] == [p.note for p in others], f"{how}, the next notes differ"

    @staticmethod
    def _always(space: Space) -> list[str]:
        """Name the parameters that exist at every point."""
        children = {space.names[j] for j in space.layout.cond_child.tolist()}
        return [name for name in space.names if name not in children]


def _same_points(one: Sequence[FloatArray], other: Sequence[FloatArray]) -> bool:
    return len(one) == len(other) and all(map(same_bits, one, other))


def _assert_same(one: Sequence[FloatArray], other: Sequence[FloatArray], message: str) -> None:
    assert _same_points(one, other), f"{message}:\n{one}\n{other}"
