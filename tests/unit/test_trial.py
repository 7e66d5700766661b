from __future__ import annotations

import math
import pickle
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from hpo_fast.errors import StudyError
from hpo_fast.study.objectives import Objectives
from hpo_fast.study.told import read_one
from hpo_fast.trial import Outcome, Trial, TrialState


def test_trial_by_hand_runs_an_objective() -> None:
    trial = Trial({"lr": 0.1, "layers": 3})
    assert (lambda t: t["lr"] * t.params["layers"])(trial) == pytest.approx(0.3)
    assert trial.number is None
    assert list(trial) == ["lr", "layers"] and "lr" in trial and len(trial) == 2
    assert trial.get("momentum", 0.9) == 0.9
    assert repr(trial) == "Trial(by hand: lr=0.1, layers=3)"
    with pytest.raises(KeyError):
        trial["momentum"]


def test_trial_can_be_pickled() -> None:
    trial = Trial({"lr": 0.1, "shape": [64, 64]}, 7)
    assert pickle.loads(pickle.dumps(trial)) == trial


def test_state_codes_are_those_of_the_file() -> None:
    assert [s.value for s in TrialState] == list(range(6))
    assert [s.name.lower() for s in TrialState if s.told] == ["done", "pruned", "failed"]


@pytest.mark.parametrize(
    "told",
    [0.5, 1, np.float32(0.5), np.int64(3), np.array(0.5), np.array([0.5]), [0.5], (0.5,), Decimal("0.5")],
)
def test_one_number_in_every_dress(told: Any) -> None:
    result = read_one(Objectives(), told)
    assert result.state is TrialState.DONE and result.values is not None
    assert [type(v) for v in result.values] == [float] and len(result.values) == 1


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (None, "the value is None"),
        (math.nan, "the value is nan"),
        (math.inf, "the value is inf"),
        (-math.inf, "the value is -inf"),
        (np.float64("nan"), "the value is nan"),
        ([None], "the value is None"),
        (10**400, "the value is inf"),
    ],
)
def test_no_number_fails_the_trial(told: Any, reason: str) -> None:
    result = read_one(Objectives(), told)
    assert (result.state, result.values, result.reason) == (TrialState.FAILED, None, reason)


@pytest.mark.parametrize(
    "told", ["0.5", b"1", [0.1, 0.2], [], {"loss": 1.0}, 1j, object(), ["0.5"], np.ones((2, 1)), np.ones((1, 1)), {0.5}]
)
def test_wrong_form_is_an_error(told: Any) -> None:
    with pytest.raises(StudyError, match="value must"):
        read_one(Objectives(), told)


def test_several_objectives() -> None:
    two = Objectives(directions=["minimize", "maximize"])
    assert read_one(two, [1, 2.5]).values == (1.0, 2.5)
    assert read_one(two, np.array([1.0, 2.0])).values == (1.0, 2.0)
    failed = read_one(two, [1.0, math.nan])
    assert (failed.state, failed.values, failed.reason) == (TrialState.FAILED, None, "the value 1 is nan")
    for wrong in (1.0, [1.0], [1.0, 2.0, 3.0], "ab", {"a": 1, "b": 2}):
        with pytest.raises(StudyError, match="values must"):
            read_one(two, wrong)
    named = Objectives(directions={"loss": "minimize", "accuracy": "maximize"})
    assert read_one(named, {"accuracy": 0.9, "loss": 0.1}).values == (0.1, 0.9)
    assert read_one(named, [0.1, 0.9]).values == (0.1, 0.9)
    with pytest.raises(StudyError, match="names"):
        read_one(named, {"accuracy": 0.9, "los": 0.1})


def test_constraints() -> None:
    study = Objectives(constraints=2)
    assert read_one(study, 1.0, [0.0, -1]).constraints == (0.0, -1.0)
    assert read_one(study, 1.0, [0.0, math.nan]).reason == "the constraint 1 is nan"
    assert read_one(study, None).reason == "the value is None", "a failed trial needs no constraints"
    for wrong in (None, [1.0], "ab", 1.0):
        with pytest.raises(StudyError, match="constraints must"):
            read_one(study, 1.0, wrong)
    with pytest.raises(StudyError, match="constraints must"):
        read_one(Objectives(), 1.0, [0.5])


def test_outcome_says_it_all() -> None:
    result = read_one(Objectives(constraints=1), Outcome(0.5, [0.1], attrs={"epochs": np.int64(3)}))
    assert result == (TrialState.DONE, (0.5,), (0.1,), {"epochs": 3}, None)
    assert read_one(Objectives(), Outcome(0.5)).attrs is None
    with pytest.raises(StudyError, match="attrs must be JSON-able"):
        read_one(Objectives(), Outcome(0.5, attrs={"model": object()}))


def test_states_told() -> None:
    assert read_one(Objectives(), 0.5, state="pruned")[:2] == (TrialState.PRUNED, (0.5,))
    assert read_one(Objectives(constraints=1), None, state=TrialState.PRUNED)[:2] == (TrialState.PRUNED, None)
    assert read_one(Objectives(), 0.5, state="failed")[:2] == (TrialState.FAILED, None)
    for wrong in ("running", "finished", 1, 17, None.__class__):
        with pytest.raises(StudyError, match="state must be"):
            read_one(Objectives(), 0.5, state=wrong)  # type: ignore[arg-type]


def test_directions() -> None:
    assert Objectives("maximize").signs.tolist() == [-1.0]
    Y = Objectives(directions=["minimize", "maximize"], constraints=1).minimised(
        np.array([[1.0, 2.0], [np.nan, np.nan]]), np.array([[0.5], [np.nan]])
    )
    np.testing.assert_array_equal(Y, [[1.0, -2.0, 0.5], [np.nan] * 3])
    for one in (Objectives(), Objectives("maximize", constraints=3), Objectives(directions={"a": "maximize"})):
        assert Objectives.from_json(one.to_json()) == one
    assert Objectives(directions={"a": "minimize"}) != Objectives(directions={"b": "minimize"})


@pytest.mark.parametrize(
    "arguments",
    [
        {"direction": "min"},
        {"direction": None},
        {"directions": []},
        {"directions": ["minimize", "up"]},
        {"directions": "minimize"},
        {"directions": {1: "minimize"}},
        {"direction": "maximize", "directions": ["minimize"]},
        {"constraints": -1},
        {"constraints": 1.0},
        {"constraints": True},
    ],
)
def test_wrong_objectives(arguments: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=r"direction|constraints|objective"):
        Objectives(**arguments)
