from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from hpo_fast.errors import BackendUnavailable, NothingToAsk, SpaceError, StorageError, StudyError, StudyFinished
from hpo_fast.space import Categorical, Constant, Float, Int, Space
from hpo_fast.strategies.base import Observations, Pending, Proposal, Strategy
from hpo_fast.strategies.grid import GridSearch
from hpo_fast.study import Study
from hpo_fast.study.ranking import non_dominated
from hpo_fast.trial import Outcome, Trial, TrialState

SPACE = Space(x=Float(0.0, 1.0), kind=Categorical(["a", None, 1, True]), depth=Int(1, 5).when(kind=["a", 1]))

Make = Callable[..., Study]


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Make a study in memory and one in a file: nothing but `storage` may tell them apart."""

    def build(strategy: Any = "random", space: Space = SPACE, **arguments: Any) -> Study:
        storage = None if request.param == "memory" else tmp_path / "study.db"
        return Study(space, strategy, storage=storage, **{"seed": 1, "durability": "process"} | arguments)

    return build


class Recorder(Strategy):
    """Gives the points it was made with, one after the other, and remembers what it was told."""

    name: ClassVar[str] = "recorder"

    def __init__(self, points: Sequence[float] = (), at_once: int = 100) -> None:
        self._points, self._at_once = list(points), at_once
        self.told: list[Observations] = []
        self.pending: list[Pending] = []
        self.asked: list[list[int]] = []

    def config(self) -> dict[str, Any]:
        return {}

    def start(self, space: Space, n_objectives: int, n_constraints: int, seed: int) -> None:
        self.space, self.widths, self.seed = space, (n_objectives, n_constraints), seed
        self.told.clear()

    def tell(self, observations: Observations) -> None:
        self.told.append(observations)

    def ask(self, numbers: Any, pending: Pending) -> list[Proposal]:
        self.pending.append(pending)
        self.asked.append(list(numbers))
        given = []
        for number in list(numbers)[: self._at_once]:
            if not self._points:
                break
            u = self.space.encode({"x": self._points.pop(0)})
            given.append(Proposal(u, {"for": number, "exact": 0.1 + 0.2}))
        return given

    @property
    def done(self) -> bool:
        return not self._points


X = Space(x=Float(0.0, 1.0))


def test_ask_and_tell(make: Make) -> None:
    study = make()
    trial = study.ask()
    assert isinstance(trial, Trial) and trial.number == 0
    assert study.trials[0].state is TrialState.RUNNING and study.trials[0].value is None
    study.tell(trial, 0.31)
    (record,) = study.trials
    assert (record.number, record.state, record.value, record.values) == (0, TrialState.DONE, 0.31, (0.31,))
    assert record.params == trial.params and record.reason is None and record.feasible
    assert record.started is not None and record.ended is not None and record.duration is not None
    assert 0 <= record.duration < 60
    np.testing.assert_array_equal(record.u, SPACE.encode(record.params))
    with pytest.raises(ValueError, match="read-only"):
        record.u[0] = 0.5


def test_ask_many(make: Make) -> None:
    study = make()
    trials = study.ask(8)
    assert [t.number for t in trials] == list(range(8))
    assert len({t["x"] for t in trials}) == 8
    assert [t.number for t in study.ask(1)] == [8]
    for wrong in (0, -1, 1.5, True, "2"):
        with pytest.raises(StudyError, match="n must be"):
            study.ask(wrong)  # type: ignore[call-overload]


def test_same_seed_same_trials(make: Make) -> None:
    one = [t.params for t in make(seed=7).ask(20)]
    assert one == [t.params for t in Study(SPACE, "random", seed=7).ask(20)]
    assert one != [t.params for t in Study(SPACE, "random", seed=8).ask(20)]


def test_the_objective_cannot_change_the_journal(make: Make) -> None:
    study = make()
    trial = study.ask()
    params = dict(trial.params)
    trial.params.clear()
    study.trials[0].params.clear()
    study.trials[0].attrs["a"] = 1
    assert study.trials[0].params == params and study.trials[0].attrs == {}


def test_telling_wrongly_changes_nothing(make: Make) -> None:
    study = make()
    trial = study.ask()
    for wrong in ("0.3", [0.1, 0.2], {"value": 1}):
        with pytest.raises(StudyError, match="value must"):
            study.tell(trial, wrong)
    with pytest.raises(StudyError, match="attrs must be JSON-able"):
        study.tell(trial, 0.5, attrs={"a": object()})
    with pytest.raises(StudyError, match="constraints must"):
        study.tell(trial, 0.5, constraints=[0.1])
    assert study.trials[0].state is TrialState.RUNNING
    study.tell(trial.number, 0.5)  # type: ignore[arg-type]
    for again in (lambda: study.tell(trial, 0.6), lambda: study.fail(trial, "no"), lambda: study.release(trial)):
        with pytest.raises(StudyError, match="trial 0 is done already"):
            again()
    for unknown in (1, -1, 10**9):
        with pytest.raises(StudyError, match=f"no trial {unknown}"):
            study.tell(unknown, 0.5)
        with pytest.raises(StudyError, match=f"no trial {unknown}"):
            study.release(unknown)
    for nothing in ("0", 0.0, None, True):
        with pytest.raises(StudyError, match="a Trial or its number"):
            study.tell(nothing, 0.5)  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="made by hand"):
        study.tell(Trial({"x": 0.5}), 0.5)
    assert study.trials[0].value == 0.5 and len(study.trials) == 1


def test_telling_no_number_fails_the_trial(make: Make) -> None:
    study = make()
    for value in (math.nan, math.inf, None, np.ma.array(1.0, mask=True)):
        study.tell(study.ask(), value)
    study.fail(study.ask(), "out of memory")
    assert [t.state for t in study.trials] == [TrialState.FAILED] * 5
    assert [t.reason for t in study.trials] == [
        "the value is nan",
        "the value is inf",
        "the value is None",
        "the value is None",
        "out of memory",
    ]
    assert all(t.value is None and t.values is None for t in study.trials)
    with pytest.raises(StudyError, match="5 failed"):
        _ = study.best_trial
    assert study.pareto_front == []


@pytest.mark.parametrize(
    "truth", [True, np.True_, np.array(True), np.datetime64("2026-01-01", "ns"), np.array(True, dtype=object)]
)
def test_a_truth_value_is_no_number(truth: Any, make: Make) -> None:
    study = make(space=X, constraints=1)
    trial = study.ask()
    point = {"x": 0.5}
    for told in (truth, [truth], Outcome(truth)):
        with pytest.raises(StudyError, match="value must hold numbers, but got"):
            study.tell(trial, told, constraints=[0.0])
        with pytest.raises(StudyError, match="value must hold numbers, but got"):
            study.add_trial(point, told, constraints=[0.0])
    with pytest.raises(StudyError, match="constraints must hold numbers, but got"):
        study.tell(trial, 1.0, constraints=[truth])
    truth = bool(truth) if isinstance(truth, np.ndarray) else truth
    tables: list[Any] = [[truth, 1.0], [[truth], [1.0]], [(1.0,), (truth,)], np.array([1, 0], dtype=bool)]
    for told in [*tables, np.array([truth, None], dtype=object)]:
        with pytest.raises(StudyError, match="values must hold a number for each trial, but got"):
            study.add_trials([point] * 2, told, [0.0, 0.0])
        with pytest.raises(StudyError, match="constraints must hold a number for each trial, but got"):
            study.add_trials([point] * 2, [0.0, 0.0], told)
    assert [record.state for record in study.trials] == [TrialState.RUNNING]


def test_attrs_are_kept(make: Make) -> None:
    study = make()
    study.tell(study.ask(), 1.0, attrs={"epochs": np.int64(3), "curve": np.array([0.5, 0.25]), "who": ("a", "b")})
    assert study.trials[0].attrs == {"epochs": 3, "curve": [0.5, 0.25], "who": ["a", "b"]}
    assert study.attrs == {}
    study.set_attr("script", "a.py:objective")
    study.set_attr("n", 3)
    study.attrs["script"] = "other"
    assert study.attrs == {"script": "a.py:objective", "n": 3}
    with pytest.raises(StudyError, match="JSON-able"):
        study.set_attr("bad", object())


def test_best_trial_and_direction(make: Make) -> None:
    study = make(direction="maximize")
    for value in (0.3, 0.9, None, 0.9, 0.1):
        study.tell(study.ask(), value)
    study.tell(study.ask(), 5.0, state="pruned")
    assert (study.best_trial.number, study.best_trial.value) == (1, 0.9), "the first of equal ones; pruned ones are not"
    study.tell(study.ask(), 1.5)
    assert study.best_trial.number == 6
    assert [t.number for t in study.pareto_front] == [6]


def test_best_trial_is_feasible(make: Make) -> None:
    study = make(constraints=2)
    study.tell(study.ask(), 0.1, constraints=[0.5, -1])
    with pytest.raises(StudyError, match="1 are pruned or not feasible"):
        _ = study.best_trial
    study.tell(study.ask(), 0.7, constraints=[0.0, -1])
    study.tell(study.ask(), 0.6, constraints=[-2.0, -1])
    assert study.best_trial.number == 2
    assert [t.feasible for t in study.trials] == [False, True, True]


def test_several_objectives(make: Make) -> None:
    study = make(directions={"loss": "minimize", "accuracy": "maximize"})
    for loss, accuracy in ((1.0, 0.5), (2.0, 0.9), (1.5, 0.4), (1.0, 0.5), (3.0, 0.95)):
        study.tell(study.ask(), {"accuracy": accuracy, "loss": loss})
    study.tell(study.ask(), None)
    assert [t.number for t in study.pareto_front] == [0, 1, 3, 4]
    study.tell(study.ask(), [0.5, 0.96])
    assert [t.number for t in study.pareto_front] == [6]
    assert study.trials[1].values == (2.0, 0.9) and study.trials[1].value is None
    with pytest.raises(StudyError, match="pareto_front"):
        _ = study.best_trial
    assert study.objective_names == ["loss", "accuracy"] and study.directions == ("minimize", "maximize")


def test_non_dominated_against_the_definition() -> None:
    rng = np.random.default_rng(0)
    for k in (1, 2, 3):
        for _ in range(20):
            Y = rng.integers(0, 6, (30, k)).astype(float)
            expected = [
                i for i in range(30) if not any((Y[j] <= Y[i]).all() and (Y[j] < Y[i]).any() for j in range(30))
            ]
            found = sorted(non_dominated(Y)[0].tolist())
            assert found == (expected if k > 1 else expected[:1])


def test_the_strategy_sees_what_was_told(make: Make) -> None:
    strategy = Recorder([0.5, 0.25, 0.75, 0.1])
    study = make(strategy, X, directions=["minimize", "maximize"], constraints=1)
    assert strategy.widths == (2, 1) and strategy.seed == 1
    a, b, c = study.ask(3)
    study.tell(b, [1.0, 2.0], constraints=[0.5])
    study.fail(a, "no")
    study.add_trial({"x": 0.9}, [3.0, 4.0], constraints=[-1.0])
    study.ask()
    seen = strategy.told[-1]
    assert seen.numbers.tolist() == [1, 0, 3], "in the order of telling"
    np.testing.assert_array_equal(seen.U, [[0.25], [0.5], [0.9]])
    np.testing.assert_array_equal(seen.Y, [[1.0, -2.0, 0.5], [np.nan] * 3, [3.0, -4.0, -1.0]])
    assert seen.states.tolist() == [TrialState.DONE, TrialState.FAILED, TrialState.DONE]
    assert [dict(note) for note in seen.notes] == [{"for": 1, "exact": 0.1 + 0.2}, {"for": 0, "exact": 0.1 + 0.2}, {}]
    pending = strategy.pending[-1]
    assert pending.numbers.tolist() == [2] and pending.notes[0]["for"] == 2
    np.testing.assert_array_equal(pending.U, [[0.75]])
    assert len(strategy.told) == 1, "nothing is told twice, and nothing is told as nothing"
    assert c["x"] == 0.75


def test_a_strategy_without_points(make: Make) -> None:
    study = make(Recorder([0.5, 0.25, 0.75], at_once=2), X)
    assert [t.number for t in study.ask(8)] == [0, 1], "it gave fewer"
    assert study.ask().number == 2, "the reserved number comes next"
    with pytest.raises(StudyFinished):
        study.ask()
    with pytest.raises(StudyFinished):
        study.ask(3)
    assert len(study.trials) == 3
    assert study.enqueue({"x": 0.125}) == 8, "numbers 3 to 7 are given out and have no parameters yet"
    assert study.ask().params == {"x": 0.125}


def test_not_now(make: Make) -> None:
    class Later(Recorder):
        done = False  # type: ignore[assignment]

    study = make(Later([0.5]), X)
    study.ask()
    with pytest.raises(NothingToAsk, match="tell, fail or release"):
        study.ask()


def test_a_failing_strategy_costs_no_number(make: Make) -> None:
    class Fragile(Recorder):
        broken = True

        def ask(self, numbers: Any, pending: Pending) -> list[Proposal]:
            if self.broken:
                raise ArithmeticError("singular")
            return super().ask(numbers, pending)

    strategy = Fragile([0.5, 0.25])
    study = make(strategy, X)
    study.enqueue({"x": 0.75})
    with pytest.raises(ArithmeticError):
        study.ask(2)
    assert [t.state for t in study.trials] == [TrialState.WAITING], "the trial that came with it waits again"
    strategy.broken = False
    assert [(t.number, t["x"]) for t in study.ask(2)] == [(0, 0.75), (1, 0.5)]


def test_an_equal_point_that_became_pending_is_asked_again_once(make: Make) -> None:
    study: Study

    class Slow(Recorder):
        def ask(self, numbers: Any, pending: Pending) -> list[Proposal]:
            if len(self.asked) < 2:
                study.enqueue({"x": [0.5, 0.25][len(self.asked)]})  # somebody else is faster
            return super().ask(numbers, pending)

    strategy = Slow([0.5, 0.25, 0.75])
    study = make(strategy, X)
    assert study.ask()["x"] == 0.25, "the second answer counts, though it is pending as well by now"
    assert strategy.asked == [[0], [0]]
    assert strategy.pending[-1].numbers.tolist() == [1]


def test_a_distinct_strategy_is_asked_until_the_point_is_new(make: Make) -> None:
    study: Study

    class Slow(Recorder):
        distinct = True

        def ask(self, numbers: Any, pending: Pending) -> list[Proposal]:
            if len(self.asked) < 2:
                study.enqueue({"x": 0.5})
            elif len(self.asked) == 2:
                study.add_trial({"x": 0.25}, 1.0)  # told, and so not pending
            return super().ask(numbers, pending)

    strategy = Slow([0.5, 0.5, 0.25, 0.75])
    study = make(strategy, X)
    assert study.ask()["x"] == 0.75
    assert strategy.asked == [[0]] * 4


def test_enqueue_and_release(make: Make) -> None:
    study = make()
    first = study.ask()
    number = study.enqueue({"x": 0.5, "kind": "a", "depth": np.int64(3)})
    assert study.trials[1].state is TrialState.WAITING and study.trials[1].started is None
    study.enqueue({"x": 0.25, "kind": True})
    study.release(first)
    assert study.trials[0].state is TrialState.WAITING
    study.release(first)  # it waits already
    again, second, third, new = study.ask(4)
    assert again == first
    assert second == Trial({"x": 0.5, "kind": "a", "depth": 3}, number)
    assert third.params == {"x": 0.25, "kind": True} and third.params["kind"] is True
    assert new.number == 3
    study.enqueue({"x": 0.75, "kind": None})
    study.tell(4, 1.0)  # a waiting trial may be told
    assert study.ask().number == 5
    with pytest.raises(SpaceError):
        study.enqueue({"x": 2.0, "kind": None})
    with pytest.raises(SpaceError):
        study.enqueue({"x": 0.5})
    assert len(study.trials) == 6


def test_add_trial(make: Make) -> None:
    study = make()
    params = {"x": np.float64(1 / 3), "kind": None}
    assert study.add_trial(params, 2.0, attrs={"from": "paper"}) == 0
    assert study.add_trial(params, None, state="failed") == 1
    assert study.add_trial(params, math.nan) == 2
    told = study.trials[0]
    assert told.params == {"x": 1 / 3, "kind": None} and type(told.params["x"]) is float
    assert (told.value, told.attrs, told.started, told.duration) == (2.0, {"from": "paper"}, None, None)
    assert [t.state.name for t in study.trials] == ["DONE", "FAILED", "FAILED"]
    for wrong in ({"x": 3.0, "kind": None}, {"x": 0.5, "kind": "b"}, {"x": 0.5}):
        with pytest.raises(SpaceError):
            study.add_trial(wrong, 1.0)
    with pytest.raises(StudyError):
        study.add_trial(params, "1.0")
    assert len(study.trials) == 3
    assert study.ask().number == 3


def test_add_trials_in_both_forms(make: Make) -> None:
    rows = [{"x": 0.5, "kind": "a", "depth": 2}, {"x": 0.25, "kind": None}, {"x": 0.75, "kind": True}]
    columns = {"x": np.array([0.5, 0.25, 0.75]), "kind": ["a", None, True], "depth": [2, None, None]}
    study = make(directions=["minimize", "maximize"], constraints=1)
    values = [[1.0, 2.0], [None, 1.0], [3.0, 4.0]]
    assert study.add_trials(rows, values, constraints=[[0.5]] * 3, states=["done", "done", "pruned"]) == range(3)
    assert study.add_trials(columns, values, [[0.5]] * 3, ["done", "done", TrialState.PRUNED]) == range(3, 6)
    records = list(study.trials)
    for a, b in zip(records[:3], records[3:], strict=True):
        assert (a.params, a.state, a.values, a.constraints, a.reason) == (
            b.params,
            b.state,
            b.values,
            b.constraints,
            b.reason,
        )
        np.testing.assert_array_equal(a.u, b.u)
    assert [t.params for t in records[:3]] == rows
    assert [t.state.name for t in records[:3]] == ["DONE", "FAILED", "PRUNED"]
    assert study._journal.results(-1).numbers.tolist() == list(range(6))


def test_add_trials_all_or_none(make: Make) -> None:
    study = make(space=X)
    good: dict[str, Any] = {"x": [0.1, 0.2]}
    bad: list[tuple[Any, ...]] = [
        ({"x": [0.1, 2.0]}, [1.0, 2.0]),
        (good, [1.0]),
        (good, ["1", "2"]),
        (good, [[1.0, 2.0], [1.0, 2.0]]),
        (good, [1.0, 2.0], [[0.0], [0.0]]),
        (good, [1.0, 2.0], None, ["done"]),
        (good, [1.0, 2.0], None, ["done", "running"]),
        ([{"x": 0.1}, {"y": 0.1}], [1.0, 2.0]),
    ]
    for arguments in bad:
        with pytest.raises((SpaceError, StudyError)):
            study.add_trials(*arguments)
    assert len(study.trials) == 0
    assert study.add_trials([], []) == range(0)
    assert study.add_trials(good, np.array([[1.0], [2.0]])) == range(2)


def test_trials_are_a_lazy_sequence(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_fast.study.trials._BLOCK", 7)
    study = make(Recorder([i / 100 for i in range(30)], at_once=10), X)
    study.ask(12)  # numbers 10 and 11 are reserved and have no parameters
    study.add_trials({"x": [0.5] * 5}, [0.0] * 5)
    numbers = [*range(10), *range(12, 17)]
    trials = study.trials
    assert len(trials) == 15 and [t.number for t in trials] == numbers
    for index in range(-15, 15):
        assert trials[index].number == numbers[index]
    for cut in (slice(None), slice(8, 13), slice(-4, None), slice(None, None, -1), slice(1, 14, 3), slice(20, 30)):
        assert [t.number for t in trials[cut]] == numbers[cut]
    for outside in (15, -16):
        with pytest.raises(IndexError):
            trials[outside]
    assert [t.number for t in study.ask(2)] == [10, 11]
    assert [t.number for t in trials] == list(range(17)), "a view"
    assert repr(trials) == "<17 trials>"


def test_iterating_reads_in_blocks(make: Make) -> None:
    study = make(space=X)
    study.add_trials({"x": np.linspace(0, 1, 2000)}, np.zeros(2000))
    most = 0
    rows = study._journal.rows

    def counting(start: int, stop: int) -> Any:
        nonlocal most
        found = rows(start, stop)
        most = max(most, len(found))
        return found

    study._journal.rows = counting  # type: ignore[method-assign]
    assert sum(1 for _ in study.trials) == 2000
    assert most <= 512


def test_to_dataframe(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    pd = pytest.importorskip("pandas")
    study = make(directions={"loss": "minimize", "size": "minimize"}, constraints=1)
    study.add_trial({"x": 0.5, "kind": "a", "depth": 2}, [1.0, 2.0], constraints=[0.5], attrs={"host": "h"})
    study.fail(study.ask(), "no")
    frame = study.to_dataframe()
    assert isinstance(frame, pd.DataFrame) and len(frame) == 2
    assert frame.loc[0, ["number", "state", "loss", "size", "constraint_0", "params_x", "attrs_host"]].tolist() == [
        *(0, "done", 1.0, 2.0),
        *(0.5, 0.5, "h"),
    ]
    assert frame["reason"][1] == "no" and frame["state"][1] == "failed"
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BackendUnavailable, match="pip install pandas"):
        study.to_dataframe()


def test_threads_ask_and_tell(make: Make) -> None:
    study = make()
    numbers: list[int] = []

    def run() -> None:
        for _ in range(25):
            trial = study.ask()
            assert trial.number is not None
            numbers.append(trial.number)
            study.tell(trial, trial["x"])

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(100))
    assert all(t.value == t.params["x"] for t in study.trials)


def test_telling_does_not_wait_for_a_slow_ask(make: Make) -> None:
    thinking, go_on = threading.Event(), threading.Event()

    class Slow(Recorder):
        def ask(self, numbers: Any, pending: Pending) -> list[Proposal]:
            if self.asked:
                thinking.set()
                assert go_on.wait(20)
            return super().ask(numbers, pending)

    study = make(Slow([0.5, 0.25]), X)
    trial = study.ask()
    thread = threading.Thread(target=study.ask)
    thread.start()
    assert thinking.wait(20)
    study.tell(trial, 1.0)
    assert study.trials[0].value == 1.0
    go_on.set()
    thread.join()
    assert len(study.trials) == 2


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"seed": 2**63}, {"seed": 1.0}, {"seed": True}, {"name": ""}])
def test_wrong_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match="must be"):
        Study(SPACE, "random", **arguments)
    with pytest.raises(StudyError, match="durability"):
        Study(SPACE, "random", durability="none")
    with pytest.raises(StudyError, match="space must be a Space"):
        Study({"x": Float(0, 1)}, "random")  # type: ignore[arg-type]


def test_repr(make: Make) -> None:
    study = make(name="mine", directions={"a": "minimize", "b": "maximize"}, constraints=2)
    study.ask()
    assert repr(study).startswith("<Study 'mine' in ")
    assert repr(study).endswith(": a: minimize, b: maximize, 2 constraints, 1 trials>")


def test_a_number_that_nobody_filled_does_not_count(make: Make) -> None:
    strategy = Recorder([0.5, 0.25, 0.75])
    study = make(strategy, X)
    study.optimize(lambda t: t["x"])
    assert len(study.trials) == 3, "and number 3 is reserved, for there was no fourth point"
    strategy._points = [0.1] * 9
    study.optimize(lambda t: t["x"], total_trials=3)
    assert len(study.trials) == 3
    study.optimize(lambda t: t["x"], total_trials=5)
    assert [t.number for t in study.trials] == list(range(5))


def test_free_numbers_and_new_ones_together_keep_to_the_total(make: Make) -> None:
    strategy = Recorder([0.5, 0.25], at_once=2)
    study = make(strategy, X)
    study.ask(8)  # numbers 2 to 7 stay free
    strategy._points = [0.1] * 9
    study.optimize(lambda t: t["x"], total_trials=4)
    assert [t.number for t in study.trials] == [0, 1, 2, 3]
    study.add_trial({"x": 0.5}, 1.0)
    study.optimize(lambda t: t["x"], total_trials=9)
    assert [t.number for t in study.trials] == list(range(10))


NESTED = Space(shape=Categorical([[1, [2]], [3, [4]]]), fixed=Constant({"a": [1]}))


def test_nested_values_belong_to_the_journal(make: Make) -> None:
    study = make("random", NESTED)

    def meddling(trial: Trial) -> float:
        trial["shape"][1].append(9)
        trial["fixed"]["a"].append(9)
        return 1.0

    study.optimize(meddling, 3)
    shape, fixed = [1, [np.int64(2)]], {"a": [1]}
    params = {"shape": shape, "fixed": fixed}
    study.add_trial(params, 1.0, attrs={"curve": [1]})
    study.add_trials([params], [1.0])
    study.add_trials({"shape": [shape], "fixed": [fixed]}, [1.0])
    column = np.empty(1, dtype=object)
    column[0] = shape
    study.add_trials({"shape": column, "fixed": [fixed]}, [1.0])
    study.enqueue(params)
    shape[1].append(7)  # type: ignore[attr-defined]
    fixed["a"].append(7)
    asked = study.ask()
    asked["shape"][1].append(8)
    study.release(asked)
    study.ask()["fixed"]["a"].append(8)
    for record in study.trials:
        record.params["shape"][1].append(6)
    study.trials[3].attrs["curve"].append(2)
    study.set_attr("list", [1])
    study.attrs["list"].append(2)
    assert study.attrs == {"list": [1]} and study.trials[3].attrs == {"curve": [1]}
    assert all(t.params["shape"] in ([1, [2]], [3, [4]]) and t.params["fixed"] == {"a": [1]} for t in study.trials)
    assert type(study.trials[3].params["shape"][1][0]) is int


def test_half_characters(make: Make) -> None:
    """A path with bytes that are no UTF-8 has them, and SQLite takes none."""
    study = make()
    study.fail(study.ask(), "no \udce9")

    def failing(trial: Trial) -> float:
        raise OSError("caf\udce9")

    study.optimize(failing, 1)
    assert study.trials[0].reason == "no \\udce9"
    assert (study.trials[1].reason or "").startswith("OSError: caf\\udce9\n")
    with pytest.raises(StudyError, match="name must be text"):
        make(name="\ud800")
    if study.storage is not None:
        with pytest.raises(StudyError, match="name must be text"):
            Study.load(study.storage, "\ud800")


def test_one_strategy_object_serves_several_studies(make: Make) -> None:
    grid = GridSearch(levels=9)
    line = Space(i=Int(0, 5))
    study = make(grid, line)
    study.optimize(lambda t: t["i"], 2)
    other = Study(line, grid)
    assert other.ask()["i"] == 0
    study.optimize(lambda t: t["i"])
    assert [t.params["i"] for t in study.trials] == list(range(6))
    assert vars(grid) == vars(GridSearch(levels=9)), "it stays as it was"
    assert study.strategy is not grid and study.strategy.config() == grid.config()


def test_a_strategy_is_started_once(make: Make) -> None:
    class Counting(Recorder):
        starts: ClassVar[list[int]] = []

        def start(self, space: Space, n_objectives: int, n_constraints: int, seed: int) -> None:
            self.starts.append(seed)
            super().start(space, n_objectives, n_constraints, seed)

    strategy = Counting([0.5, 0.25])
    study = make(strategy, X, seed=7)
    assert study.strategy is strategy, "what a class of the user's needs to be copied is not known"
    study.ask()
    assert strategy.starts == [7]
    if study.storage is not None:
        Study(X, strategy, storage=study.storage).ask()
        assert strategy.starts == [7, 7]


def test_a_strategy_whose_study_fails_can_begin_another(tmp_path: Path) -> None:
    class Odd(Recorder):
        kept: ClassVar[Any] = {1j}

        def config(self) -> dict[str, Any]:
            return {"kept": self.kept}

    odd = Odd([0.5, 0.25])
    with pytest.raises(StudyError, match="the strategy's config must be JSON-able"):
        Study(X, odd, storage=tmp_path / "study.db")
    assert "seed" not in vars(odd), "it is not even started"
    assert not list(tmp_path.iterdir())
    Odd.kept = 1
    with pytest.raises(StorageError):
        Study(X, odd, storage=tmp_path / "absent" / "study.db", seed=3)
    study = Study(X, odd, storage=tmp_path / "study.db", seed=4)
    assert (odd.seed, study.ask()["x"]) == (4, 0.5)


def test_what_a_study_says_of_itself(make: Make) -> None:
    study = make(GridSearch(levels=3), Space(i=Int(0, 9)))
    for said in (study, Study.load(study.storage)) if study.storage else (study,):
        assert said.strategy_name == "grid"
        assert said.strategy_config == {"levels": 3, "order": "lexicographic", "retry_failed": False}
    a, b = study.ask(2)
    study.tell(a, 1.0)
    study.enqueue({"i": 5})
    assert study.pending() == [1, 2]
    assert {state.name: n for state, n in study.counts().items()} == {
        "WAITING": 1,
        "RUNNING": 1,
        "DONE": 1,
        "PRUNED": 0,
        "FAILED": 0,
    }
    found = study.find_trial(1)
    assert found is not None and found.params == b.params
    assert study.find_trial(3) is None and study.find_trial(-1) is None and study.find_trial(2**70) is None
    assert study.find_trial(np.int64(1)) == found


def test_wrong_things_are_named(make: Make) -> None:
    study = make(space=X)
    two = make(space=X, directions=["minimize", "minimize"], **({} if study.storage is None else {"name": "two"}))
    wrong: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (SpaceError, "params must be a dict", lambda: study.enqueue([1])),  # type: ignore[arg-type]
        (SpaceError, "params must be a dict", lambda: study.add_trial("x", 1.0)),  # type: ignore[arg-type]
        (SpaceError, "row 1 must be a dict", lambda: study.add_trials([{"x": 0.1}, [1]], [1.0, 2.0])),  # type: ignore[list-item]
        (StudyError, "params must be dicts", lambda: study.add_trials(5, [1.0])),  # type: ignore[arg-type]
        (StudyError, "values must have one", lambda: study.add_trials([{"x": 0.1}], 1.0)),
        (StudyError, "values must hold 2 numbers", lambda: two.add_trials([{"x": 0.1}] * 2, [[1.0, 2.0], [1.0]])),
        (StudyError, "states must have one", lambda: study.add_trials([{"x": 0.1}], [1.0], states=5)),  # type: ignore[arg-type]
        (StudyError, "number must be the number of a trial, but got '3'; give an", lambda: study.find_trial("3")),  # type: ignore[arg-type]
        (StudyError, "number must be the number of a trial, but got True", lambda: study.find_trial(True)),
        (StudyError, "trial must be a Trial or its number, but got 1.0; give", lambda: study.tell(1.0, 2.0)),  # type: ignore[arg-type]
        (StudyError, "no trial 1180591620717411303424", lambda: study.tell(2**70, 1.0)),
        (StudyError, "no trial -1180591620717411303424", lambda: study.release(-(2**70))),
        (StudyError, "attrs must be JSON-able", lambda: study.tell(study.ask(), Outcome(1.0, attrs=[1]))),  # type: ignore[arg-type]
        (StudyError, "directions must be a sequence", lambda: Study(X, "random", directions=5)),  # type: ignore[arg-type]
        (StudyError, "constraints must be an integer", lambda: Study(X, "random", constraints=-1)),
        (StudyError, "constraints must be an integer", lambda: Study(X, "random", constraints=1.0)),  # type: ignore[arg-type]
        (StudyError, "callbacks must be", lambda: study.optimize(len, 1, callbacks=5)),  # type: ignore[arg-type]
        (StudyError, "callbacks must be", lambda: study.optimize(len, 1, callbacks=[5])),  # type: ignore[list-item]
    ]
    for error, match, call in wrong:
        with pytest.raises(error, match=match):
            call()
    assert [t.state for t in study.trials] == [TrialState.RUNNING], "the one that was asked"
    assert len(two.trials) == 0


def test_add_trials_takes_what_is_a_table(make: Make) -> None:
    pd = pytest.importorskip("pandas")
    study = make()
    frame = pd.DataFrame({"x": [0.5, 0.25], "kind": ["a", True], "depth": [2, None]})
    assert study.add_trials(frame, pd.Series([1.0, 2.0]), states=(s for s in ("done", "failed"))) == range(2)
    assert [t.params for t in study.trials] == [{"x": 0.5, "kind": "a", "depth": 2}, {"x": 0.25, "kind": True}]
    assert [t.state.name for t in study.trials] == ["DONE", "FAILED"]
    nullable = pd.DataFrame({"x": [0.5, 0.25], "kind": ["a", True], "depth": pd.array([2, None])})
    assert nullable["depth"][1] is pd.NA
    study.add_trials(nullable, pd.array([1.0, None]))
    assert [(t.params, t.state) for t in study.trials[2:]] == [(t.params, t.state) for t in study.trials[:2]]
    study.add_trials(nullable, [1.0, pd.NA])
    assert study.trials[5].state is TrialState.FAILED
    two = Study(X, "random", directions=["minimize", "minimize"])
    two.add_trials({"x": [0.1, 0.2]}, [[1.0, 2.0], None])
    assert [t.state.name for t in two.trials] == ["DONE", "FAILED"]


@pytest.mark.parametrize("constraints", [0, 1])
def test_one_rule_for_pruned_trials(constraints: int, make: Make) -> None:
    study = make(constraints=constraints)
    nan, limits = math.nan, [0.5] if constraints else None
    for value, limit in ((nan, limits), (None, limits), (1.0, limits), (math.inf, limits), (1.0, [nan] * constraints)):
        study.tell(study.ask(), value, constraints=limit, state="pruned")
    values = [nan, None, 1.0, math.inf, 1.0]
    G = [[0.5]] * 4 + [[nan]] if constraints else None
    study.add_trials([study.trials[0].params] * 5, values, G, ["pruned"] * 5)
    told = [(t.state, t.values, t.constraints or None, t.reason) for t in study.trials]
    assert told[:5] == told[5:]
    assert [state.name for state, *_ in told[:5]] == ["PRUNED", "PRUNED", "PRUNED", "FAILED", "PRUNED"]


def test_integers_of_numpy(make: Make) -> None:
    study = make(constraints=np.int64(1), seed=np.int64(3))
    study.optimize(lambda t: Outcome(1.0, [0.0]), np.int64(2), max_attempts=np.int32(1))
    study.optimize(lambda t: Outcome(1.0, [0.0]), total_trials=np.uint8(3), timeout=np.float32(60))
    assert len(study.trials) == 3 and len(study.ask(np.int64(2))) == 2
    assert type(study.constraints) is int


def test_columns_of_a_data_frame_do_not_collide(make: Make) -> None:
    pytest.importorskip("pandas")
    names = ["state", "number", "params_x", "values_state", "loss"]
    study = make(directions=dict.fromkeys(names, "minimize"))
    study.tell(study.ask(), [1.0, 2.0, 3.0, 4.0, 5.0])
    (row,) = study.to_dataframe().to_dict("records")
    assert (row["state"], row["number"], row["params_x"]) == ("done", 0, study.trials[0].params["x"])
    columns = ["values_state", "values_number", "values_params_x", "values_values_state", "loss"]
    assert [row[name] for name in columns] == [1.0, 2.0, 3.0, 4.0, 5.0]
