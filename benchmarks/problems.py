"""The problems: name -> Problem, twelve public test functions, six smooth and exact, three noisy, three mixed.

The default design of our Bayesian optimization begins with the centre of the space. No optimum lies there: a domain
that is symmetric about its optimum in the literature is shifted, another amount in each coordinate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hpo_fast_bench import functions as fn

from hpo_fast import Categorical, Float, Int, Space
from hpo_fast.space import Parameter

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to minimise whose answer is known.

    Attributes:
        name: what results call it.
        kind: "continuous", "noisy" or "mixed".
        space: where it lives.
        f: params -> the value without noise.
        noise: standard deviation of the normal noise on what a method is told.
        optimum: the least value of f.
        best: params where f has it.
        source: where the function, its constants and its optimum come from.
    """

    name: str
    kind: str
    space: Space
    f: Callable[[Params], float]
    noise: float
    optimum: float
    best: dict[str, Any]
    source: str


def vector(params: Params) -> fn.Vector:
    """The values in order of declaration."""
    return np.array(list(params.values()), dtype=np.float64)


def named(x: Any) -> dict[str, float]:
    return {f"x{j}": float(value) for j, value in enumerate(x)}


def on_vector(f: Callable[[fn.Vector], float]) -> Callable[[Params], float]:
    return lambda params: f(vector(params))


def _box(*ranges: tuple[float, float]) -> Space:
    return Space({f"x{j}": Float(low, high) for j, (low, high) in enumerate(ranges)})


def _place(j: int) -> float:
    """The code of the optimum in coordinate j of a shifted domain: 0.2 to 0.35 off the centre, on either side."""
    fraction = (j + 1) * 0.6180339887498949 % 1.0
    return 0.5 + (0.2 + 0.15 * fraction) * (1 if j % 3 else -1)


def shifted(optimum: float, width: float, d: int) -> Space:
    lows = [optimum - width * _place(j) for j in range(d)]
    return _box(*((low, low + width) for low in lows))


LIBRARY = "Surjanovic and Bingham, Virtual Library of Simulation Experiments"
_CAMEL_BEST = (0.08984201368301331, -0.7126564032704135)
_H3_BEST = (0.11458888, 0.55564882, 0.85254696)
_H6_BEST = (0.20168951, 0.15001069, 0.47687398, 0.27533243, 0.31165162, 0.65730053)
_BRANIN_BEST = (np.pi, 2.275)

# Exponents of the optimum of the ellipsoid in a logarithmic domain, off the centre (-3) on either side.
_PEAKS = -6.0 + 6.0 * np.array([_place(j) for j in range(12)])


def _log_ellipsoid(params: Params) -> float:
    return fn.ellipsoid(np.log10(vector(params)) - _PEAKS)


def _func2c(params: Params) -> float:
    x = np.array([params["x0"], params["x1"]])
    terms = {"rosenbrock": fn.rosenbrock(x) / 300, "camel": fn.camel(x) / 10, "beale": fn.beale(x) / 50}
    return terms[params["first"]] + terms[params["second"].rstrip("123")]


# Where each choice and each whole number lies on its axis of Ackley's function; 0 is the optimum.
_CHOICES = {"red": 2.0, "green": 1.0, "blue": 0.0, "grey": 3.0}
_WHOLE = (7, 2, 6, 1)


def _mixed_ackley(params: Params) -> float:
    x = [params[f"x{j}"] for j in range(4)]
    x += [params[f"i{j}"] - _WHOLE[j] for j in range(4)]
    x += [np.log2(params[f"u{j}"] / 96) for j in range(2)]
    x += [_CHOICES[params[f"c{j}"]] for j in range(2)]
    return fn.ackley(np.array(x))


def _mixed_ackley_space() -> Space:
    floats: dict[str, Parameter] = {f"x{j}": Float(-8.0 * _place(j), 8.0 - 8.0 * _place(j)) for j in range(4)}
    whole: dict[str, Parameter] = {f"i{j}": Int(0, 9) for j in range(4)}
    units: dict[str, Parameter] = {f"u{j}": Int(4, 512, log=True) for j in range(2)}
    colours: dict[str, Parameter] = {f"c{j}": Categorical(list(_CHOICES)) for j in range(2)}
    return Space({**floats, **whole, **units, **colours})


def _switch(params: Params) -> float:
    """Three functions, each above its own minimum in units of about its spread; Hartmann's has no handicap."""
    model, x = params["model"], np.array([v for name, v in params.items() if name != "model"])
    if model == "branin":
        return 0.05 + (fn.branin(x) - fn.BRANIN_MIN) / 50
    if model == "camel":
        return 0.1 + (fn.camel(x) - fn.CAMEL_MIN) / 1.5
    return fn.hartmann3(x) - fn.HARTMANN3_MIN


def _switch_space() -> Space:
    return Space(
        model=Categorical(["branin", "camel", "hartmann3"]),
        b0=Float(-5.0, 10.0).when(model="branin"),
        b1=Float(0.0, 15.0).when(model="branin"),
        s0=Float(-2.0, 2.0).when(model="camel"),
        s1=Float(-1.0, 1.0).when(model="camel"),
        h0=Float(0.0, 1.0).when(model="hartmann3"),
        h1=Float(0.0, 1.0).when(model="hartmann3"),
        h2=Float(0.0, 1.0).when(model="hartmann3"),
    )


def _all() -> list[Problem]:
    exact, unit = "continuous", (0.0, 1.0)
    at: dict[str, Any] = {f"x{j}": 0.0 for j in range(4)} | {f"i{j}": v for j, v in enumerate(_WHOLE)}
    at |= {"u0": 96, "u1": 96, "c0": "blue", "c1": "blue"}
    func2c = Space(
        first=Categorical(["rosenbrock", "camel", "beale"]),
        second=Categorical(["rosenbrock", "camel", "beale1", "beale2", "beale3"]),
        x0=Float(-1.0, 1.0),
        x1=Float(-1.0, 1.0),
    )
    camels: dict[str, Any] = {"first": "camel", "second": "camel", **named(_CAMEL_BEST)}
    logs = Space({f"x{j}": Float(1e-6, 1.0, log=True) for j in range(12)})
    narrow = LIBRARY + "; the domain is its usual narrow one, [-2, 2] x [-1, 1]"
    return [
        Problem(
            "branin2", exact, _box((-5.0, 10.0), (0.0, 15.0)), on_vector(fn.branin), 0.0, fn.BRANIN_MIN,
            named(_BRANIN_BEST), LIBRARY,
        ),
        Problem(
            "hartmann3", exact, _box(*[unit] * 3), on_vector(fn.hartmann3), 0.0, fn.HARTMANN3_MIN,
            named(_H3_BEST), LIBRARY,
        ),
        Problem(
            "hartmann6", exact, _box(*[unit] * 6), on_vector(fn.hartmann6), 0.0, fn.HARTMANN6_MIN,
            named(_H6_BEST), LIBRARY,
        ),
        Problem(
            "rosenbrock4", exact, _box(*[(-5.0, 10.0)] * 4), on_vector(fn.rosenbrock), 0.0, 0.0,
            named([1.0] * 4), LIBRARY,
        ),
        Problem(
            "ackley10", exact, shifted(0.0, 20.0, 10), on_vector(fn.ackley), 0.0, 0.0,
            named([0.0] * 10), LIBRARY + "; shifted domain of width 20",
        ),
        Problem(
            "levy20", exact, shifted(1.0, 20.0, 20), on_vector(fn.levy), 0.0, 0.0,
            named([1.0] * 20), LIBRARY + "; shifted domain",
        ),
        Problem(
            "camel2_noisy", "noisy", _box((-2.0, 2.0), (-1.0, 1.0)), on_vector(fn.camel), 0.1, fn.CAMEL_MIN,
            named(_CAMEL_BEST), narrow,
        ),
        Problem(
            "rastrigin5_noisy", "noisy", shifted(0.0, 10.24, 5), on_vector(fn.rastrigin), 2.0, 0.0,
            named([0.0] * 5), LIBRARY + "; shifted domain",
        ),
        Problem(
            "ellipsoid12_noisy", "noisy", logs, _log_ellipsoid, 10.0, 0.0,
            named(10.0**_PEAKS), "axis-parallel ellipsoid of condition 100 in the logarithms",
        ),
        Problem(
            "func2c", "mixed", func2c, _func2c, 0.0, 2 * fn.CAMEL_MIN / 10,
            camels, "Ru et al. 2020, arXiv 1906.08878, Func2C",
        ),
        Problem(
            "ackley12_mixed", "mixed", _mixed_ackley_space(), _mixed_ackley, 0.0, 0.0,
            at, LIBRARY + "; four axes continuous, four whole, two logarithmic whole, two of choices",
        ),
        Problem(
            "switch8_conditional", "mixed", _switch_space(), _switch, 0.0, 0.0,
            {"model": "hartmann3", "h0": _H3_BEST[0], "h1": _H3_BEST[1], "h2": _H3_BEST[2]},
            LIBRARY + "; a composite of our own: a choice among Branin, camel and Hartmann3, each with its parameters",
        ),
    ]  # fmt: skip


PROBLEMS: dict[str, Problem] = {problem.name: problem for problem in _all()}
