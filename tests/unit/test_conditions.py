"""Conditions: what they mean, which are refused, and that every path agrees on who exists."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hpo_fast.errors import SpaceError
from hpo_fast.space import Between, Categorical, Constant, Float, Int, Normal, Ordinal, Space
from hpo_fast.space.space import FEW_ROWS

unit = st.floats(0.0, 1.0)


def on_an_edge(space, params):
    """A code cannot tell a value from the end of a Between a few roundings away: it counts as that end."""
    return any(
        0.0 < abs(params[condition.parent] - end) <= 1e-12 * abs(end)
        for parameter in space.values()
        for condition in parameter.conditions
        for allowed in condition.allowed
        if isinstance(allowed, Between) and condition.parent in params
        for end in (allowed.low, allowed.high)
    )


def holds(parameter, params):
    """The meaning of conditions, by values: an oracle that knows nothing of codes."""
    for condition in parameter.conditions:
        if condition.parent not in params:
            return False
        value = params[condition.parent]
        if not any(
            a.low <= value <= a.high if isinstance(a, Between) else type(a) is type(value) and a == value
            for a in condition.allowed
        ):
            return False
    return True


PARENTS = {
    "float": (Float(-1.0, 3.0), [Between(0.0, 1.0), Between(-5.0, -0.5), Between(2.9, 99)]),
    "log": (Float(1e-5, 1e-1, log=True), [Between(1e-4, 1e-2), Between(1e-9, 1e-4)]),
    "step": (Float(0.0, 1.0, step=0.1), [0.3, Between(0.25, 0.75), Between(0.3, 0.3), Between(0.91, 1.0)]),
    "int": (Int(-3, 7, step=2), [5, Between(-2, 1.5), Between(7, 100)]),
    "log int": (Int(1, 1000, log=True), [1, 1000, Between(3, 17), Between(0.2, 1.5)]),
    "categorical": (Categorical(["a", 1, 1.0, True, None, [64, 64]]), ["a", 1, 1.0, True, None]),
    "ordinal": (Ordinal([10, 20, 30, 40]), [10, Between(20, 30), Between(30, 40)]),
    "constant": (Constant("x"), ["x"]),
    "one point": (Float(2.0, 2.0), [2.0, Between(1.0, 3.0)]),
}


@st.composite
def conditional_spaces(draw):
    """Parameters with conditions on earlier ones, declared in a drawn order; impossible ones are left out."""
    parameters = {}
    for i in range(draw(st.integers(2, 7))):
        parameter, _ = PARENTS[draw(st.sampled_from(sorted(PARENTS)))]
        for parent in (
            draw(st.lists(st.sampled_from(sorted(parameters)), max_size=2, unique=True)) if parameters else ()
        ):
            plain = next(
                c
                for p, c in PARENTS.values()
                if type(p) is type(parameters[parent]) and same_but_when(p, parameters[parent])
            )
            allowed = draw(st.lists(st.sampled_from(plain), min_size=1, max_size=2))
            child = parameter.when({parent: allowed})
            try:
                Space({**parameters, "child": child})
            except SpaceError as error:
                assert "possible together" in str(error)
            else:
                parameter = child
        parameters[f"p{i}"] = parameter
    return Space({name: parameters[name] for name in draw(st.permutations(sorted(parameters)))})


def same_but_when(one, other):
    return {**one.to_json(), "when": None} == {**other.to_json(), "when": None}


@given(conditional_spaces(), st.data())
@settings(deadline=None)
def test_who_exists_is_what_the_values_say_on_every_path(space, data):
    rows = []
    for _ in range(3):
        u = np.array([data.draw(unit) for _ in space])
        params = space.decode(u)
        assume(not on_an_edge(space, params))
        for name in space:
            assert (name in params) == holds(space[name], params), (name, params)
        assert list(params) == [name for name in space if name in params]
        canonical = space.encode(params)
        assert np.array_equal(np.isnan(canonical), [name not in params for name in space])
        assert space.encode(space.decode(canonical)).tobytes() == canonical.tobytes()
        assert space.canonical([u]).tobytes() == canonical.tobytes()
        rows.append((u, params, canonical))
    U, all_params, canonical = zip(*rows, strict=True)
    expected = np.array(canonical).tobytes()
    for many in (U, canonical):
        assert space.canonical(many).tobytes() == expected
        assert space.canonical(np.tile(many, (FEW_ROWS, 1))).tobytes() == expected * FEW_ROWS
    assert space.encode_many(all_params).tobytes() == expected
    assert space.encode_many({name: [p.get(name) for p in all_params] for name in space}).tobytes() == expected
    W = np.tile(U, (FEW_ROWS, 1))
    assert space.from_uniform(W).tobytes() == np.concatenate([space.from_uniform(w[None]) for w in W]).tobytes()
    assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space


@given(conditional_spaces(), st.data())
@settings(deadline=None)
def test_the_layout_says_the_same_as_the_space(space, data):
    layout = space.layout
    position = {int(j): i for i, j in enumerate(layout.order)}
    assert sorted(position) == list(range(space.d))
    assert all(position[int(p)] < position[int(c)] for p, c in zip(layout.cond_parent, layout.cond_child, strict=True))
    assert layout.cond_start[-1] == len(layout.cond_lo) == len(layout.cond_hi)
    assert (layout.cond_lo <= layout.cond_hi).all()
    u = space.canonical([[data.draw(unit) for _ in space]])[0]
    for j in range(space.d):
        met = []
        for i in np.flatnonzero(layout.cond_child == j):
            code = u[layout.cond_parent[i]]
            spans = range(layout.cond_start[i], layout.cond_start[i + 1])
            met.append(any(layout.cond_lo[t] <= code <= layout.cond_hi[t] for t in spans))
        assert all(met) == (not math.isnan(u[j]))
    # No point of a discrete parent lies on an end: a code computed with another logarithm is on the same side.
    for i in range(len(layout.cond_child)):
        parent = int(layout.cond_parent[i])
        if layout.size[parent] > 0 and not math.isnan(u[parent]):
            ends = np.concatenate(
                [a[layout.cond_start[i] : layout.cond_start[i + 1]] for a in (layout.cond_lo, layout.cond_hi)]
            )
            assert np.abs(ends - u[parent]).min() > 1e-6


@pytest.mark.parametrize("kind", PARENTS)
def test_every_kind_of_parent_and_condition(kind):
    parent, allowed = PARENTS[kind]
    for condition in [*allowed, allowed]:
        child = Float(0.0, 1.0).when(parent=condition)
        space = Space(child=child, parent=parent)  # the child first: order of declaration is free
        seen = set()
        for c in np.linspace(0.0, 1.0, 2001):
            params = space.decode([0.5, c])
            if on_an_edge(space, params):
                continue
            assert ("child" in params) == holds(child, params)
            seen.add("child" in params)
        assert True in seen
        assert list(
            space.decode(space.encode({"parent": params["parent"], **({"child": 0.25} if "child" in params else {})}))
        ) == list(params)


def test_conditions_nest_and_add_up():
    space = Space(
        model=Categorical(["mlp", "tree"]),
        layers=Int(1, 4).when(model="mlp"),
        width=Int(8, 512, log=True).when(layers=Between(2, 4)),
        dropout=Float(0.0, 0.5).when(width=Between(100, 512)).when(layers=[3, 4]),
        depth=Int(1, 9).when({"model": "tree"}),
    )
    assert list(space.decode([0.1, 0.9, 0.9, 0.1, 0.1])) == ["model", "layers", "width", "dropout"]
    assert list(space.decode([0.1, 0.4, 0.9, 0.1, 0.1])) == ["model", "layers", "width"]  # layers = 2
    assert list(space.decode([0.1, 0.9, 0.1, 0.1, 0.1])) == ["model", "layers", "width"]  # width = 12
    assert list(space.decode([0.1, 0.1, 0.9, 0.1, 0.1])) == ["model", "layers"]
    assert list(space.decode([0.9, math.nan, math.nan, 7.0, 0.1])) == ["model", "depth"]  # the rest is ignored
    original = Float(0.0, 0.5)
    assert original.when(a=1) is not original and original.conditions == ()
    assert original.when(a=1, b=2) == original.when(a=1).when(b=2) != original.when(b=2).when(a=1)
    assert original.when(a=1) != original.when(a=True)


def test_deep_chains():
    n = 300
    parameters = {
        f"p{i}": Categorical([0, 1]) if i == 0 else Categorical([0, 1]).when({f"p{i - 1}": 1}) for i in range(n)
    }
    space = Space(dict(reversed(parameters.items())))
    assert len(space.decode([0.9] * n)) == n
    u = np.full(n, 0.9)
    u[n - 1 - 7] = 0.1  # p7 = 0
    assert list(space.decode(u)) == [f"p{i}" for i in range(7, -1, -1)]
    assert np.isnan(space.canonical([u] * 20)).sum() == 20 * (n - 8)


def test_a_choice_that_is_a_list_is_written_in_two_brackets():
    parent = Categorical([[64, 64], [32], {"a": 1}])
    space = Space(parent=parent, child=Float(0, 1).when(parent=[[64, 64]]), other=Float(0, 1).when(parent={"a": 1}))
    assert list(space.decode([0.1, 0.5, 0.5])) == ["parent", "child"]
    assert list(space.decode([0.9, 0.5, 0.5])) == ["parent", "other"]
    assert "Float(0.0, 1.0).when(parent=[[64, 64]])" in repr(space)
    assert eval(repr(space)) == space
    with pytest.raises(SpaceError, match=r"A choice that is itself a list is written \[\[64, 64\]\]"):
        Space(parent=parent, child=Float(0, 1).when(parent=[64, 64]))


def test_conditions_are_copies():
    mine = {"a": 1}
    child = Float(0, 1).when(parent=mine)
    mine["a"] = 2
    Space(parent=Categorical([{"a": 1}]), child=child)


def test_printing():
    child = Int(1, 3).when(a="x", b=[1, 2], c=Between(0.5, 2))
    assert repr(child) == "Int(1, 3).when(a='x', b=[1, 2], c=Between(0.5, 2))"
    assert repr(Int(1, 3).when({"a b": None}).when(c=[[1]])) == "Int(1, 3).when({'a b': None}).when({'c': [[1]]})"
    assert repr(Int(1, 3).when(a=[1, 2]).when(a=1)) == "Int(1, 3).when({'a': [1, 2]}).when({'a': 1})"


def test_a_prior_acts_on_who_exists():
    space = Space(a=Int(1, 9, prior=Normal(8.0, 0.1)), b=Float(0, 1).when(a=[7, 8, 9]), c=Float(0, 1).when(a=1))
    U = space.from_uniform(np.random.default_rng(0).random((50, 3)))
    assert not np.isnan(U[:, 1]).any() and np.isnan(U[:, 2]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Space(x=Float(0, 1).when(y=1)),
            r'Float\("x"\).when\(y=1\): the parent must be .* but got .y.; the space has .x.',
        ),
        (lambda: Space(x=Float(0, 1).when(x=0.5)), "must not form a cycle, but got x -> x"),
        (
            lambda: Space(a=Float(0, 1).when(c=0.5), b=Float(0, 1).when(a=0.5), c=Float(0, 1).when(b=0.5)),
            "cycle, but got a -> c -> b -> a",
        ),
        (
            lambda: Space(z=Int(0, 1).when(a=1), a=Int(0, 1).when(b=1), b=Int(0, 1).when(a=1)),
            "cycle, but got a -> b -> a",
        ),
        (
            lambda: Space(a=Categorical("x y".split()), b=Int(0, 1).when(a="z")),
            r"must be one of \['x', 'y'\], but got 'z'",
        ),
        (lambda: Space(a=Categorical("x y".split()), b=Int(0, 1).when(a=["x", "z"])), "must be one of"),
        (lambda: Space(a=Categorical([True, "y"]), b=Int(0, 1).when(a=1)), "must be one of"),
        (
            lambda: Space(a=Float(0, 1), b=Int(0, 1).when(a=1.5)),
            r'Int\("b"\).when\(a=1.5\): Float\("a"\): the value must lie in',
        ),
        (lambda: Space(a=Float(0, 1, step=0.25), b=Int(0, 1).when(a=0.3)), "plus a multiple of step"),
        (lambda: Space(a=Int(0, 9), b=Int(0, 1).when(a=2.5)), "whole number"),
        (lambda: Space(a=Int(0, 9), b=Int(0, 1).when(a="2")), "must be a number"),
        (lambda: Space(a=Constant("x"), b=Int(0, 1).when(a="y")), "must be one of"),
        (lambda: Space(a=Float(0, 1), b=Int(0, 1).when(a=Between(1.5, 2))), "Between must hold a value"),
        (lambda: Space(a=Float(1e-5, 1, log=True), b=Int(0, 1).when(a=Between(0, 1e-6))), "Between must hold a value"),
        (lambda: Space(a=Float(0, 1, step=0.25), b=Int(0, 1).when(a=Between(0.3, 0.4))), "Between must hold a value"),
        (lambda: Space(a=Float(0, 1, step=0.25), b=Int(0, 1).when(a=Between(1.1, 2))), "Between must hold a value"),
        (lambda: Space(a=Int(0, 9, step=3), b=Int(0, 1).when(a=Between(4, 5))), "Between must hold a value"),
        (lambda: Space(a=Int(1, 9, log=True), b=Int(0, 1).when(a=Between(10, 20))), "Between must hold a value"),
        (
            lambda: Space(a=Categorical([1, 2]), b=Int(0, 1).when(a=Between(1, 2))),
            "Between needs a parent with an order",
        ),
        (lambda: Space(a=Ordinal([3, 2, 1]), b=Int(0, 1).when(a=Between(1, 3))), "must come before"),
        (lambda: Space(a=Ordinal([3, 2, 1]), b=Int(0, 1).when(a=Between(0, 1))), "must be one of"),
        (lambda: Space(a=Int(0, 9), b=Int(0, 1).when(a=Between("x", "y"))), "must be a number"),
        (lambda: Float(0, 1).when(), "at least one condition"),
        (lambda: Float(0, 1).when(a=[]), "empty list"),
        (lambda: Float(0, 1).when({"a": 1}, a=2), "named once"),
        (lambda: Float(0, 1).when({1: 1}), "named by a str"),
        (lambda: Float(0, 1).when(a=object()), "must be JSON"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(make, message):
    with pytest.raises(SpaceError, match=message):
        make()


@pytest.mark.parametrize(
    "parameters",
    [
        {"a": Int(0, 9), "b": Int(0, 1).when(a=1).when(a=2)},
        {"a": Int(0, 9), "b": Int(0, 1).when(a=Between(0, 4)).when(a=Between(5, 9))},
        {"a": Float(0, 1), "b": Int(0, 1).when(a=Between(0, 0.4)).when(a=[Between(0.5, 0.7), 0.9])},
        {"o": Categorical(["x", "y"]), "m": Int(0, 3).when(o="x"), "b": Int(0, 1).when(m=1, o="y")},
        {
            "o": Ordinal([1, 2, 3]),
            "m": Int(0, 3).when(o=1),
            "n": Int(0, 3).when(o=[2, 3]),
            "b": Int(0, 1).when(m=1, n=1),
        },
        {"o": Constant(1), "p": Categorical([1, 2]), "m": Int(0, 3).when(o=1, p=1), "n": Int(0, 1).when(m=0).when(p=2)},
    ],
    ids=str,
)
def test_conditions_that_exclude_each_other_are_refused(parameters):
    with pytest.raises(SpaceError, match="must be possible together"):
        Space(parameters)


def test_conditions_that_barely_meet_are_allowed():
    space = Space(
        a=Float(0, 1),
        b=Int(0, 9),
        x=Int(0, 1).when(a=Between(0, 0.5)).when(a=Between(0.5, 1)),
        y=Int(0, 1).when(b=Between(0, 4)).when(b=[4, 5]),
    )
    assert list(space.decode(space.encode({"a": 0.5, "b": 4, "x": 1, "y": 0}))) == ["a", "b", "x", "y"]
    assert list(space.decode([0.5001, 0.55, 0.5, 0.5])) == ["a", "b"]


SPACE = Space(opt=Categorical(["sgd", "adam"]), lr=Float(0.0, 1.0), momentum=Float(0.0, 0.9).when(opt="sgd"))


def test_parameters_that_should_or_should_not_exist():
    with pytest.raises(
        SpaceError,
        match=r'Float\("momentum"\): the parameter exists only .when\(opt=.sgd.\), .* but got 0.5; leave it out',
    ):
        SPACE.encode({"opt": "adam", "lr": 0.1, "momentum": 0.5})
    with pytest.raises(SpaceError, match=r'Float\("momentum"\): the parameter must be given here, but is missing'):
        SPACE.encode({"opt": "sgd", "lr": 0.1})
    with pytest.raises(SpaceError, match=r'Float\("momentum"\), row 1: the parameter exists only'):
        SPACE.encode_many([{"opt": "adam", "lr": 0.1}, {"opt": "adam", "lr": 0.1, "momentum": 0.5}])
    columns = {"opt": ["sgd", "adam"], "lr": [0.1, 0.2]}
    for filler in (None, math.nan):
        U = SPACE.encode_many({**columns, "momentum": [0.45, filler]})
        assert U[0].tolist() == [0.25, 0.1, 0.5] and math.isnan(U[1, 2])
    with pytest.raises(SpaceError, match=r'Float\("momentum"\), row 1: the parameter exists only'):
        SPACE.encode_many({**columns, "momentum": np.array([0.45, 0.45])})
    with pytest.raises(SpaceError, match=r'Float\("momentum"\), row 0: the value must be a number, but got None'):
        SPACE.encode_many({**columns, "momentum": [None, None]})
    with pytest.raises(SpaceError, match=r'Float\("momentum"\), row 0: the value must lie in .* but got nan'):
        SPACE.encode_many({**columns, "momentum": np.array([math.nan, math.nan])})
    with pytest.raises(SpaceError, match=r'Float\("momentum"\), row 0: the parameter must be given here'):
        SPACE.encode_many(columns)
    assert SPACE.encode_many({"opt": ["adam"], "lr": [0.5]})[0, :2].tolist() == [0.75, 0.5]


def test_a_none_that_is_a_choice_is_no_gap():
    space = Space(a=Categorical([1, 2]), b=Categorical([None, 3]).when(a=1))
    U = space.encode_many({"a": [1, 1, 2], "b": [None, 3, None]})
    assert U[:2, 1].tolist() == [0.25, 0.75] and math.isnan(U[2, 1])


def test_missing_codes_of_existing_parameters_are_refused():
    for U in ([[0.1, 0.5, math.nan]], [[0.9, 0.5, math.nan]] * 20 + [[0.1, 0.5, math.nan]]):
        with pytest.raises(SpaceError, match=r'Float\("momentum"\): the code of a parameter that exists must lie in'):
            SPACE.canonical(U)
    assert math.isnan(SPACE.canonical([[0.9, 0.5, math.nan]])[0, 2])
