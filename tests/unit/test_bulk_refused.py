"""Trials added in bulk that are wrong, or interrupted, leave the study as it is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo_fast.errors import SpaceError, StudyError
from hpo_fast.space import Between, Categorical, Float, Int, Space
from hpo_fast.storage.file_journal import FileJournal
from hpo_fast.storage.memory import MemoryJournal
from hpo_fast.storage.params import ParamColumns
from hpo_fast.strategies import RandomSearch
from hpo_fast.study import Study
from hpo_fast.trial import TrialState

Make = Callable[..., Study]

SPACE = Space(
    x=Float(-1.0, 1.0),
    tenth=Float(0.0, 1.0, step=0.1),
    n=Int(-5, 5),
    kind=Categorical(["a", None, 1, [1, [2]]]),
    depth=Int(1, 4).when(kind=["a", None]),
    sub=Categorical(["p", None]).when(depth=Between(2, 3)),
)


def rows_of(space: Space, m: int, seed: int = 0) -> list[dict[str, Any]]:
    return [space.decode(u) for u in space.from_uniform(np.random.default_rng(seed).random((m, space.d)))]


def as_columns(space: Space, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in rows] for name in space.names}


BAD_ROWS = {
    "a value out of range": ({"x": 5.0}, 'Float\\("x"\\), row {i}'),
    "another type": ({"x": "0.5"}, 'Float\\("x"\\), row {i}'),
    "one name too many": ({"y": 1}, "row {i}.*'y'"),
    "an unknown choice": ({"kind": "A"}, 'Categorical\\("kind"\\), row {i}'),
    "off the grid": ({"tenth": 0.15}, 'Float\\("tenth"\\), row {i}'),
    "one that does not exist": ({"kind": 1, "depth": 2}, 'Int\\("depth"\\), row {i}'),
    "no dict": (None, "row {i} must be a dict"),
}


@pytest.mark.parametrize("place", [0, 19, 20, 48])
@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_bad_row_names_its_place_and_nothing_is_stored(what: str, place: int, make: Make, chunk: int) -> None:
    study = make(SPACE)
    study.ask()
    rows: list[Any] = rows_of(SPACE, 60)
    changes, message = BAD_ROWS[what]
    rows[place] = 3 if changes is None else {**rows[place], **changes}
    before = (study._journal.numbers(), study._journal.look(), study.total_trials)
    with pytest.raises(SpaceError, match=message.format(i=place)):
        study.add_trials(iter(rows), np.zeros(60))
    assert (study._journal.numbers(), study._journal.look(), study.total_trials) == before
    if changes is not None and "y" not in changes:
        with pytest.raises(SpaceError, match=message.format(i=place)):
            study.add_trials(as_columns(SPACE, rows), np.zeros(60))
        with pytest.raises(SpaceError, match=message.format(i=place)):
            SPACE.encode_many(rows)
    del rows[place]
    assert study.add_trials(rows, np.zeros(59)) == range(1, 60)


@pytest.mark.parametrize("name", SPACE.names)
def test_a_missing_parameter_is_named(name: str, make: Make) -> None:
    rows = rows_of(SPACE, 60)
    place = next(i for i, row in enumerate(rows) if name in row and i > 30)
    del rows[place][name]
    with pytest.raises(SpaceError, match=f"row {place}: the parameter must be given here"):
        make(SPACE).add_trials(rows, np.zeros(60))


def test_an_iterator_is_read_once_and_may_raise(make: Make, chunk: int) -> None:
    study = make(SPACE)
    rows = rows_of(SPACE, 60)
    taken = []

    def breaking() -> Iterator[dict[str, Any]]:
        for i, row in enumerate(rows):
            if i == 50:
                raise OSError("the disk is gone")
            taken.append(i)
            yield row

    with pytest.raises(OSError, match="the disk is gone"):
        study.add_trials(breaking(), np.zeros(60))
    assert taken == list(range(50)) and len(study.trials) == 0

    def asking() -> Iterator[dict[str, Any]]:  # no lock is held, no transaction is open while the iterator runs
        for row in rows:
            study.tell(study.ask(), 1.0)
            yield row

    assert study.add_trials(asking(), np.zeros(60)) == range(60, 120)
    left = iter(rows)
    with pytest.raises(StudyError, match=r"values must have the shape \(60,\)"):
        study.add_trials(left, np.zeros(59))
    assert next(left, None) is None and len(study.trials) == 120


def no_memory(*_: Any) -> Any:
    raise MemoryError


def test_a_transaction_that_fails_midway_leaves_the_file_as_it_is(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(Space(x=Float(0.0, 1.0)), "random", storage=tmp_path / "study.db")
    study.tell(study.ask(), 1.0)
    texts = ParamColumns.texts

    def failing(self: ParamColumns, start: int, stop: int) -> list[str]:
        if stop == 50:  # the last part
            raise MemoryError
        return texts(self, start, stop)

    column = np.linspace(0, 1, 50)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(ParamColumns, "texts", failing)
        study.add_trials({"x": column}, np.zeros(50))
    assert len(study.trials) == 1 and study.total_trials == 1
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(FileJournal, "_next", no_memory)
        study.add_trials({"x": column}, np.zeros(50))
    assert len(study.trials) == 1 and study.total_trials == 1
    assert study.add_trials({"x": column}, np.zeros(50)) == range(1, 51)
    assert len(study.trials) == 51 and study.total_trials == 1


@pytest.mark.parametrize("states", [[3] * 4, np.array([3, 4, 5, 3]), ["done", TrialState.FAILED, "PRUNED", 5]])
def test_states_are_read(states: Any, make: Make) -> None:
    study = make(Space(x=Float(0.0, 1.0)))
    study.add_trials({"x": [0.1] * 4}, [1.0] * 4, states=states)
    expected = [3, 5, 4, 5] if isinstance(states[0], str) else list(map(int, states))
    assert [int(t.state) for t in study.trials] == expected
    study.add_trials({"x": [0.1] * 2}, [1.0] * 2, states=[np.array(3), np.array([5])])
    assert [int(t.state) for t in study.trials[4:]] == [3, 5]
    for wrong in ([[3]] * 4, [{}] * 4, [np.array([3, 4])] * 4, ["done", "lost", "done", "done"], [3, 3, 3, 2]):
        with pytest.raises(StudyError, match="state must be"):
            study.add_trials({"x": [0.1] * 4}, [1.0] * 4, states=wrong)
    assert len(study.trials) == 6


def interrupted_at(step: int, names: Sequence[str], work: Callable[[], object]) -> bool:
    """Does the work with Ctrl-C at the line of that number, of those of these verbs of MemoryJournal; tells whether."""
    code = {getattr(MemoryJournal, name).__code__ for name in names}
    left = step

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code not in code:
            return None
        if event == "line":
            if left == 0:
                left = -1
                raise KeyboardInterrupt
            left -= 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("verb", ["few together", "many together", "one"])
def test_ctrl_c_at_any_step_leaves_the_study_in_memory_as_it_is_or_with_all(verb: str) -> None:
    size = {"few together": 5, "many together": 30, "one": 1}[verb]
    outcomes = set()
    for step in range(100):
        study = Study(Space(x=Float(0.0, 1.0)), "grid", seed=0)
        study.add_trials({"x": [0.5] * 20}, np.ones(20))
        study.tell(study.ask(), 1.0)
        if verb == "one":
            work = partial(study.add_trial, {"x": 0.25}, 0.5)
        else:
            work = partial(study.add_trials, {"x": [0.25] * size}, np.full(size, 0.5))
        interrupted = interrupted_at(step, ["add", "add_many", "_append"], work)
        n = len(study.trials)
        outcomes.add((interrupted, n))
        assert n in (21, 21 + size)
        for _ in range(2):
            assert study.counts()[TrialState.DONE] == n and study.total_trials == 1
        assert study._journal.look().last_seq == n - 1
        study.tell(study.ask(), 2.0)
        assert study.add_trials({"x": [0.75] * 20}, np.zeros(20)) == range(n + 1, n + 21)
        results = study._journal.results(-1)
        assert results.numbers.tolist() == list(range(n + 21)) and study.best_trial.number == n + 1
        if not interrupted:
            break
    assert outcomes >= {(True, 21), (False, 21 + size)}


@pytest.mark.parametrize("verb", ["tell", "tell what waits", "enqueue", "ask", "ask what waits", "release"])
def test_ctrl_c_at_any_step_loses_no_trial_in_memory(verb: str) -> None:
    """A trial is told, runs or waits, and one that waits is given out; nothing is counted twice."""
    cut_off = 0
    for step in range(100):
        study = Study(Space(x=Float(0.0, 1.0)), "random", seed=0)
        study.tell(study.ask(), 1.0)
        first, second = study.ask(2)
        nobody_filled = study._journal.reserve(1, None, None, None)[1]
        study._journal.give_back(nobody_filled, None)
        study.enqueue({"x": 0.25})
        study.release(second)
        work: dict[str, Callable[[], object]] = {
            "tell": lambda: study.tell(first, 2.0, attrs={"a": 1}),  # noqa: B023 - called at once
            "tell what waits": lambda: study.tell(second, 2.0),  # noqa: B023
            "enqueue": lambda: study.enqueue({"x": 0.75}),  # noqa: B023
            "ask": lambda: study.ask(5),  # noqa: B023
            "ask what waits": lambda: study.ask(2),  # noqa: B023
            "release": lambda: study.release(first),  # noqa: B023
        }
        verbs = ["finish", "enqueue", "reserve", "release", "_release", "_wait", "write"]
        interrupted = interrupted_at(step, verbs, work[verb])
        look = study._journal.look()
        told = [t.number for t in study.trials if t.state == TrialState.DONE]
        assert sorted([*told, *look.waiting, *look.running]) == [t.number for t in study.trials]
        assert look.last_seq == len(told) - 1 and study.counts()[TrialState.DONE] == len(told)
        assert all(t.value is None and t.attrs == {} for t in study.trials if t.number not in told)
        for number in look.running:
            study.tell(number, 3.0)
        again = study.ask(len(look.waiting) + 3)  # all that wait, the free number, and new ones
        numbers = [t.number for t in again]
        assert len(again) == len(set(numbers)) and set(look.waiting) <= set(numbers)
        for trial in again:
            study.tell(trial, 4.0)
        everything = [t.number for t in study.trials]
        assert everything == sorted(study._journal.results(-1).numbers.tolist())
        # Between a reservation and its receipt there is an instant in which a number, which is no trial yet, gets lost.
        lost = sorted(set(range(study.total_trials)) - set(everything))
        assert len(everything) + len(lost) == study.total_trials and lost == study._journal.numbers()[1]
        if lost:
            assert verb == "ask"
            cut_off += 1
        if not interrupted:
            break
    assert not interrupted and step >= 5 and cut_off <= 2


def test_ctrl_c_at_any_step_gives_back_all_or_none_in_memory() -> None:
    """What waited waits again, the attempt does not count, and what nobody filled is free."""
    outcomes = set()
    for step in range(100):
        journal = Study(Space(x=Float(0.0, 1.0)), "random", seed=0)._journal
        for x in (0.25, 0.5, 0.75):
            journal.enqueue({"x": x}, np.array([x]))
        rows, numbers = journal.reserve(6, "me", None, None)
        assert [row.number for row in rows] == [0, 1, 2] and numbers == [3, 4, 5]
        work = partial(journal.give_back, [0, 1, 2, 3, 4, 5], "me")
        interrupted = interrupted_at(step, ["give_back", "_release", "_wait"], work)
        look, total = journal.look(), journal.total()
        outcomes.add((interrupted, total))
        if total == 3:
            assert look.waiting == (0, 1, 2) and all(row.attempts == 0 and row.started is None for row in rows)
        else:
            assert total == 6 and look.running == (0, 1, 2) and all(row.attempts == 1 for row in rows)
            journal.give_back([0, 1, 2, 3, 4, 5], "me")
        journal.give_back([0, 1, 2, 3, 4, 5], "me")  # twice is once
        rows, numbers = journal.reserve(7, "you", None, None)
        assert [row.number for row in rows] == [0, 1, 2] and numbers == [3, 4, 5, 6]
        assert all(row.attempts == 1 for row in rows)
        if not interrupted:
            break
    assert outcomes == {(True, 6), (True, 3), (False, 3)}


@pytest.mark.parametrize("interrupted", ["_copy", "_choose"])
def test_an_interrupted_ask_gives_back_what_it_took(interrupted: str, make: Make) -> None:
    """Ctrl-C while the parameters of a trial that waited are copied, and while the strategy chooses another."""
    study = make(Space(x=Float(0.0, 1.0)))
    study.enqueue({"x": 0.25})

    def interrupt(*_: object) -> Any:
        raise KeyboardInterrupt

    kept = getattr(study._asker, interrupted)
    setattr(study._asker, interrupted, interrupt)
    with pytest.raises(KeyboardInterrupt):
        study.ask(2)
    look = study._journal.look()
    assert look.waiting == (0,) and look.running == () and study.total_trials == 1
    setattr(study._asker, interrupted, kept)
    trials = study.ask(2)
    assert [trial.number for trial in trials] == [0, 1] and study.total_trials == 2
    assert trials[0].params == {"x": 0.25}


def test_a_lack_of_memory_after_a_reservation_leaves_what_waited_and_what_was_free() -> None:
    class Full(list[Any]):
        def __iadd__(self, other: Any) -> Any:
            list.__iadd__(self, other)
            raise MemoryError

    journal: Any = Study(Space(x=Float(0.0, 1.0)), "random", seed=0)._journal
    journal.give_back(journal.reserve(2, "me", None, None)[1], "me")
    journal.enqueue({"x": 0.5}, np.array([0.5]))
    journal._rows = Full(journal._rows)
    with pytest.raises(MemoryError):
        journal.reserve(5, "me", None, None)
    journal._rows = list(journal._rows)
    assert journal.look().waiting == (2,) and journal.total() == 1 and journal.numbers() == (3, [0, 1])
    rows, numbers = journal.reserve(5, "me", None, None)
    assert [row.number for row in rows] == [2] and rows[0].attempts == 1 and numbers == [0, 1, 3, 4]


def test_a_failure_in_the_middle_of_adding_is_undone() -> None:
    """Each of the lists fails in turn, once before it grew and once after."""

    class Failing(list[Any]):
        after = False

        def __iadd__(self, other: Any) -> Any:
            if self.after:
                list.__iadd__(self, other)
            raise MemoryError

    for name in ("_rows", "_told"):
        for after in (False, True):
            for size in (5, 30):
                study = Study(Space(x=Float(0.0, 1.0)), "grid", seed=0)
                study.add_trials({"x": [0.5] * 20}, np.ones(20))
                journal: Any = study._journal
                failing = Failing(getattr(journal, name))
                failing.after = after
                setattr(journal, name, failing)
                with pytest.raises(MemoryError):
                    study.add_trials({"x": [0.25] * size}, np.zeros(size))
                setattr(journal, name, list(failing))
                assert len(study.trials) == 20 and study.total_trials == 0
                assert study.counts()[TrialState.DONE] == 20 and study.best_trial.value == 1.0
                assert study.add_trials({"x": [0.25] * size}, np.zeros(size)) == range(20, 20 + size)


@pytest.mark.parametrize("size", [10, 50])
def test_the_file_is_not_locked_while_its_texts_are_made(
    size: int, tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space(x=Float(0.0, 1.0))
    study = Study(space, "random", storage=tmp_path / "study.db", durability="process")
    other = Study.load(tmp_path / "study.db", durability="process")
    texts, told = ParamColumns.texts, []

    def telling(self: ParamColumns, start: int, stop: int) -> list[str]:
        told.append(other.add_trial({"x": 0.5}, 2.0))
        return texts(self, start, stop)

    with monkeypatch.context() as patch:
        patch.setattr(ParamColumns, "texts", telling)
        added = study.add_trials({"x": np.linspace(0, 1, size)}, np.arange(size))
    assert told == list(range(len(told))) and len(told) == -(-size // chunk)
    assert added == range(len(told), len(told) + size)
    assert [t.value for t in study.trials] == [2.0] * len(told) + list(range(size))
    assert study.total_trials == 0


@pytest.mark.parametrize(
    "values",
    [
        [None, "0.5"],
        [1.0, b"2"],
        [True, 1.0],
        np.array([1.0, np.bool_(True)], dtype=object),
        {0.0: 5.0, 1.0: 6.0},
        {1.0, 2.0},
        np.array(["1", "2"]),
        [None, np.array("0.5")],
        [np.str_("0.5"), 1.0],
        [np.array(True), 1.0],
        [np.datetime64("2026-01-01", "ns"), 1.0],
        [np.array("2026-01-01", dtype="datetime64[ns]"), 1.0],
        np.ma.array(["2026-01-01", "2026-01-02"], dtype="datetime64[ns]", mask=[True, False]),
    ],
    ids=repr,
)
def test_what_is_no_number_is_no_value(values: Any, make: Make) -> None:
    study = make(Space(x=Float(0, 1)))
    with pytest.raises(StudyError, match="values must h"):
        study.add_trials({"x": [0.25, 0.5]}, values)
    assert not study.trials


class Text(str):
    """Reads as a number, and is none."""


class Wrapped:
    """A row of another library."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._array

    def __len__(self) -> int:
        return len(self._array)


def objects(*items: Any) -> Any:
    """An array of these objects, whatever they are."""
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        array[i] = item
    return array


@pytest.mark.parametrize(
    "row",
    [
        np.array([True, False]),
        np.array([True, 2.0], dtype=object),
        np.array(["1", 2.0], dtype=object),
        np.array(["1", "2"]),
        [Text("1"), 2.0],
        [np.array(True), 1.0],
        [np.array("0.5"), None],
        (np.bool_(True), 1.0),
        objects(np.array(True), 1.0),
        objects([1.0], 2.0),
        [np.datetime64("2026-01-01", "ns"), 1.0],
        [np.array("2026-01-01", dtype="datetime64[ns]"), 1.0],
        np.ma.array(["2026-01-01", "2026-01-02"], dtype="datetime64[ns]", mask=[True, False]),
        Wrapped(np.array([True, False])),
        Wrapped(np.array(["1", "2"])),
        [np.timedelta64(3, "s"), 1.0],
        np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[ns]"),
    ],
    ids=repr,
)
def test_what_is_no_number_in_a_row_is_no_value(row: Any) -> None:
    study = Study(Space(x=Float(0, 1)), directions=["minimize", "minimize"], strategy=RandomSearch())
    with pytest.raises(StudyError, match="values must hold 2 numbers"):
        study.add_trials({"x": [0.25, 0.5]}, [row, [1.0, 2.0]])
    assert not study.trials


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "values",
    [
        list(np.ma.array([[7, 1], [3, 4]], mask=[[1, 0], [0, 0]])),
        [[np.ma.masked, 1.0], (3.0, 4.0)],
        [objects(np.ma.masked, 1.0), np.array([3.0, 4.0])],
        [np.ma.masked, [np.float32(3.0), np.array(4)]],
        objects(np.ma.masked, [3.0, 4.0]),
    ],
    ids=["rows", "in a list", "in an array of objects", "the whole row", "the whole row in an array"],
)
def test_a_row_with_a_masked_number_fails_its_trial(values: Any) -> None:
    study = Study(Space(x=Float(0, 1)), directions=["minimize", "minimize"], strategy=RandomSearch())
    study.add_trials({"x": [0.25, 0.5]}, values)
    assert [trial.values for trial in study.trials] == [None, (3.0, 4.0)]


@pytest.mark.parametrize(
    "values",
    [[10**400, 1], [-(10**400), 1], [None, 1], np.ma.array([7.0, 1.0], mask=[True, False]), [np.ma.masked, 1.0]],
    ids=["too large", "too small", "none", "masked", "masked in a list"],
)
def test_a_value_that_is_not_there_or_beyond_all_numbers_fails_its_trial(values: Any, make: Make) -> None:
    study = make(Space(x=Float(0, 1)))
    study.add_trials({"x": [0.25, 0.5]}, values)
    failed, done = study.trials
    assert (failed.state, failed.values) == (TrialState.FAILED, None)
    assert (done.state, done.values) == (TrialState.DONE, (1.0,))


def test_a_masked_parameter_is_missing(make: Make) -> None:
    study = make(Space(kind=Categorical(["a", "b"]), x=Float(0, 1).when(kind="a")))
    columns = {"kind": ["a", "b"], "x": np.ma.array([0.5, 0.7], mask=[False, True])}
    study.add_trials(columns, [1.0, 2.0])
    assert [trial.params for trial in study.trials] == [{"kind": "a", "x": 0.5}, {"kind": "b"}]
    x = np.ma.array([0.5], mask=[True])
    for params in ({"kind": ["a"], "x": x}, {"kind": ["a"], "x": list(x)}, [{"kind": "a", "x": x[0]}]):
        with pytest.raises(SpaceError, match='Float\\("x"\\), row 0'):
            study.add_trials(params, [1.0])
    with pytest.raises(SpaceError):
        study.add_trial({"kind": "a", "x": np.ma.array(0.25, mask=True)}, 1.0)
    assert len(study.trials) == 2


class Elsewhere:
    """A number that NumPy cannot read, such as a tensor on a device or one with a gradient."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __array__(self, *_args: object, **_options: object) -> np.ndarray:
        raise self._error


@pytest.mark.parametrize("kind", [TypeError, ValueError, RuntimeError])
def test_numbers_that_numpy_cannot_read_are_refused(kind: type[Exception]) -> None:
    study = Study(Space(x=Float(0.0, 1.0)))
    with pytest.raises(StudyError, match="values must hold a number for each trial, but got copy it first"):
        study.add_trials({"x": np.array([0.1])}, [Elsewhere(kind("copy it first"))])
    assert study.total_trials == 0
