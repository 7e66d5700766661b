"""Bayesian optimization must find good points in few trials: far better than random search at the same budget."""

import numpy as np
import pytest

from hpo_fast.space import Categorical, Float, Int, Space
from hpo_fast.strategies.bayesian import BayesianOptimization
from hpo_fast.strategies.random import RandomSearch
from hpo_fast.testing import Driver

pytestmark = pytest.mark.slow
SEEDS = range(5)


def branin(p, rng):
    x, y = p["x"], p["y"]
    bowl = y - 5.1 * x**2 / (4 * np.pi**2) + 5 * x / np.pi - 6
    return bowl**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10


# Dixon and Szego 1978: weights, exponents and centres of Hartmann's function in six dimensions.
WEIGHT = np.array([1.0, 1.2, 3.0, 3.2])
EXPONENT = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
CENTRE = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(p, rng):
    x = np.array([p[f"x{i}"] for i in range(6)])
    return -WEIGHT @ np.exp(-np.sum(EXPONENT * (x - CENTRE) ** 2, axis=1))


def mixed(p, rng):
    """A learning rate and a width with an optimum of their own for each optimizer; 0 at best."""
    best = {"sgd": (-1.0, 64, 0.0), "adam": (-3.0, 128, 0.3), "none": (-2.0, 16, 1.0)}[p["optimizer"]]
    momentum = 0.5 * (p["momentum"] - 0.9) ** 2 if "momentum" in p else 0.0
    return best[2] + (np.log10(p["lr"]) - best[0]) ** 2 + 0.2 * np.log2(p["width"] / best[1]) ** 2 + momentum


def noisy(p, rng):
    return branin(p, rng) + 2.0 * rng.standard_normal()


PLANE = Space(x=Float(-5.0, 10.0), y=Float(0.0, 15.0))
PROBLEMS = {
    "branin": (PLANE, branin, branin, 0.397887, 40),
    "hartmann": (Space({f"x{i}": Float(0.0, 1.0) for i in range(6)}), hartmann, hartmann, -3.32237, 60),
    "mixed": (
        Space(
            optimizer=Categorical(["none", "adam", "sgd"]),
            lr=Float(1e-5, 1.0, log=True),
            width=Int(4, 512, log=True),
            momentum=Float(0.0, 1.0).when(optimizer="sgd"),
        ),
        mixed,
        mixed,
        0.0,
        50,
    ),
    "noisy branin": (PLANE, noisy, branin, 0.397887, 60),
}


def regret(strategy, problem, seed):
    """How far the best noise-free value found stays above the optimum."""
    space, objective, truth, optimum, budget = PROBLEMS[problem]
    rng = np.random.default_rng(seed)
    driver = Driver(strategy, space, seed=seed)
    driver.value = lambda u: np.array([objective(space.decode(u), rng)])
    driver.run(budget)
    return min(truth(space.decode(u), rng) for u in driver.points()) - optimum


def normalised(make, problem):
    """Regret over the median regret of random search at the same budget (20 seeds): 0 is perfect, 1 is random."""
    unit = np.median([regret(RandomSearch(), problem, 100 + seed) for seed in range(20)])
    return [regret(make(), problem, seed) / unit for seed in SEEDS]


# The medians measured are 1e-5 (branin), 1e-4 (hartmann) and 0.05 to 0.13 (noisy branin); the limits leave room for
# another machine's rounding, which changes every trial after the first few.
@pytest.mark.parametrize(
    "problem, limit",
    [("branin", 0.01), ("hartmann", 0.1), ("mixed", 0.1), ("noisy branin", 0.5)],
)
@pytest.mark.parametrize("acquisition", ["log_ei", "ucb"])
def test_far_better_than_random_search(problem, limit, acquisition):
    found = normalised(lambda: BayesianOptimization(acquisition), problem)
    assert np.median(found) <= limit, found


# The probability of improvement by a margin is content with less: 0.04, 0.009 and 0.04 of log EI's unit were measured.
def test_probability_of_improvement_gets_away_from_its_best_point():
    found = normalised(lambda: BayesianOptimization("pi", deterministic=True), "branin")
    assert np.median(found) <= 0.1, found


def test_the_reference_converges_as_well():
    found = normalised(lambda: BayesianOptimization(backend="reference"), "branin")
    assert np.median(found) <= 0.01, found
