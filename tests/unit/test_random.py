from __future__ import annotations

import numpy as np
import pytest

import hpo_fast as hpo
from hpo_fast.backends import uniforms
from hpo_fast.strategies import RandomSearch
from hpo_fast.strategies.base import parameter_streams
from hpo_fast.testing import Driver

SPACE = hpo.Space(
    x=hpo.Float(-1.0, 1.0),
    lr=hpo.Float(1e-6, 1.0, log=True),
    n=hpo.Int(0, 9),
    kind=hpo.Categorical(["a", "b", "c", "d"]),
    weight=hpo.Float(-8.0, 8.0, prior=hpo.Normal(1.0, 0.5)),
)


def ask(space, seed, numbers):
    strategy = RandomSearch()
    driver = Driver(strategy, space, seed)
    return np.array([proposal.u for proposal in strategy.ask(numbers, driver.pending())])


def test_trial_i_is_the_same_in_any_order_and_batch():
    whole = ask(SPACE, 5, range(50))
    shuffled = np.random.default_rng(0).permutation(50)
    assert np.array_equal(ask(SPACE, 5, shuffled), whole[shuffled])
    assert np.array_equal(ask(SPACE, 5, [17]), whole[17:18])
    assert np.array_equal(
        np.concatenate([ask(SPACE, 5, range(i, 50, 8)) for i in range(8)]),
        np.concatenate([whole[i::8] for i in range(8)]),
    )


@pytest.mark.parametrize("width", [1, 40, 5000])
def test_a_draw_is_that_of_its_seed_and_number_alone(width):
    """Numbers are drawn ahead in blocks; nothing of that may show."""
    space = hpo.Space({**{f"p{j}": hpo.Float(1e-3, 9.0, log=True) for j in range(width)}, "n": hpo.Int(0, 7)})
    strategy = RandomSearch()
    driver = Driver(strategy, space, 5)
    streams = parameter_streams(space.names, "random")
    for number in (0, 1, 255, 256, 257, 3, 10**12, 254):
        (proposal,) = strategy.ask([number], driver.pending())
        assert np.array_equal(proposal.u, space.from_uniform(uniforms(5, [number], streams))[0])
        with pytest.raises(ValueError, match="read-only"):
            proposal.u[0] = 0.5


def test_the_history_does_not_matter():
    told, fresh = Driver(RandomSearch(), SPACE), Driver(RandomSearch(), SPACE)
    told.run(5)
    fresh.next_number = 5
    assert np.array_equal(told.propose()[0].u, fresh.propose()[0].u)


def test_a_parameter_keeps_its_draws_when_others_come_go_or_move():
    more = hpo.Space({"extra": hpo.Float(0.0, 1.0), **{name: SPACE[name] for name in reversed(SPACE.names)}})
    one, other = ask(SPACE, 3, range(20)), ask(more, 3, range(20))
    for j, name in enumerate(SPACE.names):
        assert np.array_equal(one[:, j], other[:, more.names.index(name)])
    renamed = ask(hpo.Space(y=SPACE["x"]), 3, range(20))
    assert not np.array_equal(one[:, 0], renamed[:, 0])


def test_draws_follow_the_priors():
    # 20,000 draws with a fixed seed; 4.5 standard deviations of each estimate would fail once in 10**5 seeds.
    m = 20_000
    U = ask(SPACE, 11, range(m))
    decoded = [SPACE.decode(u) for u in U]
    x = np.array([params["x"] for params in decoded])
    assert abs(x.mean()) < 4.5 * np.sqrt(1 / 3 / m)
    lg = np.log10([params["lr"] for params in decoded])
    assert abs(lg.mean() + 3.0) < 4.5 * np.sqrt(36 / 12 / m)
    weight = np.array([params["weight"] for params in decoded])
    assert abs(weight.mean() - 1.0) < 4.5 * 0.5 / np.sqrt(m)
    assert abs(weight.std() - 0.5) < 4.5 * 0.5 / np.sqrt(2 * m)
    for name, size in (("n", 10), ("kind", 4)):
        counts = np.unique([str(params[name]) for params in decoded], return_counts=True)[1]
        assert len(counts) == size
        assert np.abs(counts - m / size).max() < 4.5 * np.sqrt(m / size)


def test_the_draws_of_two_parameters_and_two_trials_are_independent():
    U = ask(hpo.Space(a=hpo.Float(0.0, 1.0), b=hpo.Float(0.0, 1.0)), 2, range(20_000))
    limit = 4.5 / np.sqrt(len(U))
    assert abs(np.corrcoef(U.T)[0, 1]) < limit
    assert abs(np.corrcoef(U[1:, 0], U[:-1, 0])[0, 1]) < limit


@pytest.mark.parametrize("seed", [0, 1, 2**62, 2**63 - 1])
def test_any_seed_works(seed):
    assert not np.array_equal(ask(SPACE, seed, [0]), ask(SPACE, seed ^ 4, [0]))
