import numpy as np
import pytest

from hpo_fast import BayesianOptimization, Float, Space, Study
from hpo_fast.backends import gaussian_process
from hpo_fast.strategies import _refits as refits
from hpo_fast.strategies._decided import Decided


def begun(n, to_all, until):
    """Numbers told at the refits after one to all n, where each trial is told by itself."""
    fitted, found = to_all, []
    for told in range(n, until):
        if refits.is_due(told, fitted, to_all):
            fitted = told
            found.append(told)
            to_all = told if told < refits.NEAR_FROM else to_all
    return found


def test_refits_after_a_bulk():
    assert begun(4500, 4500, 6000) == [4570, 4640, 4780, 5060, 5566]  # at last a tenth more each time
    assert begun(1000, 1000, 1200) == [1032, 1064, 1128]
    assert begun(10**6, 10**6, 10**6 + 2000) == [10**6 + k for k in (128, 256, 512, 1024)]


def test_refits_of_a_study_that_grows():
    found = begun(1, 0, 3000)
    assert found[:64] == list(range(1, 65)) and found[64:67] == [71, 79, 87]
    assert np.all(np.diff(found[64:]) <= 0.1 * np.array(found[64:-1]) + 1)
    assert 30 <= sum(n > 64 for n in found) <= 45
    assert not refits.is_due(50, 50, 50) and not refits.is_due(40, 50, 50)


def test_a_bulk_is_half_as_many():
    assert refits.is_bulk(1501, 1000) and not refits.is_bulk(1500, 1000) and not refits.is_bulk(64, 3)


@pytest.mark.parametrize(
    ("n", "blocks", "count"), [(1000, 1, 128), (1000, 10, 160), (10**6, 20, 320), (5000, 200, 512), (160, 10, 0)]
)
def test_nearest(n, blocks, count):
    assert refits.nearest(n, blocks) == count


def test_shares():
    assert [refits.shares(n, False) for n in (1000, 4500, 8192, 10**6)] == [7, 35, 64, 64]
    assert [refits.shares(n, True) for n in (1000, 4095, 4096, 10_000, 30_000)] == [7, 31, 64, 156, 468]


@pytest.mark.parametrize("nearest", [refits.LEAST_NEAREST, refits.MOST_NEAREST])
def test_a_share_of_a_large_exact_refit_is_less_work_than_half_a_panel(nearest):
    """So it waits where one falls into the same ask: half of 64 rows, with 2 n^2 operations each."""
    handle = gaussian_process(Space(**{f"x{i}": Float(0, 1) for i in range(20)}).layout)
    for n in [*range(refits.HALVES_FROM, 10_000, 7), 30_000]:
        assert handle.refit_work(n, nearest) / refits.shares(n, True) < 64 * n**2


@pytest.mark.parametrize(("surrogate", "count"), [("exact", 8), ("auto", 3), ("vecchia", 3)])
def test_the_shares_of_the_exact_model_grow_with_its_work(monkeypatch, surrogate, count):
    spread = {"SPREAD_OVER": 5, "MOST_SHARES": 3, "SPREAD_EXACT": 3, "HALVES_FROM": 24}
    for name, value in {"REFIT_ALWAYS": 12, "NEAR_FROM": 24, **spread}.items():
        monkeypatch.setattr(refits, name, value)
    study = Study(Space(x=Float(0, 1)), BayesianOptimization(surrogate=surrogate), seed=1)
    study.optimize(lambda t: (t["x"] - 0.3) ** 2, 36)
    notes = [record.note for record in study.trials]
    first = next(i for i, note in enumerate(notes) if "refit" in note)
    assert notes[first]["refit"] == {"n": first} and (first // 5, first // 3) == (5, 8)
    assert next(i for i, note in enumerate(notes) if "fit" in note and i > first) == first + count


def test_a_fit_of_another_space_counts_for_nothing():
    decided = Decided(np.zeros(4), 2, False)
    fit = {"n": 10, "theta": [0.0] * 5}
    assert decided.after([5], [{"kind": "model", "fit": fit}]) == decided
    known = decided.after([5], [{"kind": "model", "fit": {"n": 10, "theta": [0.0] * 4}}])
    assert (known.fit_n, known.to_all_n) == (10, 10)
    near = known.after([9], [{"kind": "model", "fit": {"n": 14, "theta": [1.0] * 4, "nearest": 5}}])
    assert (near.fit_n, near.to_all_n) == (14, 10)


def bowl(x, y):
    """A narrow bowl in a wide one."""
    r2 = (x - 0.3) ** 2 + (y - 0.6) ** 2
    return r2 - np.exp(-r2 / 0.002)


def test_after_a_bulk_theta_is_that_of_the_place_of_the_search():
    space = Space(x=Float(0, 1), y=Float(0, 1))
    U = np.random.default_rng(3).random((1200, 2))
    study = Study(space, BayesianOptimization(n_threads=1), seed=0)
    study.add_trials({"x": U[:, 0], "y": U[:, 1]}, bowl(U[:, 0], U[:, 1]))
    study.optimize(lambda t: bowl(t["x"], t["y"]), 45)
    records = list(study.trials)
    first, *asked = records[1200:]
    assert first.note["fit"]["n"] == 1200 and "nearest" not in first.note["fit"]
    fits = [(i, record.note["fit"]) for i, record in enumerate(asked, 1) if "fit" in record.note]
    assert [(i, fit["n"], fit["nearest"]) for i, fit in fits] == [(32 + 1232 // 128, 1232, 128)]
    handle = gaussian_process(space.layout, n_threads=1)
    handle.append(np.array([r.u for r in records[:1232]]), np.array([[r.value] for r in records[:1232]]))
    handle.set_theta(np.array([first.note["fit"]["theta"]]))
    handle.begin_refit(1232, 128)
    theta = handle.finish_refit().theta[0]
    assert np.array_equal(theta, fits[0][1]["theta"])
    assert np.all(theta[:2] < np.array(first.note["fit"]["theta"])[:2] - 0.3)
    assert min(r.value for r in asked) < min(r.value for r in records[:1200])
