from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy.stats import qmc

import hpo_fast as hpo
from hpo_fast.errors import StrategyError
from hpo_fast.strategies import QuasiRandomSearch
from hpo_fast.testing import Driver

CUBE = hpo.Space({f"x{j}": hpo.Float(0.0, 1.0) for j in range(3)})
KINDS = ["sobol", "halton", "lhs"]


def ask(strategy, numbers, space=CUBE, seed=1):
    driver = Driver(strategy, space, seed)
    return np.array([proposal.u for proposal in strategy.ask(numbers, driver.pending())])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scrambled", [True, False])
def test_a_point_is_a_function_of_seed_and_number(kind, scrambled):
    whole = ask(QuasiRandomSearch(kind, scrambled), range(200))
    order = np.random.default_rng(0).permutation(200)  # jumps forwards and backwards over several blocks
    assert np.array_equal(ask(QuasiRandomSearch(kind, scrambled), order), whole[order])
    assert np.array_equal(ask(QuasiRandomSearch(kind, scrambled), [150]), whole[150:151])
    assert len(np.unique(whole, axis=0)) == 200 or (kind == "lhs" and not scrambled)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_scrambles(kind):
    assert not np.array_equal(ask(QuasiRandomSearch(kind), range(9)), ask(QuasiRandomSearch(kind), range(9), seed=2))


@pytest.mark.parametrize("kind", ["sobol", "halton"])
def test_without_scrambling_the_sequence_is_the_textbook_one(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # SciPy: 100 is no power of two
        engine = {"sobol": qmc.Sobol, "halton": qmc.Halton}[kind](3, scramble=False)
        # 1e-12: what a space may move a continuous code
        U = ask(QuasiRandomSearch(kind, False), range(100))
        np.testing.assert_allclose(U, engine.random(100), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_points_fill_the_cube_better_than_random_ones(kind):
    U = ask(QuasiRandomSearch(kind, block=128 if kind == "lhs" else None), range(128))
    random = [qmc.discrepancy(np.random.default_rng(i).random((128, 3))) for i in range(20)]
    assert qmc.discrepancy(U) < np.min(random)


def test_each_block_is_a_latin_hypercube_of_its_own():
    U = ask(QuasiRandomSearch("lhs", block=10), range(40))
    for block in U.reshape(4, 10, 3):
        assert np.array_equal(np.sort(np.floor(block * 10), axis=0), np.arange(10)[:, None] * np.ones(3))
    assert not np.array_equal(np.floor(U[:10] * 10), np.floor(U[10:20] * 10))
    centred = ask(QuasiRandomSearch("lhs", scrambled=False, block=4), range(4))
    np.testing.assert_allclose(np.sort(centred[:, 0]), [0.125, 0.375, 0.625, 0.875], atol=1e-12)


def test_one_float_fills_evenly_with_sobol():
    u = ask(QuasiRandomSearch(), range(64), hpo.Space(x=hpo.Float(0.0, 1.0)))[:, 0]
    assert np.array_equal(np.sort(np.floor(u * 64)), np.arange(64))  # a (0, 6, 1)-net: one point in each 64th


def test_priors_shape_the_points():
    space = hpo.Space(w=hpo.Float(-8.0, 8.0, prior=hpo.Normal(1.0, 0.5)))
    w = [space.decode(u)["w"] for u in ask(QuasiRandomSearch(), range(256), space)]
    assert abs(np.mean(w) - 1.0) < 0.01 and abs(np.std(w) - 0.5) < 0.01


def test_no_warning_and_no_import_of_scipy_stats_before_start(tmp_path):
    code = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "from hpo_fast.space import Float, Space; from hpo_fast.strategies import QuasiRandomSearch\n"
        "from hpo_fast.testing import Driver\n"
        "s = QuasiRandomSearch(); assert 'scipy.stats' not in sys.modules\n"
        "d = Driver(s, Space(x=Float(0.0, 1.0)))\n"
        "[d.run(1) for _ in range(100)]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"kind": "hammersley"}, "kind"),
        ({"kind": "sobol", "block": 10}, "block"),
        ({"kind": "lhs", "block": 0}, "block"),
        ({"kind": "lhs", "block": 2.0}, "block"),
        ({"kind": "lhs", "block": True}, "block"),
    ],
)
def test_wrong_arguments_are_named(arguments, what):
    with pytest.raises(StrategyError, match=what):
        QuasiRandomSearch(**arguments)


def test_too_many_parameters_for_sobol():
    space = hpo.Space({f"x{j}": hpo.Float(0.0, 1.0) for j in range(qmc.Sobol.MAXDIM + 1)})
    with pytest.raises(StrategyError, match="halton"):
        QuasiRandomSearch().start(space, 1, 0, 0)
