from __future__ import annotations

import copy

import numpy as np
import pytest

import hpo_fast as hpo
from hpo_fast.errors import StrategyError
from hpo_fast.strategies import GridSearch, QuasiRandomSearch, RandomSearch, Strategy, make_strategy
from hpo_fast.strategies.base import Proposal
from hpo_fast.testing import StrategyContract


class TestRandomSearch(StrategyContract):
    def make(self):
        return RandomSearch()


class TestSobol(StrategyContract):
    def make(self):
        return QuasiRandomSearch()


class TestPlainHalton(StrategyContract):
    random = False

    def make(self):
        return QuasiRandomSearch("halton", scrambled=False)


class TestLatinHypercube(StrategyContract):
    def make(self):
        return QuasiRandomSearch("lhs", block=10)


class TestGridSearch(StrategyContract):
    random = False

    def make(self):
        return GridSearch()


class TestShuffledGridSearch(StrategyContract):
    def make(self):
        return GridSearch(3, order="shuffled", retry_failed=True)


# ---- the kit finds what it is there to find -------------------------------------------------------------------------


class Sound(RandomSearch):
    name = "sound"


class ClockReader(Sound):
    def ask(self, numbers, pending):
        self.asked = getattr(self, "asked", 0) + 1
        return [Proposal(p.u, {"asked": self.asked}) for p in super().ask(numbers, pending)]


class OffTheGrid(Sound):
    def ask(self, numbers, pending):
        return [Proposal(np.clip(p.u + 1e-3, 0.0, 1.0)) for p in super().ask(numbers, pending)]


class OutOfRange(Sound):
    def ask(self, numbers, pending):
        return [Proposal(p.u + 1.0) for p in super().ask(numbers, pending)]


class FillsWhatDoesNotExist(Sound):
    def ask(self, numbers, pending):
        return [Proposal(np.nan_to_num(p.u, nan=0.5)) for p in super().ask(numbers, pending)]


class NotesAnArray(Sound):
    def ask(self, numbers, pending):
        return [Proposal(p.u, {"optima": (1.0, 2.0)}) for p in super().ask(numbers, pending)]


class WritesIntoPending(Sound):
    def ask(self, numbers, pending):
        for note in pending.notes:
            note["seen"] = True
        return super().ask(numbers, pending)


class KeepsItsPast(Sound):
    told = 0
    reads_history = True

    def tell(self, observations):
        self.told += len(observations.numbers)

    def ask(self, numbers, pending):
        return super().ask(np.asarray(numbers, dtype=np.int64) + 1000 * self.told, pending)


class CountsTells(KeepsItsPast):
    def start(self, *arguments):
        super().start(*arguments)
        self.told = 0

    def tell(self, observations):
        self.told += 1


class ForgetsItsState(Sound):
    def start(self, *arguments):
        super().start(*arguments)
        self.best = {}

    def tell(self, observations):
        for y in observations.Y[:, 0]:
            if np.isfinite(y):
                self.best = {"y": min(float(y), self.best.get("y", np.inf))}

    def ask(self, numbers, pending):
        return [Proposal(p.u, dict(self.best)) for p in super().ask(numbers, pending)]

    def state_dict(self):
        return {"best": 0.0}

    def load_state_dict(self, state):
        self.best = {"y": state["best"]}


class IgnoresTheSeed(Sound):
    def start(self, space, n_objectives, n_constraints, seed):
        super().start(space, n_objectives, n_constraints, 0)


class FallsOverFailures(Sound):
    def tell(self, observations):
        if np.isnan(observations.Y).any():
            raise ValueError("NaN")


class RepeatsItself(Sound):
    distinct = True

    def ask(self, numbers, pending):
        return super().ask([0 for _ in numbers], pending)


class RefusesSeveral(Sound):
    def start(self, space, n_objectives, n_constraints, seed):
        if n_objectives > 1:
            raise StrategyError("one objective only")
        super().start(space, n_objectives, n_constraints, seed)


def failures(make_one, **attributes):
    """Run the kit over a strategy; name the tests that fail."""
    kit = type("Kit", (StrategyContract,), {"make": lambda self: make_one(), **attributes})()
    failed = set()
    for name in dir(kit):
        if name.startswith("test_"):
            try:
                getattr(kit, name)()
            except Exception:
                failed.add(name)
    return failed


def test_a_sound_strategy_of_somebody_else_passes():
    assert failures(Sound) == set()
    assert failures(RefusesSeveral, several_objectives=False) == set()


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (ClockReader, "test_asking_changes_nothing"),
        (OffTheGrid, "test_proposals_are_points_of_the_space"),
        (OutOfRange, "test_proposals_are_points_of_the_space"),
        (FillsWhatDoesNotExist, "test_proposals_are_points_of_the_space"),
        (NotesAnArray, "test_proposals_are_points_of_the_space"),
        (WritesIntoPending, "test_pending_trials_are_respected"),
        (KeepsItsPast, "test_start_forgets_the_study_before"),
        (CountsTells, "test_telling_in_parts_or_at_once_is_the_same"),
        (ForgetsItsState, "test_saved_midway_goes_on"),
        (ForgetsItsState, "test_a_foreign_state_is_refused"),
        (IgnoresTheSeed, "test_another_seed_another_sequence"),
        (FallsOverFailures, "test_failed_and_pruned_trials_survive"),
        (RepeatsItself, "test_pending_trials_are_respected"),
        (RepeatsItself, "test_points_are_distinct_when_promised"),
        (RefusesSeveral, "test_several_objectives"),
    ],
)
def test_a_broken_strategy_is_caught(broken, caught_by):
    assert caught_by in failures(broken)


# ---- make_strategy --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "strategy", [RandomSearch(), QuasiRandomSearch("lhs", block=3), GridSearch({"x": [1, 2]}, retry_failed=True)]
)
def test_name_and_config_rebuild_a_strategy(strategy):
    again = make_strategy(strategy.name, copy.deepcopy(strategy.config()))
    assert type(again) is type(strategy) and again.config() == strategy.config()
    assert make_strategy(strategy) is strategy


def test_a_strategy_of_ones_own_is_taken_and_none_is_the_default():
    mine = Sound()
    assert make_strategy(mine) is mine
    assert isinstance(make_strategy(None), Strategy)


@pytest.mark.parametrize(
    ("strategy", "config", "what"),
    [
        ("simulated annealing", None, "simulated annealing"),
        (RandomSearch, None, r"RandomSearch\(\)"),
        (3, None, "3"),
        (RandomSearch(), {"levels": 3}, "levels"),
        ("grid", {"steps": 3}, "steps"),
        ("grid", {"levels": 0}, "levels"),
    ],
)
def test_what_is_no_strategy_is_refused(strategy, config, what):
    with pytest.raises(StrategyError, match=what):
        make_strategy(strategy, config)


def test_the_space_of_the_kit_is_public():
    # The kit's own spaces stay usable by name, so that a subclass can leave one out.
    assert isinstance(StrategyContract().spaces()["conditional"], hpo.Space)
