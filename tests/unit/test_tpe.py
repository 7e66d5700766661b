import json

import numpy as np
import pytest

import hpo_fast as hpo
from hpo_fast.backends.parzen import parzen
from hpo_fast.errors import BackendUnavailable, StrategyError
from hpo_fast.space import Categorical, Float, Int, Space
from hpo_fast.strategies import make_strategy
from hpo_fast.strategies.base import Observations, Pending
from hpo_fast.strategies.tpe import TPE
from hpo_fast.testing import Driver
from hpo_fast.trial import TrialState

FLOATS = Space(x=Float(0.0, 1.0), y=Float(-1.0, 2.0))
MIXED = Space(
    x=Float(0.0, 1.0),
    units=Int(1, 100, log=True),
    kind=Categorical(["a", "b", "c"]),
    rate=Float(0.0, 1.0).when(kind="a"),
)
FINITE = Space(n=Int(1, 2), kind=Categorical(["a", "b"]))


def observed(space, U, y):
    failed = ~np.isfinite(y)
    return Observations(
        np.arange(len(y)),
        U,
        np.where(failed, np.nan, y)[:, None],
        np.where(failed, 5, 3).astype(np.uint8),
        [{}] * len(y),
    )


def nothing_pending(space):
    return Pending(np.empty(0, np.int64), np.empty((0, space.d)), [])


def started(space, **arguments):
    strategy = TPE(**arguments)
    strategy.start(space, 1, 0, 0)
    return strategy


def test_by_name_and_by_class():
    assert isinstance(make_strategy("tpe", {"gamma": 0.2}), TPE)
    assert hpo.TPE is TPE
    study = hpo.Study(FLOATS, strategy="tpe", seed=0)
    study.optimize(lambda trial: trial["x"] ** 2 + trial["y"] ** 2, n_trials=60)
    assert study.best_trial.value < 0.05  # the median of 60 random trials is 0.03; from 10 of them on the model asks


def test_what_it_cannot_do_is_said_at_the_start():
    for n_outputs in ((2, 0), (1, 1)):
        with pytest.raises(StrategyError, match="one objective without constraints only"):
            TPE().start(FLOATS, *n_outputs, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"multivariate": 1},
        {"n_initial": 0},
        {"n_initial": True},
        {"n_candidates": 0},
        {"n_candidates": 2.5},
        {"n_candidates": 4097},
        {"max_good": 0},
        {"gamma": 0.0},
        {"gamma": 1.0},
        {"gamma": float("nan")},
        {"gamma": "default"},
        {"prior_weight": 0.0},
        {"prior_weight": float("inf")},
        {"backend": "gpu"},
    ],
)
def test_arguments_out_of_range(arguments):
    with pytest.raises(StrategyError, match=f"TPE: {next(iter(arguments))} must be"):
        TPE(**arguments)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"backend": "gpu"}, BackendUnavailable),
        ({"candidates": 0}, ValueError),
        ({"most_good": 1.5}, ValueError),
        ({"window": True}, ValueError),
        ({"gamma": 1.0}, ValueError),
        ({"prior_weight": -1.0}, ValueError),
    ],
)
def test_options_of_the_handle_out_of_range(options, error):
    with pytest.raises(error, match=f"{next(iter(options))} must"):
        parzen(FLOATS.layout, **options)


def test_the_first_trials_fill_the_space_then_the_model_is_asked():
    driver = Driver(TPE(n_initial=5), MIXED)
    driver.run(9)
    kinds = [note["kind"] for *_, note in driver.told]
    assert kinds == ["initial"] * 5 + ["model"] * 4
    assert all(set(note) == {"kind", "log_ratio"} for *_, note in driver.told[5:])
    assert json.dumps(driver.told[-1][4])


def test_pending_trials_count_as_bad():
    driver = Driver(TPE(n_initial=4), FLOATS)
    driver.run(30)
    alone = driver.propose(1)[0]
    for _ in range(20):
        driver.enqueue(alone.u)
    among = driver.propose(1)[0]
    assert np.linalg.norm(among.u - alone.u) > 1e-3


# A choice by itself has ties, which rounding decides.
@pytest.mark.parametrize(("space", "multivariate"), [(MIXED, True), (FLOATS, False)])
def test_both_backends_choose_alike(space, multivariate):
    one, other = (Driver(TPE(backend=b, multivariate=multivariate), space) for b in ("cpu", "reference"))
    one.run(40)
    other.run(40)
    a, b = np.array(one.points()), np.array(other.points())
    assert np.allclose(a, b, rtol=0.0, atol=1e-9, equal_nan=True)


def test_a_failed_point_is_not_asked_again_and_a_used_up_space_is_done():
    driver = Driver(TPE(n_initial=1), FINITE)
    asked = []
    while not driver.strategy.done:
        numbers = driver.ask()
        asked.append(driver.waiting[numbers[0]][0].tobytes())
        driver.tell(numbers, TrialState.FAILED)
        assert len(asked) <= 4
    assert len(set(asked)) == 4 and driver.ask() == []

    driver = Driver(TPE(n_initial=1, n_candidates=2), FINITE)
    driver.run(3)
    failed = FINITE.encode({"n": 1, "kind": "a"})
    driver.add(failed[None], TrialState.FAILED)
    driver.run(40)
    assert failed.tobytes() not in {row[1].tobytes() for row in driver.told[4:]}


def test_a_bulk_tell_out_of_order_is_the_telling_in_that_order():
    rng = np.random.default_rng(0)
    U, y = MIXED.from_uniform(rng.random((300, MIXED.d))), rng.normal(size=300)
    y[::9] = np.inf
    told = observed(MIXED, U, y)
    shuffled = Observations(rng.permutation(300), U, told.Y, told.states, told.notes)
    singly, at_once, renumbered = (started(MIXED) for _ in range(3))
    at_once.tell(told)
    renumbered.tell(shuffled)
    for i in range(300):
        singly.tell(
            Observations(told.numbers[i : i + 1], U[i : i + 1], told.Y[i : i + 1], told.states[i : i + 1], [{}])
        )
    points = [s.ask([300, 301], nothing_pending(MIXED)) for s in (singly, at_once, renumbered)]
    for other in points[1:]:
        for p, q in zip(points[0], other, strict=True):
            assert p.u.tobytes() == q.u.tobytes() and p.note == q.note


# ---- hard cases: every ask gives a point of the space ----------------------------------------------------------------

MANY = Space({f"x{j}": Float(0.0, 1.0) for j in range(200)})
CHOICES = Space({f"c{j}": Categorical(list("abcdefgh")[: 2 + j % 7]) for j in range(30)})
ONE = Space(x=Float(1e-8, 1e8, log=True))
WHOLE = Space({f"n{j}": Int(0, 10**k) for j, k in enumerate((1, 3, 6, 12))} | {"u": Int(1, 10**9, log=True)})


def uniform_rows(space, n, seed=0):
    return space.from_uniform(np.random.default_rng(seed).random((n, space.d)))


N = 3000
SPACES = {"d = 1": ONE, "d = 200": MANY, "choices": CHOICES, "whole numbers": WHOLE, "mixed": MIXED}
HARD = {
    "plain": lambda U, y, rng: (U, y),
    "three points a thousand times": lambda U, y, rng: (np.repeat(U[:3], N // 3, axis=0), y),
    "constant": lambda U, y, rng: (U, np.zeros(N)),
    "a bad outlier": lambda U, y, rng: (U, np.where(np.arange(N) == 7, 1e300, y)),
    "a good outlier": lambda U, y, rng: (U, np.where(np.arange(N) == 7, -1e300, y)),
    "200 decades": lambda U, y, rng: (U, 10.0 ** rng.uniform(-100, 100, N)),
    "99 % failed": lambda U, y, rng: (U, np.where(rng.random(N) < 0.99, np.inf, y)),
    "all failed": lambda U, y, rng: (U, np.full(N, np.inf)),
    "corners": lambda U, y, rng: (np.round(U), y),
}


@pytest.mark.parametrize("multivariate", [True, False])
@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("name", SPACES)
def test_hard_histories(name, case, multivariate):
    space, rng = SPACES[name], np.random.default_rng(1)
    U, y = HARD[case](uniform_rows(space, N), rng.normal(size=N), rng)
    if case == "corners":  # a parent that moved may bring children that had no code
        U = space.from_uniform(np.nan_to_num(np.clip(U, 0.0, 1.0 - 2.0**-53)))
    strategy = started(space, multivariate=multivariate)
    strategy.tell(observed(space, U, y))
    pending = Pending(np.arange(N, N + 50), uniform_rows(space, 50, 2), [{}] * 50)
    for proposal in strategy.ask([N + 50, N + 51], pending):
        assert np.array_equal(proposal.u, space.canonical(proposal.u[None])[0], equal_nan=True)
        assert np.all(np.isnan(proposal.u) | ((proposal.u >= 0.0) & (proposal.u <= 1.0)))
        assert space.decode(proposal.u)
        if proposal.note["kind"] == "model":
            assert np.isfinite(proposal.note["log_ratio"])


def test_what_is_kept_does_not_grow_with_the_history():
    """The state after a million rows is that of a history that ends alike: the best rows and the newest thousand."""
    rng = np.random.default_rng(3)
    n = 200_000
    U, y = rng.random((n, 2)), rng.normal(size=n)
    best = np.sort(np.argsort(y, kind="stable")[:25])
    short = np.concatenate([best, np.setdiff1d(np.arange(n - 2000, n), best)])
    long_one, short_one = parzen(FLOATS.layout), parzen(FLOATS.layout)
    long_one.append(U, y)
    short_one.append(U[short], y[short])
    # Only if no good row is among the newest: else the two windows differ.
    assert best[-1] < n - 1024
    for a, b in zip(long_one.propose(None, (0, 1)), short_one.propose(None, (0, 1)), strict=True):
        assert np.allclose(a, b, rtol=1e-12, atol=1e-12)  # the order of a sum differs
