from __future__ import annotations

import itertools
import math
import random
import tracemalloc

import numpy as np
import pytest

import hpo_fast as hpo
from hpo_fast.errors import SpaceError, StrategyError
from hpo_fast.strategies import GridSearch
from hpo_fast.strategies.axes import grid_axis
from hpo_fast.strategies.enumeration import Enumeration
from hpo_fast.testing import Driver
from hpo_fast.trial import TrialState

CONDITIONAL = hpo.Space(
    damping=hpo.Float(0.0, 1.0).when(nesterov=True, momentum=hpo.Between(0.5, 0.9)),  # declared before its parents
    optimizer=hpo.Categorical(["sgd", "adam", "none"]),
    lr=hpo.Float(1e-4, 1.0, log=True).when(optimizer=["sgd", "adam"]),
    momentum=hpo.Float(0.0, 0.9).when(optimizer="sgd"),
    layers=hpo.Int(1, 4),
    nesterov=hpo.Categorical([False, True]).when(optimizer="sgd", layers=hpo.Between(2, 3)),
)


def key(params):
    return tuple(sorted((name, repr(value)) for name, value in params.items()))


def walk(space, grid, seed=0, most=10**6):
    """Run a grid to its end, one trial at a time; give the params in the order of asking."""
    driver = Driver(grid, space, seed)
    while not grid.done:
        driver.run(1)
        assert len(driver.told) <= most
    assert driver.propose(2) == []
    return [space.decode(u) for u in driver.points()]


def brute_force(space, axes):
    """List the distinct points of a product of values, every parameter present, by dropping what does not exist."""
    found = set()
    for values in itertools.product(*axes.values()):
        params, changed = dict(zip(axes, values, strict=True)), True
        while changed:
            changed = False
            for name in list(params):
                for condition in space[name].conditions:
                    if condition.parent not in params or not holds(condition, params[condition.parent]):
                        params.pop(name, None)
                        changed = True
        found.add(key(params))
    return found


def holds(condition, value):
    return any(
        a.low <= value <= a.high if isinstance(a, hpo.Between) else type(a) is type(value) and a == value
        for a in condition.allowed
    )


def values_on_axis(name, parameter, **arguments):
    return [params[name] for params in walk(hpo.Space({name: parameter}), GridSearch(**arguments))]


def test_levels_of_each_kind():
    assert values_on_axis("x", hpo.Float(0.0, 1.0)) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert values_on_axis("x", hpo.Float(-2.0, 4.0), levels=2) == [-2.0, 4.0]
    assert values_on_axis("x", hpo.Float(0.0, 1.0), levels=1) == [0.5]
    logs = values_on_axis("x", hpo.Float(1e-5, 1e-1, log=True))
    np.testing.assert_allclose(logs, [1e-5, 1e-4, 1e-3, 1e-2, 1e-1], rtol=1e-12)
    assert logs[0] == 1e-5 and logs[-1] == 1e-1
    decades = values_on_axis("x", hpo.Float(1e-150, 1e150, log=True), levels=301)
    np.testing.assert_allclose(np.log10(decades), np.arange(-150, 151), atol=1e-9)
    assert values_on_axis("x", hpo.Float(0.0, 1.0, step=0.1), levels=3) == [0.0, 0.5, 1.0]
    assert values_on_axis("x", hpo.Float(0.0, 1.0, step=0.3), levels=9) == [0.0, 0.3, 0.6, 0.9]
    assert values_on_axis("x", hpo.Float(1.0, math.nextafter(1.0, 2.0)), levels=9) == [1.0, math.nextafter(1.0, 2.0)]
    assert values_on_axis("n", hpo.Int(1, 3)) == [1, 2, 3]
    assert values_on_axis("n", hpo.Int(0, 10**15)) == [0, 25 * 10**13, 5 * 10**14, 75 * 10**13, 10**15]
    assert values_on_axis("n", hpo.Int(-5, 100, step=15), levels=2) == [-5, 100]
    assert values_on_axis("n", hpo.Int(3, 3)) == [3]
    assert values_on_axis("n", hpo.Int(1, 10_000, log=True)) == [1, 10, 100, 1000, 10_000]
    assert values_on_axis("n", hpo.Int(1, 10_000, log=True), levels=1) == [100]
    assert values_on_axis("n", hpo.Int(1, 9, log=True), levels=7) == [1, 2, 3, 4, 5, 6, 9]
    assert values_on_axis("n", hpo.Int(1, 9, log=True), levels=8) == [1, 2, 3, 4, 5, 6, 7, 9]
    choices = [None, True, 1, 1.0, "1", [1, [2]], "x"]
    assert list(map(repr, values_on_axis("c", hpo.Categorical(choices), levels=2))) == list(map(repr, choices))
    assert values_on_axis("o", hpo.Ordinal([64, 16, 32]), levels=2) == [64, 16, 32]
    assert values_on_axis("k", hpo.Constant({"a": [1]})) == [{"a": [1]}]


@pytest.mark.parametrize("levels", range(1, 30))
def test_log_int_levels_are_distinct_and_hold_both_ends(levels):
    for low, high in ((1, 30), (1, 10**6), (29, 58), (10**9, 2 * 10**9)):
        n = values_on_axis("n", hpo.Int(low, high, log=True), levels=levels)
        assert len(n) == levels and n == sorted(set(n))
        assert levels == 1 or (n[0], n[-1]) == (low, high)


def test_levels_by_name():
    space = hpo.Space(
        x=hpo.Float(0.0, 1.0), c=hpo.Categorical(["a", "b", [1, 2]]), n=hpo.Int(0, 99), z=hpo.Float(0.0, 1.0)
    )
    points = walk(space, GridSearch({"x": [0.7, 0.1], "c": [[1, 2], "a"], "n": 2, "z": np.array([0.5])}))
    assert points == [{"x": x, "c": c, "n": n, "z": 0.5} for x in (0.7, 0.1) for c in ([1, 2], "a") for n in (0, 99)]
    assert len(walk(space, GridSearch({"x": [0.7]}))) == 1 * 3 * 5 * 5
    assert len(walk(space, GridSearch(2))) == 2 * 3 * 2 * 2


@pytest.mark.parametrize(
    ("levels", "error", "what"),
    [
        (0, StrategyError, "levels"),
        (2.0, StrategyError, "levels"),
        (True, StrategyError, "levels"),
        ([1, 2], StrategyError, "levels"),
        ("x", StrategyError, "levels"),
        ({"x": []}, StrategyError, "'x'"),
        ({"x": 0}, StrategyError, "'x'"),
        ({"x": 0.5}, StrategyError, "'x'"),
        ({"c": "ab"}, StrategyError, "'c'"),
        ({"y": [1]}, StrategyError, "'y'"),
        ({"x": [0.5, 2.0]}, SpaceError, "'x'"),
        ({"x": [math.nan]}, SpaceError, "'x'"),
        ({"x": ["0.5"]}, SpaceError, "'x'"),
        ({"x": [0.5, 0.1, 0.5]}, StrategyError, "'x'"),
        ({"n": [3]}, SpaceError, "'n'"),
        ({"c": ["c"]}, SpaceError, "'c'"),
        ({"c": ["a", "a"]}, StrategyError, "'c'"),
    ],
)
def test_wrong_levels_are_named(levels, error, what):
    space = hpo.Space(x=hpo.Float(0.0, 1.0), n=hpo.Int(0, 10, step=2), c=hpo.Categorical(["a", "b"]))
    with pytest.raises(error, match=what):
        GridSearch(levels).start(space, 1, 0, 0)


def test_wrong_order():
    with pytest.raises(StrategyError, match="order"):
        GridSearch(order="backwards")


def test_conditional_space_is_enumerated_exactly():
    grid = GridSearch(3)
    points = walk(CONDITIONAL, grid)
    axes = {
        "damping": [0.0, 0.5, 1.0],
        "optimizer": ["sgd", "adam", "none"],
        "lr": [CONDITIONAL["lr"].scale.value(c) for c in (0.0, 0.5, 1.0)],
        "momentum": [0.0, 0.45, 0.9],
        "layers": [1, 3, 4],
        "nesterov": [False, True],
    }
    assert len(points) == len(set(map(key, points)))
    assert set(map(key, points)) == brute_force(CONDITIONAL, axes)
    # "none": the layers alone; adam: lr, layers; sgd: lr, then 1 or 4 layers with momentum, or 3 layers with momentum
    # and nesterov, which brings damping when it is True and momentum is 0.9.
    assert len(points) == 3 + 3 * 3 + 3 * (2 * 3 + (3 + 1 + 1 + 3))


def random_space(draw):
    names = [f"p{j}" for j in range(draw.randint(2, 6))]
    axes = {name: list(range(draw.randint(1, 3))) for name in names}
    depth = draw.sample(names, len(names))  # a parameter's parents stand before it here, not in order of declaration
    parameters = {}
    for name in names:
        parameter = hpo.Categorical(axes[name]) if draw.random() < 0.5 else hpo.Int(0, len(axes[name]) - 1)
        for parent in draw.sample(depth[: depth.index(name)], min(draw.randint(0, 3), depth.index(name))):
            parameter = parameter.when({parent: draw.sample(axes[parent], draw.randint(1, len(axes[parent])))})
        parameters[name] = parameter
    try:
        return hpo.Space(parameters), axes
    except SpaceError:  # the conditions drawn exclude each other
        return random_space(draw)


@pytest.mark.parametrize("seed", range(60))
def test_random_conditional_spaces_are_enumerated_exactly(seed):
    space, axes = random_space(random.Random(seed))
    for order in ("lexicographic", "shuffled"):
        points = list(map(key, walk(space, GridSearch(order=order))))
        assert len(points) == len(set(points))
        assert set(points) == brute_force(space, axes)


def test_a_trillion_points_start_at_once():
    space = hpo.Space({f"x{j}": hpo.Float(0.0, 1.0) for j in range(12)})
    for order in ("lexicographic", "shuffled"):
        tracemalloc.start()
        driver = Driver(GridSearch(10, order=order), space)
        driver.run(100)
        driver.tell(driver.ask(50)[::-1])
        driver.add(np.ones((1, 12)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert not driver.strategy.done
        assert len({u.tobytes() for u in driver.points()}) == 151
        assert peak < 4e6  # bytes; the product has 8e12
    digits = [round(9 * x) for x in Driver(GridSearch(10), space).propose(345)[-1].u]
    assert digits == [0] * 9 + [3, 4, 4]  # point 344


def test_more_points_than_a_word_can_count():
    space = hpo.Space({f"x{j}": hpo.Float(0.0, 1.0) for j in range(60)})
    for order in ("lexicographic", "shuffled"):
        driver = Driver(GridSearch(order=order), space)
        driver.run(20)
        assert len({u.tobytes() for u in driver.points()}) == 20


def test_wide_and_deep_conditions_are_counted_quickly():
    choices = [f"a{i}" for i in range(40)]
    star = {"root": hpo.Categorical(choices)}
    for choice in choices:
        star[f"{choice} x"] = hpo.Float(0.0, 1.0).when(root=choice)
        star[f"{choice} n"] = hpo.Int(0, 2).when({f"{choice} x": hpo.Between(0.5, 1.0)})
    assert len(walk(hpo.Space(star), GridSearch(5))) == 40 * (2 + 3 * 3)
    # A chain of switches, each with a value of its own beside it; all declared switches first.
    chain = {f"s{i}": hpo.Categorical([False, True]) for i in range(25)}
    chain = {name: p if name == "s0" else p.when({f"s{int(name[1:]) - 1}": True}) for name, p in chain.items()}
    chain |= {f"v{i}": hpo.Int(0, 1).when({f"s{i}": True}) for i in range(25)}
    expected = 1
    for _ in range(25):
        expected = 1 + 2 * expected
    driver = Driver(GridSearch(order="shuffled"), hpo.Space(chain))
    driver.run(5)
    grid = driver.strategy
    assert grid._points.size == expected


def test_entangled_conditions_are_refused_by_name_and_not_by_running_out_of_memory():
    draw = random.Random(1)
    space = {f"s{i}": hpo.Categorical([False, True]) for i in range(60)}
    for i in range(90):
        a, b = draw.sample(range(60), 2)
        space[f"v{i}"] = hpo.Int(0, 1).when({f"s{a}": True, f"s{b}": True})
    with pytest.raises(StrategyError, match="conditions"):
        GridSearch().start(hpo.Space(space), 1, 0, 0)


def test_shuffled_is_a_permutation_that_the_seed_draws():
    space = hpo.Space(x=hpo.Float(0.0, 1.0), n=hpo.Int(0, 99))
    orders = {}
    for seed in (0, 1, 2**63 - 1):
        points = list(map(key, walk(space, GridSearch(7, order="shuffled"), seed)))
        assert len(set(points)) == 49
        orders[seed] = points
    assert orders[0] != orders[1] != orders[2**63 - 1] != orders[0]
    lexicographic = list(map(key, walk(space, GridSearch(7))))
    assert sorted(lexicographic) == sorted(orders[0]) and lexicographic != orders[0]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 17, 64, 65, 1000])
def test_every_size_can_be_shuffled(size):
    points = values_on_axis("n", hpo.Int(0, size - 1), levels=size, order="shuffled")
    assert sorted(points) == list(range(size))


def test_shuffled_starts_spread_over_the_grid():
    # Position of point 0 over 400 seeds: uniform over 50 has mean 24.5, sd 14.4; 5 standard errors are 3.6.
    space = hpo.Space(n=hpo.Int(0, 49))
    first = [Driver(GridSearch(50, order="shuffled"), space, seed).propose()[0].u[0] * 50 - 0.5 for seed in range(400)]
    assert abs(np.mean(first) - 24.5) < 3.6
    assert len(set(np.round(first))) > 45


@pytest.mark.parametrize("order", ["lexicographic", "shuffled"])
def test_points_of_the_user_count_as_done(order):
    space = hpo.Space(lr=hpo.Float(1e-5, 1e-1, log=True), n=hpo.Int(1, 4))
    grid = GridSearch(order=order)
    driver = Driver(grid, space)
    driver.add(space.encode_many([{"lr": 0.001, "n": 2}, {"lr": 0.002, "n": 2}, {"lr": 0.001, "n": 2}]))
    number = driver.enqueue(space.encode({"lr": 1e-1, "n": 4}))
    while driver.ask():
        pass
    assert not grid.done  # what is pending may come back
    driver.tell(sorted(driver.waiting))
    assert grid.done and number == 3
    points = [key(space.decode(np.round(u, 9))) for u in driver.points()]
    assert len(points) == 20 + 2  # one off the grid, one told twice
    assert len(set(points)) == 21


def test_a_pending_point_that_vanishes_is_asked_again():
    driver = Driver(GridSearch(), hpo.Space(n=hpo.Int(0, 3)))
    driver.ask(3)
    driver.tell([1])
    u, _ = driver.waiting.pop(0)  # its worker died before the point was written down
    assert np.array_equal(driver.propose(9)[0].u, u)
    assert len(driver.propose(9)) == 2  # point 0 and point 3; point 2 is pending


@pytest.mark.parametrize("order", ["lexicographic", "shuffled"])
def test_eight_workers_that_die_lose_and_repeat_nothing(order):
    for seed in range(200 if order == "lexicographic" else 40):
        draw = random.Random(seed)
        driver = Driver(GridSearch(3, order=order), hpo.Space(x=hpo.Float(0.0, 1.0), n=hpo.Int(0, 9)), seed)
        busy = []
        while not driver.strategy.done:
            while len(busy) < 8 and (numbers := driver.ask()):
                busy += numbers
            number = busy.pop(draw.randrange(len(busy)))
            if draw.random() < 0.2:
                if draw.random() < 0.5:
                    driver.waiting.pop(number)  # died before its row was complete: the strategy asks the point again
                else:
                    busy.append(number)  # died later: the study hands the waiting row to the next worker
            else:
                driver.tell([number], draw.choice([TrialState.DONE, TrialState.PRUNED, TrialState.FAILED]))
        told = [row[1].tobytes() for row in driver.told]
        assert len(told) == len(set(told)) == 9


def test_failed_points_are_left_alone_by_default():
    driver = Driver(GridSearch(), hpo.Space(n=hpo.Int(0, 3)))
    for _ in range(4):
        driver.tell(driver.ask(), TrialState.FAILED)
    assert driver.strategy.done


def test_failed_points_are_tried_once_more_at_the_end():
    space = hpo.Space(n=hpo.Int(0, 3))
    driver = Driver(GridSearch(retry_failed=True), space)
    for state in (TrialState.DONE, TrialState.FAILED, TrialState.FAILED, TrialState.DONE):
        driver.tell(driver.ask(), state)
    assert not driver.strategy.done
    numbers = driver.ask(3)
    assert len(numbers) == 2 and driver.ask() == []
    driver.tell(numbers[:1])
    driver.tell(numbers[1:], TrialState.FAILED)
    assert driver.strategy.done
    assert [space.decode(u)["n"] for u in driver.points()] == [0, 1, 2, 3, 1, 2]


def test_a_failed_point_that_the_user_repeats_is_done():
    space = hpo.Space(n=hpo.Int(0, 1))
    driver = Driver(GridSearch(retry_failed=True), space)
    driver.tell(driver.ask(), TrialState.FAILED)
    driver.add(space.encode_many([{"n": 0}]))
    driver.run(1)
    assert driver.strategy.done


@pytest.mark.parametrize("order", ["lexicographic", "shuffled"])
def test_a_trial_that_stays_pending_does_not_slow_the_others(order):
    """What an ask looks at is what is pending, not all that was told since."""
    space = hpo.Space(i=hpo.Int(0, 99), j=hpo.Int(0, 99))
    grid = GridSearch(100, order=order)
    driver = Driver(grid, space)
    driver.ask(2)
    driver.run(500)
    driver.add(driver.points()[-1:])  # told twice
    assert len(grid._gaps) <= 3 and not grid._told
    assert len({u.tobytes() for u in driver.points()}) == 502


def test_points_come_back_in_order_whatever_was_told_before():
    space = hpo.Space(i=hpo.Int(0, 9))
    grid = GridSearch(10)
    study = hpo.Study(space, grid)
    first = study.ask(4)
    study.add_trials({"i": [5, 6, 9, 1]}, [0.0] * 4)  # 1 is pending as well
    assert [t["i"] for t in study.ask(2)] == [4, 7]
    for trial in first[2:]:
        study.tell(trial, 1.0)
    study.tell(first[1], 1.0)
    assert study.ask()["i"] == 8
    for number in study.pending():
        study.tell(number, 1.0)
    study.optimize(lambda t: 1.0)
    assert study.strategy.done and len(study.trials) == 4 + 4 + 3


def test_candidates_of_a_grid_hold_all_its_points() -> None:
    space = hpo.Space(
        x=hpo.Float(-1.0, 3.0),
        lr=hpo.Float(1e-4, 1.0, log=True),
        n=hpo.Int(1, 40),
        kind=hpo.Categorical(["a", "b"]),
        y=hpo.Float(0.0, 1.0).when(kind="a", n=hpo.Between(1, 20)),
    )
    axes = [grid_axis(space[name], 4, name) for name in space.names]
    points = Enumeration(space.layout, axes)
    U = np.array([points.point(i) for i in range(0, points.size, 3)])
    rng = np.random.default_rng(0)
    near = U + np.where(rng.random(U.shape) < 0.5, 1e-13, 0.0) * np.array([1, 1, 0, 0, 1])
    others = space.from_uniform(rng.random((300, space.d)))
    mixed = np.concatenate([U, near, others])
    found = set(points.candidates(mixed).tolist())
    on_grid = {i for i, u in enumerate(mixed) if points.index(u) is not None}
    assert on_grid <= found and len(on_grid) >= 2 * len(U) and len(found) < len(U) * 2 + 10
    assert points.candidates(mixed[:0]).tolist() == []
