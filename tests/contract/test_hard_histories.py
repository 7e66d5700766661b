"""Histories that break numerics: every ask gives a point of the space, soon, and never a failed one again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from hpo_fast.errors import NumericalError, StudyFinished
from hpo_fast.space import Between, Categorical, Float, Int, Space
from hpo_fast.strategies import TPE, BayesianOptimization
from hpo_fast.strategies.base import Strategy
from hpo_fast.study import Study
from hpo_fast.trial import TrialRecord, TrialState

FloatArray = npt.NDArray[np.float64]

STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "bayesian": BayesianOptimization,
    "deterministic": lambda: BayesianOptimization(deterministic=True),
    "local": lambda: BayesianOptimization(surrogate="vecchia"),
    "tpe": TPE,
}
LONG_WAIT = 60.0  # seconds; an ask takes a fiftieth, also on a busy machine, of 5,000 rows in 200 dimensions a tenth


class Hard(NamedTuple):
    """A history: points of the space as U (n, d), and values y (n,), NaN where a trial failed."""

    space: Space
    U: FloatArray
    y: FloatArray


def line(d: int) -> Space:
    return Space({f"x{j}": Float(0.0, 1.0) for j in range(d)})


def mixed(blocks: int) -> Space:
    parts: dict[str, Any] = {}
    for j in range(blocks):
        parts |= {
            f"kind{j}": Categorical(["a", None, 3]),
            f"units{j}": Int(1, 1000, log=True),
            f"rate{j}": Float(1e-8, 1e8, log=True).when({f"kind{j}": ["a", 3]}),
            f"step{j}": Float(0.0, 1.0, step=0.15).when({f"units{j}": Between(1, 30)}),
        }
    return Space(parts)


NESTED = Space(
    {"c0": Categorical(["a", "b"])}
    | {f"c{j}": Categorical(["a", "b"]).when({f"c{j - 1}": "a"}) for j in range(1, 40)}
    | {"x": Float(0.0, 1.0)}
)
CHOICES = Space({f"c{j}": Categorical(list("abcdefg")) for j in range(6)})
FEW = Space({f"c{j}": Categorical(list("abc")) for j in range(3)})  # 27 points


def drawn(space: Space, n: int) -> Hard:
    """Random points of the space with a smooth function of them."""
    U = space.from_uniform(np.random.default_rng(n).random((n, space.d)))
    return Hard(space, U, np.mean((np.where(np.isnan(U), 0.9, U) - 0.3) ** 2, axis=1))


def with_values(space: Space, n: int, change: Callable[[FloatArray, np.random.Generator], FloatArray]) -> Hard:
    plain = drawn(space, n)
    return plain._replace(y=change(plain.y, np.random.default_rng(7)))


def repeated(n: int, points: int, spread: float = 0.0) -> Hard:
    """A few points, each told n / points times, with noise; or as many that are `spread` apart."""
    rng = np.random.default_rng(0)
    U = np.repeat(0.1 + 0.8 * rng.random((points, 3)), n // points, axis=0)
    return Hard(line(3), U + spread * rng.random(U.shape), U[:, 0] + 0.1 * rng.normal(size=len(U)))


def every_third_failed(hard: Hard) -> Hard:
    return hard._replace(y=np.where(np.arange(len(hard.y)) % 3 == 0, np.nan, hard.y))


def one_moved(value: float) -> Callable[[FloatArray, np.random.Generator], FloatArray]:
    return lambda y, rng: np.where(np.arange(len(y)) == len(y) // 2, value, y)


HARD: dict[str, Callable[[], Hard]] = {
    "five points, two thousand times": lambda: repeated(2000, 5),
    "one point, a thousand times": lambda: repeated(1000, 1),
    "five clusters, 1e-9 wide": lambda: repeated(1000, 5, 1e-9),
    "five clusters, 1e-5 wide": lambda: repeated(1000, 5, 1e-5),
    "constant": lambda: with_values(line(3), 500, lambda y, rng: np.full(len(y), 2.5)),
    "constant, one failed": lambda: with_values(line(3), 300, lambda y, rng: np.r_[np.nan, np.ones(len(y) - 1)]),
    "two values": lambda: with_values(line(3), 500, lambda y, rng: np.round(3.0 * y)),
    "an outlier, bad": lambda: with_values(line(3), 500, one_moved(1e300)),
    "an outlier, good": lambda: with_values(line(3), 500, one_moved(-1e300)),
    "the largest doubles": lambda: with_values(
        line(3), 300, lambda y, rng: rng.choice([-1.7e308, 0.0, 1.7e308], len(y))
    ),
    "the smallest doubles": lambda: with_values(line(3), 300, lambda y, rng: 5e-324 * np.round(100.0 * y)),
    "two hundred decades": lambda: with_values(line(3), 500, lambda y, rng: 10.0 ** (400.0 * y - 100.0)),
    "two hundred decades, both signs": lambda: with_values(
        line(3), 300, lambda y, rng: rng.choice([-1.0, 1.0], len(y)) * 10.0 ** (400.0 * y - 100.0)
    ),
    "99 % failed": lambda: with_values(line(3), 1000, lambda y, rng: np.where(rng.random(len(y)) < 0.99, np.nan, y)),
    "99 % failed, choices": lambda: with_values(
        CHOICES, 1000, lambda y, rng: np.where(rng.random(len(y)) < 0.99, np.nan, y)
    ),
    "all failed": lambda: with_values(line(3), 300, lambda y, rng: np.full(len(y), np.nan)),
    "one dimension": lambda: drawn(line(1), 1000),
    "two hundred dimensions": lambda: drawn(line(200), 300),
    "two hundred dimensions of every kind": lambda: drawn(mixed(50), 300),
    "the widest logarithm": lambda: drawn(Space(x=Float(5e-324, 1.7e308, log=True)), 300),
    "forty conditions, each in the other": lambda: drawn(NESTED, 300),
    "choices only": lambda: drawn(CHOICES, 1000),
    "few choices only": lambda: drawn(FEW, 300),
    "a diagonal": lambda: drawn(line(3), 300)._replace(U=np.repeat(np.linspace(0.0, 1.0, 300)[:, None], 3, axis=1)),
}


def add(study: Study, hard: Hard) -> None:
    """Tell all of a history in one bulk."""
    study.add_trials([study.space.decode(u) for u in hard.U], hard.y)


def checked(study: Study, count: int) -> list[TrialRecord]:
    """Ask `count` trials in one call; give what the journal has of them after looking closely at each."""
    space = study.space
    failed = {record.u.tobytes() for record in study.trials if record.state is TrialState.FAILED}
    began = time.perf_counter()
    numbers = [trial.number for trial in study.ask(count)]
    assert time.perf_counter() - began < LONG_WAIT
    records = [record for record in study.trials[-count:] if record.number in numbers]
    assert len(records) == count
    for record in records:
        u = space.encode(record.params)  # raises where the params are no point of the space
        assert u.tobytes() == record.u.tobytes()
        assert record.u.tobytes() not in failed
        assert record.note["kind"] in ("initial", "model", "quasi_random")
        assert ("reason" in record.note) == (record.note["kind"] == "quasi_random")
    return records


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", HARD)
def test_every_ask_is_a_point_of_the_space(name: str, strategy: str) -> None:
    hard = HARD[name]()
    study = Study(hard.space, STRATEGIES[strategy](), seed=3)
    add(study, hard)
    if (name, strategy) == ("few choices only", "deterministic"):
        with pytest.raises(StudyFinished):
            study.ask()
        return
    asked = checked(study, 3)
    for record, value in zip(asked[::-1], (0.5, float("nan"), 1e300), strict=True):  # out of order
        study.tell(record.number, value)
    asked += checked(study, 2)
    kinds = [record.note["kind"] for record in asked]
    assert kinds == ["initial" if name == "all failed" and i < 3 else "model" for i in range(5)], asked
    if strategy != "tpe" and name != "the largest doubles":  # their mean may be infinite, which JSON cannot say
        assert all(record.note[key] is not None for record in asked[3:] for key in ("acquisition", "mean", "sd"))


THOUSANDS: dict[str, Callable[[int], Hard]] = {
    "points": lambda n: repeated(n, 5),
    "clusters": lambda n: repeated(n, 5, 1e-9),
    "outlier": lambda n: with_values(line(3), n, one_moved(1e300)),
    "failed": lambda n: with_values(line(3), n, lambda y, rng: np.where(rng.random(n) < 0.99, np.nan, y)),
    "dimensions": lambda n: drawn(line(200), n),
    "choices": lambda n: drawn(CHOICES, n),
    "constant": lambda n: with_values(line(3), n, lambda y, rng: np.full(n, 2.5)),
    "decades": lambda n: with_values(line(3), n, lambda y, rng: 10.0 ** (400.0 * y - 100.0)),
}


@pytest.mark.parametrize("surrogate", ["exact", "vecchia"])
@pytest.mark.parametrize("name", sorted(THOUSANDS.keys() - {"dimensions"}))
def test_every_ask_is_a_point_of_the_space_where_the_search_climbs_by_rough_ideas(name: str, surrogate: str) -> None:
    """From ROUGH_FROM of gp_search.cpp on; choices, which nothing climbs, are searched as ever."""
    hard = THOUSANDS[name](2200)
    study = Study(hard.space, BayesianOptimization(surrogate="auto" if surrogate == "exact" else surrogate), seed=3)
    add(study, hard)
    asked = checked(study, 2)
    study.tell(asked[0].number, float("nan"))
    study.tell(asked[1].number, -1e300)
    asked += checked(study, 2)
    assert [(record.note["kind"], record.note["surrogate"]) for record in asked] == [("model", surrogate)] * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "strategy"),
    [(name, strategy) for name in THOUSANDS for strategy in (*STRATEGIES, "exact")]
    + [("converged", strategy) for strategy in STRATEGIES],  # the factor of 100,000 rows takes 40 GB
)
def test_every_ask_is_a_point_of_the_space_at_thousands(name: str, strategy: str) -> None:
    made = THOUSANDS | {"converged": lambda n: every_third_failed(repeated(20 * n, 5, 1e-7))}
    hard = made[name](5000)
    strategies = STRATEGIES | {"exact": lambda: BayesianOptimization(surrogate="exact")}
    study = Study(hard.space, strategies[strategy](), seed=3)
    add(study, hard)
    asked = checked(study, 1) + checked(study, 1)
    study.tell(asked[0].number, 1e300)
    asked += checked(study, 1)
    assert [record.note["kind"] for record in asked] == ["model"] * 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_outlier_does_not_blind(strategy: str) -> None:
    """One value of 1e300 among 500: the points asked are still better than most of what was told."""
    hard = HARD["an outlier, bad"]()
    study = Study(hard.space, STRATEGIES[strategy](), seed=3)
    add(study, hard)

    def value(record: TrialRecord) -> float:
        return float(np.mean((record.u - 0.3) ** 2))

    found = []
    for _ in range(10):
        (record,) = checked(study, 1)
        found.append(value(record))
        study.tell(record.number, found[-1])
    assert np.median(found) < np.median(hard.y)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_told_in_another_order_than_asked(strategy: str, tmp_path: Path) -> None:
    """The order of telling counts and no other: a process that reads the file asks what the one at work would."""
    hard = drawn(mixed(2), 200)
    studies = [
        Study(hard.space, STRATEGIES[strategy](), seed=3, storage=storage) for storage in (None, tmp_path / "study.db")
    ]
    for study in studies:
        add(study, hard)
        numbers = [record.number for record in checked(study, 12)]
        for number in np.random.default_rng(5).permutation(numbers).tolist():
            study.tell(number, float(number % 5))
            if number % 4 == 0:
                checked(study, 1)  # of which none is told
    at_work, loaded = studies[1], Study.load(tmp_path / "study.db")
    expected, found = checked(studies[0], 2), checked(loaded, 2)
    assert [(record.params, record.note) for record in found] == [(record.params, record.note) for record in expected]
    checked(at_work, 2)


@pytest.mark.parametrize("verb", ["append", "refit", "maximise"])
def test_a_numerical_fallback_is_seen_in_the_note(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hard = drawn(line(3), 300)
    study = Study(hard.space, BayesianOptimization(), seed=3, storage=tmp_path / "study.db")
    add(study, hard)
    asked = checked(study, 1)
    study.add_trials([study.space.decode(u) for u in hard.U[::2]], hard.y[::2])  # enough for a refit

    def fail(*arguments: object, **options: object) -> None:
        raise NumericalError("no factor of this matrix", row=3)

    class Broken:
        def __getattr__(self, name: str) -> Any:
            return fail if name == verb else getattr(handle, name)

    with monkeypatch.context() as patch:
        handle = study.strategy._handle  # type: ignore[attr-defined]
        patch.setattr(study.strategy, "_handle", Broken())
        asked += checked(study, 2)
    asked += checked(study, 1)
    assert [record.note["kind"] for record in asked] == ["model", "quasi_random", "quasi_random", "model"]
    loaded = Study.load(tmp_path / "study.db")
    for record in (*asked[1:3], *loaded.trials[-3:-1]):
        assert record.note["reason"] == "no factor of this matrix"
