"""Six functions of any dimension, each in a domain shifted off its optimum, with noise where it is asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hpo_fast_bench import functions as fn
from hpo_fast_bench.problems import LIBRARY, PROBLEMS, Problem, named, on_vector, shifted

# name -> the function, each coordinate of its optimum, its minimum, the usual width of its domain
FUNCTIONS: dict[str, tuple[Callable[[fn.Vector], float], float, float, float]] = {
    "rosenbrock": (fn.rosenbrock, 1.0, 0.0, 15.0),
    "ackley": (fn.ackley, 0.0, 0.0, 20.0),
    "levy": (fn.levy, 1.0, 0.0, 20.0),
    "rastrigin": (fn.rastrigin, 0.0, 0.0, 10.24),
    "styblinski": (fn.styblinski, fn.STYBLINSKI_BEST, fn.STYBLINSKI_MIN, 10.0),
    "ellipsoid": (fn.ellipsoid, 0.0, 0.0, 10.0),
}
SAMPLE = 1024  # points of which the spread of a function is taken


def scalable(name: str, d: int, noise: float = 0.0) -> Problem:
    """A problem of d parameters.

    Args:
        name: of FUNCTIONS.
        d: parameters.
        noise: standard deviation, as a fraction of that of the function over its domain.
    """
    f, optimum, least, width = FUNCTIONS[name]
    space, on_params = shifted(optimum, width, d), on_vector(f)
    spread = 0.0
    if noise:
        points = space.from_uniform(np.random.default_rng(d).random((SAMPLE, d)))
        spread = float(np.std([on_params(space.decode(u)) for u in points]))
    label = f"{name}{d}" + ("_noisy" if noise else "")
    best = named([optimum] * d)
    kind = "noisy" if noise else "continuous"
    return Problem(label, kind, space, on_params, noise * spread, least, best, f"{LIBRARY}; shifted domain")


NOISE = 0.05
LARGE: dict[str, Problem] = {
    problem.name: problem
    for d in (10, 20)
    for problem in (scalable(name, d, NOISE) for name in ("ellipsoid", "ackley", "levy", "rastrigin"))
}
# Everything that a run may be asked for; the twelve come first, for their places are the seeds of their noise.
TASKS: dict[str, Problem] = {**PROBLEMS, **LARGE}
