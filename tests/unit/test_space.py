"""The space: round trips, exactness, JSON, printing, priors, errors."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpo_fast.errors import SpaceError
from hpo_fast.space import (
    CATEGORICAL,
    CONTINUOUS,
    ORDERED,
    Between,
    Categorical,
    Constant,
    Float,
    Int,
    Normal,
    Ordinal,
    Space,
)
from hpo_fast.space.space import FEW_ROWS

MAX = sys.float_info.max
TINY = 5e-324

finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=TINY, allow_infinity=False)
unit = st.floats(0.0, 1.0)
json_leaf = st.none() | st.booleans() | st.integers() | finite | st.text(max_size=5)
json_value = st.recursive(
    json_leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def typed(value):
    """A key under which 1, 1.0 and True differ, written here again so that the package's own is not its own judge."""
    if isinstance(value, list):
        return ["list", [typed(item) for item in value]]
    if isinstance(value, dict):
        return ["dict", sorted([key, typed(item)] for key, item in value.items())]
    return [type(value).__name__, value]


@st.composite
def float_ranges(draw):
    low, high = sorted((draw(finite), draw(finite)))
    return Float(low, high) if math.isfinite(high - low) else Float(low / 2, high / 2)


@st.composite
def log_ranges(draw):
    low, high = sorted((draw(positive), draw(positive)))
    return Float(low, high, log=True)


@st.composite
def near_log_ranges(draw):
    low = draw(st.floats(1e-290, 1e290))
    return Float(low, low * (1.0 + draw(st.floats(0.0, 1.0)) ** 8), log=True)


@st.composite
def stepped(draw):
    digits = draw(st.integers(0, 8))
    low = draw(st.integers(-(10**6), 10**6))
    step = draw(st.integers(1, 10**4))
    span = draw(st.integers(0, 10**7))
    scale = Fraction(1, 10**digits)
    return Float(float(low * scale), float((low + span) * scale), step=float(step * scale))


@st.composite
def ints(draw):
    step = draw(st.integers(1, 10**6) | st.just(1))
    low = draw(st.integers(-(2**70), 2**70) | st.integers(-1000, 1000))
    points = draw(st.integers(1, 2**50) | st.integers(1, 20))
    return Int(low, low + (points - 1) * step + draw(st.integers(0, step - 1)), step=step)


@st.composite
def log_ints(draw):
    low, high = sorted((draw(st.integers(1, 2**44)), draw(st.integers(1, 2**44) | st.integers(1, 100))))
    return Int(low, high, log=True)


@st.composite
def choices(draw):
    values = draw(st.lists(json_value, min_size=1, max_size=8, unique_by=lambda v: json.dumps(typed(v))))
    return draw(st.sampled_from([Categorical, Ordinal]))(values)


discrete = stepped() | ints() | log_ints() | choices() | st.builds(Constant, json_value)
continuous = float_ranges() | log_ranges() | near_log_ranges()
anything = discrete | continuous
names = st.text(min_size=1, max_size=8)


def scale_distance(parameter, a, b):
    """|a - b| in units of the parameter's own scale."""
    if parameter.log:
        near = parameter.high / 1024 <= parameter.low
        width = (
            math.log1p((parameter.high - parameter.low) / parameter.low)
            if near
            else math.log(parameter.high) - math.log(parameter.low)
        )
        return abs(math.log1p((b - a) / a) if abs(b - a) < a else math.log(b) - math.log(a)) / width
    return abs(a - b) / (parameter.high - parameter.low)


def check_fixed_point(space, u):
    """What was decoded encodes to itself, and every path gives the same bits."""
    canonical = space.encode(space.decode(u))
    assert space.encode(space.decode(canonical)).tobytes() == canonical.tobytes()
    many = np.array([u, canonical] * FEW_ROWS)  # so many rows go as arrays, few go one by one
    assert space.canonical(many).tobytes() == np.array([canonical] * len(many)).tobytes()
    assert space.canonical(many[:1]).tobytes() == canonical.tobytes()
    params = space.decode(u)
    assert space.encode_many([params, params]).tobytes() == np.array([canonical] * 2).tobytes()
    assert (
        space.encode_many({name: [v, v] for name, v in params.items()}).tobytes() == np.array([canonical] * 2).tobytes()
    )


@given(names, discrete, unit)
def test_discrete_values_come_back_exactly(name, parameter, u):
    space = Space({name: parameter})
    params = space.decode([u])
    again = space.decode(space.encode(params))
    assert typed(again) == typed(params)
    check_fixed_point(space, [u])


@given(names, continuous, unit, st.data())
def test_continuous_values_come_back_within_1e_12_of_their_scale(name, parameter, u, data):
    space = Space({name: parameter})
    value = data.draw(st.floats(parameter.low, parameter.high) | st.just(space.decode([u])[name]))
    code = space.encode({name: value})
    assert 0.0 <= code[0] <= 1.0
    back = space.decode(code)[name]
    assert parameter.low <= back <= parameter.high
    assert back == value or scale_distance(parameter, value, back) <= 1e-12
    assert space.encode({name: back}).tobytes() == code.tobytes()
    column = np.array([value, value, back])
    assert space.encode_many({name: column}).tobytes() == np.repeat(code, 3).tobytes()
    check_fixed_point(space, [u])


@given(st.dictionaries(names, anything, min_size=1, max_size=6), st.data())
@settings(deadline=None)
def test_spaces_of_many_parameters_round_trip_and_survive_json(parameters, data):
    space = Space(parameters)
    u = [data.draw(unit) for _ in parameters]
    check_fixed_point(space, u)
    again = Space.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space and hash(again) == hash(space) and again.names == space.names
    assert again.encode(again.decode(u)).tobytes() == space.encode(space.decode(u)).tobytes()
    assert pickle.loads(pickle.dumps(space)) == space


@given(st.integers(1, 10_000), unit)
def test_categorical_of_any_size(size, u):
    space = Space(x=Categorical(range(size)), y=Ordinal([f"é{i}" for i in range(size)]))
    check_fixed_point(space, [u, u])
    index = min(int(u * size), size - 1)
    assert space.decode([u, u]) == {"x": index, "y": f"é{index}"}


@pytest.mark.parametrize(
    "parameter",
    [
        Float(-1.0, 1.0),
        Float(-MAX / 2, MAX / 2),
        Float(0.0, TINY),
        Float(1e15, 1e15 + 1.0),
        Float(1e-300, 1e300, log=True),
        Float(TINY, MAX, log=True),
        Float(1.0, math.nextafter(1.0, 2.0), log=True),
        Float(1e300, math.nextafter(1e300, MAX), log=True),
        Float(0.1, 0.1),
        Float(1e-300, 1e-300, log=True),
        Float(0.0, 1.0, step=0.3),
        Float(-0.7, 0.05, step=0.1),
        Float(0.0, 1e-320, step=1e-322),
        Float(0.0, 0.05, step=0.1),
        Int(3, 3),
        Int(3, 3, log=True),
        Int(0, 2**50 - 1),
        Int(2**60, 2**60 + 7),
        Int(-(10**400), -(10**400) + 5),
        Int(0, 2**100, step=2**52),
        Int(1, 2**44, log=True),
        Int(2**44 - 3, 2**44, log=True),
    ],
    ids=repr,
)
def test_ends_are_reached_and_kept(parameter):
    space = Space(x=parameter)
    low, high = space.decode([0.0])["x"], space.decode([1.0])["x"]
    assert low == parameter.low
    assert high == (parameter.high if parameter.step in (None, 1) else high)
    assert parameter.high - (parameter.step or 0) <= high <= parameter.high
    for value in (low, high):
        assert space.decode(space.encode({"x": value}))["x"] == value
    for u in np.linspace(0.0, 1.0, 101):
        check_fixed_point(space, [u])
    # More points than a double can tell apart inside [0, 1] would make neighbours equal.
    if space.layout.size[0] > 1:
        for u in (0.0, 0.3, 0.5, 1.0):
            point = space.decode([u])["x"]
            for neighbour in (point - (parameter.step or 0), point + (parameter.step or 0)):
                if isinstance(point, int) and low <= neighbour <= high:
                    assert space.decode(space.encode({"x": neighbour}))["x"] == neighbour


def test_a_grid_of_decimals_holds_the_decimals():
    space = Space(x=Float(0.0, 1.0, step=0.1))
    values = [space.decode([(i + 0.5) / 11])["x"] for i in range(11)]
    assert values == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert space.encode({"x": 0.1 + 0.2}).tobytes() == space.encode({"x": 0.3}).tobytes()
    assert (
        space.encode_many({"x": np.arange(11) * 0.1}).tobytes() == space.encode_many({"x": np.array(values)}).tobytes()
    )


@given(st.integers(0, 2**50 - 1))
@example(2**50 - 1)
@example(2**49 + 1)
def test_every_index_of_2_to_the_50_points_is_kept(i):
    space = Space(
        a=Int(-5, 2**50 - 6), b=Float(0.0, float(2**50 - 1), step=1.0), c=Float(-3.0, 2.0**49 - 3.5, step=0.5)
    )
    params = {"a": i - 5, "b": float(i), "c": -3.0 + 0.5 * i}
    assert space.decode(space.encode(params)) == params
    assert (
        space.encode_many({k: np.array([v, v]) for k, v in params.items()})[1].tobytes()
        == space.encode(params).tobytes()
    )


@given(st.integers(1, 2**44))
@example(2**44)
@example(2**44 - 1)
def test_every_log_int_is_kept(value):
    space = Space(x=Int(1, 2**44, log=True))
    code = space.encode({"x": value})
    assert space.decode(code) == {"x": value}
    assert space.encode_many({"x": np.array([value, value])})[0].tobytes() == code.tobytes()


def test_rounding_of_a_log_int_is_fair():
    space = Space(x=Int(1, 4, log=True))
    values = [space.decode([u])["x"] for u in (np.arange(90_000) + 0.5) / 90_000]
    share = np.bincount(values, minlength=5)[1:] / 90_000
    expected = np.diff(np.log([0.5, 1.5, 2.5, 3.5, 4.5])) / np.log(9.0)
    assert np.allclose(share, expected, atol=2e-5)  # one of 90,000 steps at each of two edges


def test_equal_looking_choices_stay_apart():
    looks_like_one = [1, 1.0, "1", True, None, "None", [1], [1.0], {"1": 1}, {"1": True}, [], {}, 0, False, "", 0.0]
    space = Space(x=Categorical(looks_like_one))
    for i, choice in enumerate(looks_like_one):
        code = space.encode({"x": choice})
        assert code[0] == (i + 0.5) / len(looks_like_one)
        assert typed(space.decode(code)["x"]) == typed(choice)
    assert space == Space.from_json(json.loads(json.dumps(space.to_json())))
    assert Categorical([1]) != Categorical([True]) != Categorical([1.0]) != Categorical([1])
    assert Constant(0) != Constant(False) and Constant(0) == Constant(0)


@pytest.mark.parametrize(
    "twice", [[1, 1], ["a", "b", "a"], [[1, 2], [1, 2]], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], [0.0, -0.0]]
)
def test_duplicate_choices_are_refused(twice):
    with pytest.raises(SpaceError, match="choices must differ"):
        Categorical(twice)


def test_numbers_that_lost_their_type_find_their_choice():
    space = Space(batch=Categorical([16, 32, "64"]))
    assert space.encode({"batch": 32.0})[0] == 0.5
    for wrong in (64, True, 16.5, "16", (16,), float("nan"), object()):
        with pytest.raises(SpaceError, match=r'Categorical\("batch"\): the value must be one of'):
            space.encode({"batch": wrong})


def test_the_user_cannot_alter_the_space():
    mine = [[64, 64], {"a": [1]}]
    space = Space(x=Categorical(mine), c=Constant(mine))
    before = json.dumps(space.to_json())
    mine[0].append(1)
    decoded = space.decode([0.1, 0.5])
    decoded["x"].append(2)
    decoded["c"][1]["a"].append(2)
    space["x"].choices[0].append(3)
    space["c"].value.append(3)
    space.to_json()["parameters"][0]["choices"][0].append(4)
    assert json.dumps(space.to_json()) == before
    assert space.decode([0.1, 0.5]) == {"x": [64, 64], "c": [[64, 64], {"a": [1]}]}
    with pytest.raises(AttributeError):
        space["x"].choices = [1]
    with pytest.raises(ValueError, match="read-only"):
        space.layout.size[0] = 3


def test_numpy_scalars_are_values_and_decoded_values_are_plain():
    space = Space(
        f=Float(0.0, 1.0),
        i=Int(0, 9),
        c=Categorical([1, "a", True]),
        s=Float(0.0, 1.0, step=0.5),
        g=Int(1, 9, log=True),
    )
    plain = {"f": 0.25, "i": 3, "c": 1, "s": 0.5, "g": 4}
    numpy = {"f": np.float32(0.25), "i": np.int8(3), "c": np.uint64(1), "s": np.array(0.5), "g": np.float64(4.0)}
    assert space.encode(numpy).tobytes() == space.encode(plain).tobytes()
    assert space.encode({**plain, "c": np.bool_(True)})[2] == 2.5 / 3
    assert space.encode({**plain, "c": np.str_("a")})[2] == 1.5 / 3
    assert space.encode({**plain, "f": np.longdouble(0.25)})[0] == 0.25
    assert {name: type(value) for name, value in space.decode(space.encode(plain)).items()} == {
        "f": float, "i": int, "c": int, "s": float, "g": int,
    }  # fmt: skip
    assert type(space.decode(np.full(5, 0.5, dtype=np.float32))["f"]) is float


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64, np.float32, np.float64, object])
def test_columns_of_any_dtype(dtype):
    space = Space(
        i=Int(-3, 100, step=2),
        f=Float(0.0, 100.0),
        s=Float(1.0, 9.0, step=2.0),
        g=Int(1, 99, log=True),
        c=Ordinal([1, 5]),
    )
    columns = {"i": [1, 3, 99], "f": [0, 7, 100], "s": [1, 3, 9], "g": [1, 50, 99], "c": [1, 5, 5]}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    U = space.encode_many({name: np.array(column, dtype=dtype) for name, column in columns.items()})
    assert U.tobytes() == space.encode_many(rows).tobytes() == space.encode_many(columns).tobytes()
    bad = {name: np.array(column, dtype=dtype) for name, column in columns.items()}
    bad["i"][2] = 4
    with pytest.raises(
        SpaceError, match=r'Int\("i"\), row 2: the value must be -3 plus a multiple of step=2, but got 4'
    ):
        space.encode_many(bad)


def test_columns_and_rows_of_choices_that_are_lists():
    space = Space(x=Categorical([[64, 64], [32, 32]]))
    U = space.encode_many([{"x": [32, 32]}, {"x": [64, 64]}])
    assert U.tolist() == [[0.75], [0.25]]
    assert space.encode_many({"x": [[32, 32], [64, 64]]}).tolist() == U.tolist()
    assert space.encode_many({"x": np.array([[32, 32], [64, 64]])}).tolist() == U.tolist()


def test_data_frames_are_columns():
    pandas = pytest.importorskip("pandas")
    space = Space(x=Float(0.0, 1.0), c=Categorical(["a", "b"]), y=Int(1, 3).when(c="a"))
    rows = [{"x": 0.1, "c": "a", "y": 2}, {"x": 0.2, "c": "b"}]
    assert space.encode_many(pandas.DataFrame(rows)).tobytes() == space.encode_many(rows).tobytes()


def test_empty_batches():
    space = Space(x=Float(0.0, 1.0), g=Float(1e-5, 1.0, log=True), i=Int(1, 9, log=True, prior=Normal(1.0, 1.0)))
    assert space.encode_many([]).shape == (0, 3)
    assert space.encode_many({"x": [], "g": [], "i": []}).shape == (0, 3)
    assert space.canonical(np.empty((0, 3))).shape == (0, 3)
    assert space.from_uniform(np.empty((0, 3))).shape == (0, 3)


@given(anything, st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=5))
@settings(deadline=None)
def test_uniform_numbers_become_points_the_same_way_one_by_one_and_all_at_once(parameter, w):
    space = Space(x=parameter)
    W = np.array(w * (FEW_ROWS + 1))[:, None]
    U = space.from_uniform(W)
    assert U.tobytes() == np.concatenate([space.from_uniform(W[i : i + 1]) for i in range(len(W))]).tobytes()
    assert U.tobytes() == space.canonical(U).tobytes() == space.canonical(W).tobytes()


PRIORS = {
    "float": Float(-1.0, 4.0, prior=Normal(1.0, 1.5)),
    "log": Float(1e-4, 10.0, log=True, prior=Normal(math.log(0.01), 2.0)),
    "upper tail": Float(20.0, 22.0, prior=Normal(0.0, 1.0)),
    "lower tail": Float(-22.0, -20.0, prior=Normal(0.0, 1.0)),
    "int": Int(0, 20, prior=Normal(3.0, 4.0)),
    "int step": Int(0, 20, step=5, prior=Normal(3.0, 4.0)),
    "huge int": Int(2**60, 2**60 + 20, prior=Normal(2.0**60, 4.0)),
    "log int": Int(1, 50, log=True, prior=Normal(math.log(8.0), 0.7)),
    "step": Float(0.0, 2.0, step=0.25, prior=Normal(0.5, 0.5)),
    "flat": Float(0.0, 1.0, prior=Normal(0.0, 1e12)),
}


def exact_quantiles(parameter, w):
    """Quantiles of the cut normal by mpmath with 60 digits, of the value, or of its logarithm."""
    import mpmath

    with mpmath.workdps(60):
        if isinstance(parameter, Int) or parameter.step:
            half = mpmath.mpf(parameter.step) / 2
            a, b = parameter.low - half, parameter.high + half
        else:
            a, b = mpmath.mpf(parameter.low), mpmath.mpf(parameter.high)
        if parameter.log:
            a, b = mpmath.log(a), mpmath.log(b)
        mu, sigma = parameter.prior.mu, parameter.prior.sigma
        flip = -1 if a > mu else 1
        a, b = flip * (a - mu) / sigma, flip * (b - mu) / sigma
        fa, fb = mpmath.ncdf(a), mpmath.ncdf(b)
        found = []
        for x in w:
            mass = fa + mpmath.mpf(x) * (fb - fa)
            low, high = (a, b) if a < b else (b, a)
            for _ in range(170):
                middle = (low + high) / 2
                low, high = (middle, high) if mpmath.ncdf(middle) < mass else (low, middle)
            found.append(mu + sigma * flip * (low + high) / 2)
    return found


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_is_the_normal_distribution_cut_at_the_bounds(name):
    parameter = PRIORS[name]
    w = np.array([0.0, 0.001, 0.02, 0.2, 0.4999, 0.77, 0.98, 0.9999])
    U = Space(x=parameter).from_uniform(w[:, None])
    values = [Space(x=parameter).decode(u)["x"] for u in U]
    assert values == sorted(values)
    for value, exact in zip(values, exact_quantiles(parameter, np.maximum(w, 2.0**-54)), strict=True):
        exact = exact if not parameter.log else (__import__("mpmath").exp(exact))
        if isinstance(parameter, Int) or parameter.step:
            assert abs(value - exact) <= parameter.step * 0.5000001 or value in (parameter.low, parameter.high)
        else:
            # w = 0 stands for 2**-54, the middle of what it was rounded from; elsewhere rounding costs 1e-15 / density
            assert abs(value - exact) <= 1e-9 * (1.0 if parameter.log else parameter.high - parameter.low)


def test_a_prior_gives_the_frequencies_of_its_cells():
    rng = np.random.default_rng(0)
    space = Space(i=Int(1, 5, prior=Normal(2.0, 1.0)))
    U = space.from_uniform(rng.random((200_000, 1)))
    found = np.bincount(np.round(U[:, 0] * 5 - 0.5).astype(int), minlength=5) / 200_000
    edges = np.array([0.5 * math.erfc(-(x - 2.0) / math.sqrt(2.0)) for x in (0.5, 1.5, 2.5, 3.5, 4.5, 5.5)])
    expected = np.diff(edges) / (edges[-1] - edges[0])
    assert np.abs(found - expected).max() < 5 * 0.5 / math.sqrt(200_000)  # five standard errors


def test_layout_names_kinds_and_sizes():
    space = Space(
        f=Float(0.0, 1.0), g=Float(1e-5, 1.0, log=True), s=Float(0.0, 1.0, step=0.3), i=Int(3, 9),
        j=Int(2, 9, log=True),
        c=Categorical("a b".split()), o=Ordinal([1, 2, 3]), k=Constant("x"), p=Float(2.0, 2.0),
    )  # fmt: skip
    layout = space.layout
    assert (space.d, layout.d, layout.b) == (9, 9, 9)
    assert layout.start.tolist() == list(range(10))
    assert layout.kind.tolist() == [CONTINUOUS] * 2 + [ORDERED] * 3 + [CATEGORICAL, ORDERED, CATEGORICAL, ORDERED]
    assert layout.size.tolist() == [0, 0, 4, 7, 8, 2, 3, 1, 1]
    assert np.flatnonzero(~np.isnan(layout.low)).tolist() == [4]
    assert (layout.low[4], layout.log_low[4], layout.log_high[4]) == (2.0, math.log(1.5), math.log(9.5))
    assert layout.cond_child.size == 0 and layout.cond_start.tolist() == [0]
    arrays = {
        "kind": np.int32,
        **dict.fromkeys(["start", "size", "order", "cond_child", "cond_parent", "cond_start"], np.int64),
    }
    arrays |= dict.fromkeys(["low", "log_low", "log_high", "cond_lo", "cond_hi"], np.float64)
    for name, dtype in arrays.items():
        array = getattr(layout, name)
        assert array.dtype == dtype and array.flags.c_contiguous
    codes = (math.log(5) - math.log(1.5)) / (math.log(9.5) - math.log(1.5))
    assert space.encode({**space.decode([0.5] * 9), "j": 5})[4] == codes
    assert space.code("j", 5) == codes and space.code("o", 3) == 2.5 / 3


def test_a_space_is_a_readable_mapping():
    space = Space(
        {"Lernrate η": Float(1e-5, 1e-1, log=True)},
        n=Int(1, 8, step=2, prior=Normal(3.0, 1.0)),
        c=Categorical(range(100)),
    )
    assert (
        list(space) == ["Lernrate η", "n", "c"]
        and len(space) == 3
        and space["n"] == Int(1, 8, step=2, prior=Normal(3, 1))
    )
    assert "c" in space and "d" not in space
    assert repr(space) == str(space) == (
        "Space({\n"
        "    'Lernrate η': Float(1e-05, 0.1, log=True),\n"
        "    'n': Int(1, 8, step=2, prior=Normal(3.0, 1.0)),\n"
        "    'c': Categorical([0, 1, 2, ..., 99] of 100),\n"
        "})"
    )  # fmt: skip
    small = Space(x=Ordinal([1, "a", None]), k=Constant({"a": 1}), f=Float(0.0, 1.0, step=0.1))
    assert eval(repr(small)) == small
    assert Space(a=Float(0, 1), b=Float(0, 1)) != Space(b=Float(0, 1), a=Float(0, 1))  # the columns differ
    assert Space(a=Float(0, 1)) != {"a": Float(0, 1)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float(0.1, 0.01), r"Float: low <= high must hold, but got low=0.1, high=0.01; swap them."),
        (lambda: Float(0.0, 1.0, log=True), "low > 0 must hold where log=True"),
        (lambda: Float(0.1, 1.0, log=True, step=0.1), "exclude each other"),
        (lambda: Float(0.0, 1.0, step=0.0), "step > 0"),
        (lambda: Float(0.0, 1.0, step=1e-16), r"at most 2\*\*50 points"),
        (lambda: Float(1e16, 1e16 + 100, step=0.5), "step must be at least twice"),
        (lambda: Float(-MAX, MAX), "must be a finite double"),
        (lambda: Float(0.0, math.inf), "Float\\(high\\): the value must be a finite double"),
        (lambda: Float(math.nan, 1.0), "Float\\(low\\): the value must be a finite double"),
        (lambda: Float(0, 10**400), "finite double"),
        (lambda: Float("0", 1.0), "must be a number"),
        (lambda: Float(False, 1.0), "must be a number"),
        (lambda: Float(0.0, 1.0, prior=3), "prior must be Normal"),
        (lambda: Float(0.0, 1.0, log="yes"), "log must be True or False"),
        (lambda: Float(0.0, 1.0, prior=Normal(100.0, 1.0)), "37 sigma"),
        (lambda: Normal(0.0, 0.0), "sigma > 0"),
        (lambda: Normal(math.inf, 1.0), r"Normal\(mu\)"),
        (lambda: Int(0.5, 3), "whole number"),
        (lambda: Int(3, 1), "low <= high"),
        (lambda: Int(0, 3, log=True), "low > 0"),
        (lambda: Int(1, 9, log=True, step=2), "exclude each other"),
        (lambda: Int(0, 2**50), r"at most 2\*\*50 points, but got 1125899906842625"),
        (lambda: Int(1, 2**44 + 1, log=True), r"high <= 2\*\*44"),
        (lambda: Int(10**400, 10**400 + 1, prior=Normal(0.0, 1.0)), "a double can hold"),
        (lambda: Int(0, 3, step=0), "step > 0"),
        (lambda: Categorical([]), "at least one value"),
        (lambda: Categorical("abc"), "must be a list"),
        (lambda: Categorical({"a", "b"}), "must be a list"),
        (lambda: Categorical(3), "must be a list"),
        (lambda: Categorical([(1, 2)]), "write it as a list"),
        (lambda: Categorical([float]), "must be JSON"),
        (lambda: Categorical([math.inf]), "must be JSON"),
        (lambda: Ordinal([{1: 2}]), "must be JSON"),
        (lambda: Constant(object()), "must be JSON"),
        (lambda: Space(), "at least one parameter"),
        (lambda: Space({1: Float(0, 1)}), "a name must be a str"),
        (lambda: Space(x=3), "'x' must be a parameter"),
        (lambda: Space({"x": Float(0, 1)}, x=Float(0, 1)), "given once"),
    ],
)
def test_construction_errors(make, message):
    with pytest.raises(SpaceError, match=message):
        make()


SMALL = Space(x=Float(0.0, 1.0), n=Int(1, 8), s=Float(0.0, 1.0, step=0.25))
GOOD = {"x": 0.5, "n": 2, "s": 0.25}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"x": 0.5, "n": 2}, r'Float\("s"\): the parameter must be given here, but is missing'),
        ({**GOOD, "y": 1}, r"must be a parameter of the space, but got 'y'; the space has 'x', 'n', 's'"),
        ({**GOOD, "x": 1.5}, r'Float\("x"\): the value must lie in \[0.0, 1.0\], but got 1.5'),
        ({**GOOD, "x": math.nan}, "but got nan"),
        ({**GOOD, "x": 10**400}, "must lie in"),
        ({**GOOD, "x": None}, "must be a number, but got None"),
        ({**GOOD, "x": "0.5"}, "must be a number, but got '0.5'"),
        ({**GOOD, "x": True}, "must be a number, but got True"),
        ({**GOOD, "n": 0}, r'Int\("n"\): the value must lie in \[1, 8\], but got 0'),
        ({**GOOD, "n": 2.5}, "must be a whole number, but got 2.5"),
        ({**GOOD, "n": math.inf}, "must be a whole number, but got inf"),
        ({**GOOD, "s": 0.3}, r"0.0 plus a multiple of step=0.25, but got 0.3; the nearest are 0.25 and 0.5"),
        ({**GOOD, "s": 0.2}, "the nearest are 0.0 and 0.25"),
        ({**GOOD, "s": 1.25}, r"must lie in \[0.0, 1.0\]"),
        ([0.5, 2, 0.25], "must be a dict"),
    ],
)
def test_wrong_parameters_are_named_and_rows_too(params, message):
    with pytest.raises(SpaceError, match=message):
        SMALL.encode(params)
    with pytest.raises(SpaceError, match=", row 1"):
        SMALL.encode_many([GOOD, params])
    if isinstance(params, dict):
        with pytest.raises(SpaceError, match=message.replace(r'"\)', r'"\), row 0')):
            SMALL.encode_many({name: [params[name], params[name]] for name in params})


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1, math.inf])
def test_codes_outside_the_unit_cube_are_refused(bad):
    space = Space(x=Float(0.0, 1.0), n=Int(1, 8, prior=Normal(3.0, 1.0)))
    for column, label in ((0, 'Float("x")'), (1, 'Int("n")')):
        u = [0.5, 0.5]
        u[column] = bad
        for verb in (
            lambda u=u: space.decode(u), lambda u=u: space.canonical([u]), lambda u=u: space.canonical([u] * 20),
            lambda u=u: space.from_uniform([u]), lambda u=u: space.from_uniform([u] * 20),
        ):  # fmt: skip
            with pytest.raises(SpaceError) as caught:
                verb()
            assert label in str(caught.value) and "must lie in [0, 1]" in str(caught.value)


def test_wrong_shapes_are_refused_and_inputs_left_alone():
    for verb in (
        lambda: SMALL.decode([0.5]),
        lambda: SMALL.canonical([0.5] * 3),
        lambda: SMALL.from_uniform(np.zeros((2, 2))),
    ):
        with pytest.raises(SpaceError, match="must have the shape"):
            verb()
    with pytest.raises(SpaceError, match="array of numbers"):
        SMALL.decode(["a", "b", "c"])
    with pytest.raises(SpaceError, match="one length"):
        SMALL.encode_many({"x": [0.1], "n": [1, 2], "s": [0.0]})
    with pytest.raises(SpaceError, match="one value a row"):
        SMALL.encode_many({"x": np.float64(0.1)})
    with pytest.raises(SpaceError, match="name must be one of"):
        SMALL.code("y", 1)
    for m in (1, 30):
        W = np.full((m, 3), 0.3)
        W.setflags(write=False)
        SMALL.canonical(W), Space(a=PRIORS["int"], b=PRIORS["log"], c=PRIORS["step"]).from_uniform(W)


@pytest.mark.parametrize(
    "obj",
    [
        {}, [], None, {"format": 1}, {"format": 2, "parameters": []}, {"format": 1, "parameters": []},
        {"format": 1, "parameters": [{"name": "x", "kind": "graph"}]},
        {"format": 1, "parameters": [{"name": "x", "kind": "float", "low": 0.0}]},
        {"format": 1, "parameters": [{"name": "x", "kind": "float", "low": 1.0, "high": 0.0}]},
        {"format": 1, "parameters": [{"name": "x", "kind": "constant", "value": 0}] * 2},
    ],
)  # fmt: skip
def test_documents_that_are_no_space_are_refused(obj):
    with pytest.raises(SpaceError):
        Space.from_json(obj)


def test_between_needs_an_order_of_its_ends():
    with pytest.raises(SpaceError, match="low <= high"):
        Between(3, 2)
    with pytest.raises(SpaceError, match="must be JSON"):
        Between(0.0, math.inf)


def test_importing_the_space_imports_numpy_and_nothing_heavy():
    code = (
        "import numpy, sys; before = set(sys.modules); import hpo_fast.space; "
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    out = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"statistics", "fractions", "decimal", "pandas", "sqlite3"} & set(out)
