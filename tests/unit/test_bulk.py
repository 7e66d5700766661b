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
    study = make(SPACE, directions=["minimize", "maximize"], constraints=1)
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
    study = make(space)
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


def test_rows_that_are_no_plain_dicts(make: Make) -> None:
    from collections import ChainMap, defaultdict
    from types import MappingProxyType

    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))
    kinds: list[Any] = [MappingProxyType, ChainMap, lambda row: defaultdict(float, row)]
    rows = [kinds[i % 3]({"x": i / 60, "y": 0.5}) for i in range(60)]
    study = make(space)
    study.add_trials(rows, np.zeros(60))
    assert [t.params for t in study.trials] == [{"x": i / 60, "y": 0.5} for i in range(60)]
    short: Any = defaultdict(float, x=0.5)
    with pytest.raises(SpaceError, match=r"row 60.*missing"):
        study.add_trials([*rows, short], np.zeros(61))
    assert "y" not in short, "looking changes nothing"


def test_long_doubles_are_kept_as_doubles(make: Make) -> None:
    study = make(Space(x=Float(0.0, 1.0), kind=Ordinal([0.5, 1.0])))
    study.add_trials({"x": np.array([0.25] * 20, dtype=np.longdouble), "kind": [np.longdouble(0.5)] * 20}, [0.0] * 20)
    study.add_trial({"x": np.longdouble(0.25), "kind": np.longdouble(0.5)}, np.longdouble(0.0))
    assert {repr(t.params) for t in study.trials} == {"{'x': 0.25, 'kind': 0.5}"}


def test_told_trials_of_a_bulk_are_told(make: Make) -> None:
    study = make(Space(x=Float(0.0, 1.0)))
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
    study = make(Space(shape=Categorical([[1, [2]], [3]])))
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
    study = make(SPACE)
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
    assert len(make(SPACE, name="empty").to_dataframe()) == 0


@pytest.mark.parametrize("size", [5, 40])
def test_values_that_a_generator_fills_anew_are_taken_at_once(size: int, make: Make) -> None:
    """An array without a dimension, a list, a dict in a list: each is the same object in all rows."""
    choices = [[1, [1]], [2, [2]], [3, [3]], {"k": [1]}]
    space = Space(
        x=Float(0.0, 1.0), n=Int(0, 99), kind=Categorical(choices), more=Categorical([{"k": [1]}, {"k": [2]}])
    )
    x, n, kind, more = np.array(0.0), np.array(0), [1, [1]], {"k": [1]}

    def generator() -> Iterator[dict[str, Any]]:
        row = {"x": x, "n": n, "kind": kind, "more": more}
        for i in range(size):
            x[()], n[()] = i / size, i
            kind[0] = kind[1][0] = i % 3 + 1  # type: ignore[index]
            more["k"][0] = i % 2 + 1
            yield row

    expected = [{"x": i / size, "n": i, "kind": choices[i % 3], "more": {"k": [i % 2 + 1]}} for i in range(size)]
    study = make(space)
    study.add_trials(generator(), np.zeros(size))
    assert [t.params for t in study.trials] == expected
    assert all(type(t.params["x"]) is float and type(t.params["n"]) is int for t in study.trials)
    codes = np.array([space.encode(row) for row in expected])
    assert space.encode_many(generator()).tobytes() == codes.tobytes()
    assert study._journal.snapshot(-1).U.tobytes() == codes.tobytes()


def test_columns_that_a_mapping_fills_anew_are_copied_at_once(make: Make) -> None:
    class Reading(dict[str, Any]):
        buffer = np.zeros(30)

        def __getitem__(self, name: str) -> Any:
            self.buffer[:] = super().__getitem__(name)
            return self.buffer

    study = make(Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0)))
    study.add_trials(Reading(x=0.25, y=0.75), np.zeros(30))
    assert [t.params for t in study.trials] == [{"x": 0.25, "y": 0.75}] * 30
    assert study.space.encode_many(Reading(x=0.25, y=0.75)).tolist() == [[0.25, 0.75]] * 30


@pytest.mark.parametrize("size", [1, 16, 17, 60])
def test_params_come_back_in_the_order_of_the_space(size: int, make: Make) -> None:
    space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0).when(x=Between(0.0, 0.9)))
    study = make(space)
    rows = [{"y": 0.5, "x": 0.5}] * size
    study.add_trials(rows, np.zeros(size))
    study.add_trials({"y": [0.5] * size, "x": [0.5] * size}, np.zeros(size))
    assert {tuple(t.params) for t in study.trials} == {("x", "y")}
    assert tuple(study.trials[study.add_trial(rows[0], 0.0)].params) == ("y", "x")


def test_small_bulks_are_kept_as_rows_in_memory() -> None:
    from hpo_fast.storage.journal import Row

    study = Study(Space(x=Float(0.0, 1.0)), "grid", seed=0)
    for i in range(1, 17):
        study.add_trials([{"x": 0.5}] * i, np.full(i, float(i)))
    journal: Any = study._journal
    assert {type(row) for row in journal._rows} == {Row} and len(journal._rows) == 136
    assert study.add_trials([], []) == range(136, 136)
    assert study.best_trial.value == 1.0 and study.counts()[TrialState.DONE] == 136
    assert journal.results(-1).numbers.tolist() == list(range(136))
    study.add_trials([{"x": 0.5}] * 17, np.zeros(17))
    assert len({id(row) for row in journal._rows}) == 137
