"""Trials added in bulk are the trials that adding them one by one would make, whatever they come in."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo_fast.errors import SpaceError, StudyError
from hpo_fast.space import Between, Categorical, Constant, Float, Int, Ordinal, Space
from hpo_fast.storage.params import Coded, Params, keep
from hpo_fast.strategies.base import Notes, written_notes
from hpo_fast.study import Study
from hpo_fast.trial import TrialRecord, TrialState

Make = Callable[..., Study]

SPACE = Space(
    {
        "x": Float(-1.0, 1.0),
        "lr": Float(1e-5, 1e-1, log=True),
        "tenth": Float(0.0, 1.0, step=0.1),
        "n": Int(-5, 5),
        "huge": Int(0, 2**70, step=2**30),
        "units": Int(1, 1000, log=True),
        "kind": Categorical(["a", None, 1, 1.0, True, "1", [1, [2]], {"k": 0.5}]),
        "size": Ordinal([16, 64, 256]),
        "fixed": Constant("on"),
        "depth": Int(1, 4).when(kind=["a", None]),
        '100% "so" ü': Float(0.0, 2.0).when(kind="a", x=Between(-1.0, 0.5)),
        "sub": Categorical(["p", None]).when(depth=Between(2, 3)),
    }
)


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def build(strategy: Any = "random", space: Space = SPACE, **arguments: Any) -> Study:
        storage = None if request.param == "memory" else tmp_path / "study.db"
        return Study(space, strategy, storage=storage, **{"seed": 1, "durability": "process"} | arguments)

    return build


@pytest.fixture(params=[8192, 20], ids=["one chunk", "chunks of 20"])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("hpo_fast.space.columns.CHUNK", request.param)
    monkeypatch.setattr("hpo_fast.storage.file_journal.CHUNK", request.param)
    monkeypatch.setattr("hpo_fast.storage.reading.CHUNK", request.param)
    return int(request.param)


def rows_of(space: Space, m: int, seed: int = 0) -> list[dict[str, Any]]:
    return [space.decode(u) for u in space.from_uniform(np.random.default_rng(seed).random((m, space.d)))]


def as_columns(space: Space, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in rows] for name in space.names}


def seen(record: TrialRecord) -> Any:
    """All that a user sees of a trial, types included."""
    params = {name: (type(value), repr(value)) for name, value in record.params.items()}
    return params, record.u.tobytes(), record.state, record.values, record.constraints, record.attrs, record.reason


def one_by_one(rows: list[dict[str, Any]], values: Any, limits: Any, states: Any, **arguments: Any) -> list[Any]:
    study = Study(SPACE, "random", **arguments)
    for row, value, limit, state in zip(rows, values, limits, states, strict=True):
        study.add_trial(row, value, constraints=limit, state=state)
    return list(map(seen, study.trials))


@pytest.mark.parametrize("form", ["columns", "list", "generator", "one dict for all"])
def test_bulk_equals_one_by_one(form: str, make: Make, chunk: int) -> None:
    rng = np.random.default_rng(3)
    m = 67
    rows = rows_of(SPACE, m)
    childless = [row for row in rows if row["kind"] != "a"]
    childless[0]["x"], childless[1]["x"], rows[7]["n"] = 0, -0.0, 3.0  # told as they are
    values, limits = rng.normal(size=(m, 2)), rng.normal(size=(m, 1))
    values[3, 1], values[4, 0], limits[8, 0] = math.nan, math.inf, -math.inf
    states = rng.choice(["done", "pruned", "failed"], m, p=[0.7, 0.2, 0.1]).tolist()
    expected = one_by_one(rows, values, limits, states, directions=["minimize", "maximize"], constraints=1)

    def generator() -> Iterator[dict[str, Any]]:
        same: dict[str, Any] = {}
        for row in rows:
            same.clear()
            same.update(json.loads(json.dumps(row)))
            yield same
            for value in same.values():
                if isinstance(value, list):
                    value.clear()

    given: Any = {
        "columns": as_columns(SPACE, rows),
        "list": rows,
        "generator": (row for row in rows),
        "one dict for all": generator(),
    }[form]
    study = make(directions=["minimize", "maximize"], constraints=1)
    first = study.ask()
    study.enqueue(rows[0])
    assert study.add_trials(given, values, limits, states) == range(2, m + 2)
    assert list(map(seen, study.trials[2:])) == expected
    assert [seen(study.trials[i + 2]) for i in range(m)] == expected
    assert [t.number for t in study.trials] == list(range(m + 2))
    study.tell(first, [0.0, 0.0], constraints=[0.0])
    again = study.add_trials(rows, values, limits, states)
    assert list(map(seen, study.trials[again.start :])) == expected
    counts = study.counts()
    assert [counts[s] for s in (TrialState.WAITING, TrialState.RUNNING)] == [1, 0]
    for state in (TrialState.DONE, TrialState.PRUNED, TrialState.FAILED):
        assert counts[state] == sum(t.state == state for t in study.trials)
    assert study.total_trials == 2


def test_arrays_of_any_kind_come_back_as_they_are(make: Make) -> None:
    m = 40
    rng = np.random.default_rng(0)
    space = Space(
        half=Float(0.0, 1.0),
        single=Float(0.0, 1.0),
        big=Float(0.0, 1.0),
        whole=Float(0.0, 300.0),
        byte=Int(-100, 100),
        unsigned=Int(0, 2**40),
        floats=Int(0, 9),
        flag=Categorical([False, True]),
        text=Categorical(["ab", "c"]),
        mixed=Categorical([None, "x", 3]),
        frozen=Ordinal([1, 2, 3]),
    )
    columns: dict[str, Any] = {
        "half": rng.random(m).astype(np.float16),
        "single": rng.random(m).astype(np.float32),
        "big": rng.random(m).astype(">f8"),
        "whole": rng.integers(0, 300, m).astype(np.int16),
        "byte": rng.integers(-100, 100, m).astype(np.int8),
        "unsigned": rng.integers(0, 2**40, m).astype(np.uint64),
        "floats": rng.integers(0, 10, m).astype(float),
        "flag": rng.random(m) < 0.5,
        "text": rng.choice(["ab", "c"], m),
        "mixed": np.array([None, "x", 3], dtype=object)[rng.integers(0, 3, m)],
        "frozen": [np.int64(i) for i in rng.integers(1, 4, m)],
    }
    expected = [
        {name: (type(value), value) for name, value in zip(columns, row, strict=True)}
        for row in zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True)
    ]
    study = make(space=space)
    study.add_trials(columns, np.arange(m, dtype=np.float32))
    for name, column in columns.items():  # the journal has its own
        if isinstance(column, np.ndarray) and name != "mixed":
            column[:] = column[0]
    dicts = [dict(zip(columns, (value for _, value in row.values()), strict=True)) for row in expected]
    study.add_trials(dicts, list(range(m)))
    study.add_trials([{name: np.array(v)[()] for name, v in row.items()} for row in dicts], np.arange(m)[:, None])
    trials = list(study.trials)
    for part in range(3):
        for i, row in enumerate(expected):
            record = trials[part * m + i]
            assert {name: (type(value), value) for name, value in record.params.items()} == row
            assert record.values == (float(i),) and type(record.values[0]) is float
            assert record.u.tobytes() == space.encode(record.params).tobytes() and not record.u.flags.writeable


def test_the_file_holds_the_same_text_as_one_by_one(tmp_path: Path) -> None:
    rows = rows_of(SPACE, 50)
    study = Study(SPACE, "random", storage=tmp_path / "study.db")
    for row in rows:
        study.add_trial(row, 1.0)
    study.add_trials(as_columns(SPACE, rows), np.ones(50))
    study.add_trials(rows, np.ones(50))
    with sqlite3.connect(tmp_path / "study.db") as db:
        columns = "state, attempts, u, objectives, constraints, params, attrs, note, reason, owner, started"
        stored = db.execute(f"SELECT {columns} FROM trials ORDER BY number").fetchall()
        assert db.execute("SELECT added FROM studies").fetchone() == (150,)
        assert [seq for (seq,) in db.execute("SELECT seq FROM trials ORDER BY number")] == list(range(150))
    assert stored[:50] == stored[50:100] == stored[100:]
    assert stored[0][5] == json.dumps(rows[0])


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
    study = make()
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
        make().add_trials(rows, np.zeros(60))


def test_rows_that_are_no_plain_dicts(make: Make) -> None:
    from collections import ChainMap, defaultdict
    from types import MappingProxyType

    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))
    kinds: list[Any] = [MappingProxyType, ChainMap, lambda row: defaultdict(float, row)]
    rows = [kinds[i % 3]({"x": i / 60, "y": 0.5}) for i in range(60)]
    study = make(space=space)
    study.add_trials(rows, np.zeros(60))
    assert [t.params for t in study.trials] == [{"x": i / 60, "y": 0.5} for i in range(60)]
    short: Any = defaultdict(float, x=0.5)
    with pytest.raises(SpaceError, match=r"row 60.*missing"):
        study.add_trials([*rows, short], np.zeros(61))
    assert "y" not in short, "looking changes nothing"


def test_an_iterator_is_read_once_and_may_raise(make: Make, chunk: int) -> None:
    study = make()
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


def test_a_transaction_that_fails_midway_leaves_the_file_as_it_is(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(Space(x=Float(0.0, 1.0)), "random", storage=tmp_path / "study.db")
    study.tell(study.ask(), 1.0)
    texts = Params.texts

    def failing(self: Params, start: int, stop: int) -> list[str]:
        if stop == 50:  # the last part
            raise MemoryError
        return texts(self, start, stop)

    column = np.linspace(0, 1, 50)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(Params, "texts", failing)
        study.add_trials({"x": column}, np.zeros(50))
    assert len(study.trials) == 1 and study.total_trials == 1
    assert study.add_trials({"x": column}, np.zeros(50)) == range(1, 51)
    assert len(study.trials) == 51 and study.total_trials == 1


def test_long_doubles_are_kept_as_doubles(make: Make) -> None:
    study = make(space=Space(x=Float(0.0, 1.0), kind=Ordinal([0.5, 1.0])))
    study.add_trials({"x": np.array([0.25] * 20, dtype=np.longdouble), "kind": [np.longdouble(0.5)] * 20}, [0.0] * 20)
    study.add_trial({"x": np.longdouble(0.25), "kind": np.longdouble(0.5)}, np.longdouble(0.0))
    assert {repr(t.params) for t in study.trials} == {"{'x': 0.25, 'kind': 0.5}"}


@pytest.mark.parametrize("states", [[3] * 4, np.array([3, 4, 5, 3]), ["done", TrialState.FAILED, "PRUNED", 5]])
def test_states_are_read(states: Any, make: Make) -> None:
    study = make(space=Space(x=Float(0.0, 1.0)))
    study.add_trials({"x": [0.1] * 4}, [1.0] * 4, states=states)
    expected = [3, 5, 4, 5] if isinstance(states[0], str) else list(map(int, states))
    assert [int(t.state) for t in study.trials] == expected
    for wrong in ([[3]] * 4, ["done", "lost", "done", "done"], [3, 3, 3, 2]):
        with pytest.raises(StudyError, match="state must be"):
            study.add_trials({"x": [0.1] * 4}, [1.0] * 4, states=wrong)
    assert len(study.trials) == 4


def test_snapshots_of_a_mixed_history(make: Make, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a strategy gets to see from any moment on is what the rows say, in order of telling."""
    from hpo_fast.strategies.random import RandomSearch

    class Noting(RandomSearch):
        def ask(self, numbers: Any, pending: Any) -> list[Any]:
            proposals = super().ask(numbers, pending)
            for number, proposal in zip(numbers, proposals, strict=True):
                proposal.note.update({"for": number} if number % 2 else {})
            return proposals

    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0).when(x=Between(0.0, 0.5)))
    study = make(Noting(), space)
    open_trials = study.ask(6)
    for size in (30, 1, 0, 45):
        study.add_trials(
            rows_of(space, size, size),
            np.arange(size),
            states=["done", "failed", "pruned"] * (size // 3) + ["done"] * (size % 3),
        )
        study.tell(open_trials.pop(), 0.5)
        study.tell(study.ask(), math.nan)
    journal = study._journal
    rows = sorted((row for row in journal.rows(0, 10**6) if row.seq is not None), key=lambda row: row.seq or 0)
    assert [row.seq for row in rows] == list(range(len(rows))) and len(rows) == 84
    for after in range(-1, len(rows)):
        seen = journal.snapshot(after)
        expected = rows[after + 1 :]
        results = seen.results
        assert results.last_seq == len(rows) - 1
        assert results.numbers.tolist() == [row.number for row in expected] and results.numbers.dtype == np.int64
        assert results.states.tolist() == [row.state for row in expected] and results.states.dtype == np.uint8
        values = [row.values or (math.nan,) for row in expected]
        np.testing.assert_array_equal(results.values, np.array(values).reshape(-1, 1))
        assert results.constraints.shape == (len(expected), 0)
        assert results.asked.tolist() == [row.attempts > 0 for row in expected]
        U = np.array([journal.encoded(row) for row in expected]).reshape(-1, 2)
        np.testing.assert_array_equal(seen.U, U)
        assert list(seen.notes) == [row.note for row in expected]
        assert list(seen.notes.written()) == [(i, row.note) for i, row in enumerate(expected) if row.note]
        assert seen.open.numbers.tolist() == [t.number for t in open_trials]
        for one, other in zip(results, journal.results(after), strict=True):
            np.testing.assert_array_equal(one, other)


def test_told_trials_of_a_bulk_are_told(make: Make) -> None:
    study = make(space=Space(x=Float(0.0, 1.0)))
    study.add_trials({"x": np.linspace(0, 1, 30)}, np.zeros(30), states=["pruned"] * 30)
    for verb in (lambda: study.tell(4, 1.0), lambda: study.fail(4, "no"), lambda: study.release(4)):
        with pytest.raises(StudyError, match="told once, but trial 4 is pruned already"):
            verb()
    study._journal.give_back([4], None)
    assert study.trials[4].state == TrialState.PRUNED and study.pending() == []
    record = study.find_trial(29)
    assert record is not None and record.params == {"x": 1.0} and study.find_trial(30) is None
    assert study.ask().number == 30


def test_records_of_a_bulk_cannot_change_it(make: Make) -> None:
    study = make(space=Space(shape=Categorical([[1, [2]], [3]])))
    study.add_trials({"shape": [[1, [2]], [3]] * 20}, np.zeros(40))
    for record in study.trials:
        record.params["shape"].append(9)
        record.attrs["x"] = record.note["x"] = 1
    assert [t.params["shape"] for t in study.trials] == [[1, [2]], [3]] * 20
    assert not any(t.attrs or t.note for t in study.trials)


@pytest.mark.parametrize("block", [1, 7, 512])
def test_a_data_frame_does_not_depend_on_the_blocks(block: int, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    pd = pytest.importorskip("pandas")
    monkeypatch.setattr("hpo_fast.study.trials._BLOCK", block)
    study = make()
    rows = rows_of(SPACE, 40)
    study.add_trials(rows, [math.nan, *range(39)])
    study.add_trial(rows[0], 1.0, attrs={"host": "h", "gpus": 2})
    study.tell(study.ask(), 0.5, attrs={"gpus": 1})
    frame = study.to_dataframe()
    params = [f"params_{name}" for name in SPACE.names]
    attrs = ["attrs_host", "attrs_gpus"]
    assert list(frame.columns) == [
        "number",
        "state",
        "value",
        *params,
        *attrs,
        "started",
        "ended",
        "duration",
        "reason",
    ]
    for i, trial in enumerate(study.trials):
        row = frame.loc[i]
        assert row["number"] == trial.number and row["state"] == trial.state.name.lower()
        assert row["value"] == trial.value or (trial.value is None and pd.isna(row["value"]))
        for name in SPACE.names:
            shown, told = row[f"params_{name}"], trial.params.get(name)
            assert shown == told or (told is None and pd.isna(shown))
        for name in ("host", "gpus"):
            shown = row[f"attrs_{name}"]
            assert shown == trial.attrs[name] if name in trial.attrs else pd.isna(shown)
    assert frame["number"].dtype == np.int64 and frame["value"].dtype == frame["params_lr"].dtype == np.float64
    assert len(make(name="empty").to_dataframe()) == 0


# -- the columns behind it -------------------------------------------------------------------------------------------


def test_a_column_with_few_values_is_coded_and_tells_types_apart() -> None:
    values: list[Any] = [1, 1.0, True, "1", None, -0.0, 0.0, [1], [1.0], {"a": 1}, {"a": True}]
    column = keep(values * 50, lambda value: value)
    assert isinstance(column, Coded) and len(column.values) == len(values) and column.codes.dtype == np.uint8
    params = Params(["x"], [(550, [column])], None)
    assert repr([row["x"] for row in params.dicts(3, 547)]) == repr((values * 50)[3:547])
    assert list(map(json.loads, params.texts(0, 11))) == [{"x": value} for value in values]
    many = keep([str(i) for i in range(300)], lambda value: value)
    assert isinstance(many, Coded) and many.codes.dtype == np.uint16 and many.values[299] == "299"
    assert isinstance(keep([str(i) for i in range(2**16 + 1)], lambda value: value), list)


def test_values_that_are_written_alike_are_kept_apart() -> None:
    class Odd(int):
        def __repr__(self) -> str:
            return "odd"

    column = keep([Odd(1), Odd(2), "odd", 3], lambda value: value)
    assert Params(["x"], [(4, [column])], None).dicts(0, 4) == [{"x": 1}, {"x": 2}, {"x": "odd"}, {"x": 3}]


def test_params_in_parts() -> None:
    parts: Any = [(m, [np.arange(m) + 10 * m, None]) for m in (3, 1, 4)]
    params = Params(["a", "b"], parts, lambda start, stop: np.array([[True, False]] * (stop - start)))
    whole = [{"a": value} for m in (3, 1, 4) for value in range(10 * m, 11 * m)]
    assert len(params) == 8
    for start in range(9):
        for stop in range(start, 9):
            assert params.dicts(start, stop) == whole[start:stop]
            assert list(map(json.loads, params.texts(start, stop))) == whole[start:stop]


def test_notes_are_a_sequence() -> None:
    notes = Notes(4, {1: '{"a": 1}', 3: {"b": 2}})
    whole: list[Any] = [{}, {"a": 1}, {}, {"b": 2}]
    assert len(notes) == 4 and list(notes) == whole and notes[-1] == {"b": 2} and notes[1:3] == whole[1:3]
    with pytest.raises(IndexError):
        notes[4]
    assert list(written_notes(notes)) == [(1, {"a": 1}), (3, {"b": 2})]
    assert list(written_notes(whole)) == list(enumerate(whole))
