import json

import numpy as np
import pytest

from hpo_fast.backends import gaussian_process
from hpo_fast.errors import NumericalError, StrategyError
from hpo_fast.gaussian_process import GaussianProcess
from hpo_fast.space import Categorical, Float, Int, Space
from hpo_fast.strategies._initial import InitialDesign, few_points
from hpo_fast.strategies.base import Observations
from hpo_fast.strategies.bayesian import UCB, BayesianOptimization
from hpo_fast.study import Study
from hpo_fast.testing import Driver, StrategyContract
from hpo_fast.trial import TrialState

FLOATS = Space(x=Float(0.0, 1.0), y=Float(-1.0, 2.0))
MIXED = Space(
    x=Float(0.0, 1.0),
    units=Int(1, 100, log=True),
    kind=Categorical(["a", "b", "c"]),
    rate=Float(0.0, 1.0).when(kind="a"),
)
FINITE = Space(
    n=Int(1, 4), kind=Categorical(["a", "b", "c"]), flag=Categorical([False, True]).when(kind="a")
)  # 16 points


class TestContract(StrategyContract):
    several_objectives = False
    constraints = False

    def make(self):
        return BayesianOptimization()


class TestContractOfTheDeterministicKind(TestContract):
    def make(self):
        return BayesianOptimization(UCB(2.0), "rbf", deterministic=True, n_initial=3)


def notes(driver):
    return {number: note for number, _, _, _, note in driver.told} | {
        n: note for n, (_, note) in driver.waiting.items()
    }


def test_what_it_cannot_do_is_said_at_the_start():
    for n_outputs in ((2, 0), (1, 1)):
        with pytest.raises(StrategyError, match="one objective without constraints only"):
            BayesianOptimization().start(FLOATS, *n_outputs, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"acquisition": "thompson"},
        {"acquisition": {"beta": 1.0}},
        {"kernel": "cubic"},
        {"backend": "gpu"},
        {"n_initial": 0},
        {"n_initial": 2.5},
        {"n_threads": True},
        {"surrogate": "sparse"},
        {"surrogate": None},
        {"memory_limit": 0},
        {"memory_limit": 1e9},
        {"memory_limit": 10**9, "surrogate": "exact"},
        {"memory_limit": 10**9, "surrogate": "vecchia"},
    ],
)
def test_bad_arguments_are_named(arguments):
    with pytest.raises(StrategyError, match=f"BayesianOptimization: {next(iter(arguments))} must be"):
        BayesianOptimization(**arguments)


@pytest.mark.parametrize(
    "arguments", [{"surrogate": "exact"}, {"surrogate": "vecchia"}, {"memory_limit": np.int64(10**9)}, {}]
)
def test_config_keeps_the_surrogate(arguments):
    config = BayesianOptimization(**arguments).config()
    expected = {"surrogate": "auto", "memory_limit": None} | arguments
    assert {key: config[key] for key in expected} == expected
    assert BayesianOptimization(**json.loads(json.dumps(config))).config() == config


@pytest.mark.parametrize("beta", [-1.0, float("nan"), float("inf"), "1", True])
def test_bad_beta_is_refused(beta):
    with pytest.raises(StrategyError, match="UCB: beta must be"):
        UCB(beta)


def test_ucb_takes_the_numbers_of_numpy() -> None:
    for number in (np.int64(2), np.float32(2)):
        assert UCB(number) == UCB(2.0) and type(UCB(number).beta) in (int, float)


@pytest.mark.parametrize("acquisition", ["log_ei", "ei", "log_pi", "pi", "ucb", UCB(beta=3.0)])
def test_config_builds_it_again(acquisition):
    strategy = BayesianOptimization(
        acquisition, "matern32", deterministic=True, n_initial=4, n_threads=1, backend="cpu"
    )
    again = BayesianOptimization(**json.loads(json.dumps(strategy.config())))
    assert again.config() == strategy.config()
    one, other = Driver(strategy, FLOATS), Driver(again, FLOATS)
    one.run(8)
    other.run(8)
    assert np.array_equal(one.points(), other.points())


def test_acquisitions_are_real_choices():
    def history(acquisition):
        driver = Driver(BayesianOptimization(acquisition), FLOATS)
        driver.run(12)
        return np.array(driver.points()).tobytes()

    # EI and log EI have one maximum, PI and log PI too: they may ask the same points, the others must not.
    found = [history(a) for a in ("log_ei", "log_pi", "ucb", UCB(0.1))]
    assert len(set(found)) == 4


# -- the initial design ----------------------------------------------------------------------------------------------


def test_the_centre_comes_first_then_a_latin_hypercube():
    driver = Driver(BayesianOptimization(n_initial=8), MIXED)
    driver.run(8)
    centre = MIXED.from_uniform(np.full((1, 4), 0.5))[0]
    np.testing.assert_array_equal(driver.points()[0], centre)
    assert all(note == {"kind": "initial"} for note in notes(driver).values())
    x = np.array(driver.points())[1:, 0]
    assert len(set(np.floor(8 * x))) == 7, "seven points in seven of eight cells"


def test_the_default_number_of_initial_trials():
    for d, expected in ((1, 5), (4, 5), (7, 8), (30, 10)):
        space = Space({f"x{i}": Float(0.0, 1.0) for i in range(d)})
        driver = Driver(BayesianOptimization(), space)
        driver.run(expected + 1)
        kinds = [note["kind"] for note in notes(driver).values()]
        assert kinds == ["initial"] * expected + ["model"]


def test_initial_trials_count_what_the_user_told_and_what_is_pending():
    driver = Driver(BayesianOptimization(n_initial=6), FLOATS)
    driver.add(FLOATS.from_uniform(np.random.default_rng(0).random((3, 2))))
    asked = [driver.ask()[0] for _ in range(4)]
    assert [notes(driver)[n]["kind"] for n in asked] == ["initial"] * 3 + ["model"]


def test_without_a_valid_value_the_space_is_filled():
    driver = Driver(BayesianOptimization(n_initial=2), FLOATS)
    for _ in range(5):
        driver.tell(driver.ask(), TrialState.FAILED)
    driver.run(2)
    assert [notes(driver)[n]["kind"] for n in range(7)] == ["initial"] * 6 + ["model"]


def test_initial_points_respect_priors_and_avoid_what_was_seen():
    design = InitialDesign(FINITE, 5, 4)
    few = few_points(FINITE)
    assert len(few) == 16
    seen = set()
    for number in range(16):
        u = design.point(number, seen, set(), few)
        assert u.tobytes() not in seen
        seen.add(u.tobytes())
    assert seen == set(few)
    never = set(list(few)[1:])
    assert design.point(20, seen, never, few).tobytes() == next(iter(few))


def test_few_points_of_a_logarithmic_integer_and_of_large_spaces():
    space = Space(units=Int(1, 300, log=True), kind=Categorical(["a", "b"]))
    assert set(few_points(space)) == {
        space.encode({"units": n, "kind": k}).tobytes() for n in range(1, 301) for k in "ab"
    }
    assert few_points(FLOATS) is None
    assert few_points(Space(a=Int(1, 100), b=Int(1, 100))) is None


# -- the notes -------------------------------------------------------------------------------------------------------


def test_refits_happen_as_documented():
    driver = Driver(BayesianOptimization(n_initial=5), FLOATS)
    driver.run(90)
    paid = {number: note["fit"]["n"] for number, note in notes(driver).items() if "fit" in note}
    expected, last = {}, 0
    for n in range(5, 90):
        if n <= 64 or n >= 1.1 * last:
            expected[n] = last = n
    assert paid == expected and 71 in paid and 72 not in paid and 79 in paid
    assert all(len(note["fit"]["theta"]) == 4 for note in notes(driver).values() if "fit" in note)


def test_the_note_of_a_refit_holds_its_log_likelihood():
    driver = Driver(BayesianOptimization(n_initial=5), FLOATS)
    driver.run(12)
    fit = notes(driver)[11]["fit"]
    assert fit["n"] == 11
    U = np.array([u for _, u, _, _, _ in driver.told[:11]])
    Y = np.array([y for _, _, y, _, _ in driver.told[:11]])
    judge = gaussian_process(FLOATS.layout, backend="reference")
    judge.append(U, Y)
    (expected,), _ = judge.log_likelihood(np.array([fit["theta"]]))
    np.testing.assert_allclose(fit["log_likelihood"], expected, rtol=1e-6, atol=1e-6)


def test_one_refit_serves_all_asks_until_the_next_tell():
    driver = Driver(BayesianOptimization(n_initial=5), FLOATS)
    driver.run(10)
    asked = driver.ask(2) + driver.ask() + driver.ask(3)
    assert ["fit" in notes(driver)[n] for n in asked] == [True] + [False] * 5


def test_the_note_says_what_was_expected():
    driver = Driver(BayesianOptimization(deterministic=True), FLOATS)
    scale = 1e5
    driver.value = lambda u: np.array([3e6 + scale * np.sum((u - 0.3) ** 2)])
    driver.run(25)
    errors = []
    for _, _, y, _, note in driver.told[10:]:
        assert set(note) - {"fit"} == {"kind", "surrogate", "mean", "sd", "acquisition", "optima"}
        assert 0.0 < note["sd"] < 0.3 * scale
        assert np.isfinite(note["acquisition"])
        errors.append(abs(note["mean"] - y[0]))
    # A smooth bowl of which 10 points are known: most of the time the model is near, in the units of the objective.
    assert np.median(errors) <= 0.02 * scale


def test_optima_are_short_and_speak_json():
    driver = Driver(BayesianOptimization(), MIXED)
    driver.run(20)
    some = [row for note in notes(driver).values() for row in note.get("optima", [])]
    assert all(len(note.get("optima", [])) <= 4 for note in notes(driver).values())
    assert all(x is None or (0.0 <= x <= 1.0 and x == round(x, 6)) for row in some for x in row)
    json.dumps(list(notes(driver).values()), allow_nan=False)
    kinds = {row[2] > 1 / 3: row[3] for row in some}
    assert kinds.get(True) is None, "a column that does not exist is null"


def test_huge_values_leave_the_notes_speaking_json():
    driver = Driver(BayesianOptimization(), FLOATS)
    driver.value = lambda u: np.array([1e300 * np.sum((u - 0.3) ** 2) - 1.7e308 * (u[0] < 0.1)])
    driver.run(15)
    json.dumps(list(notes(driver).values()), allow_nan=False)


# -- the surrogate ---------------------------------------------------------------------------------------------------


def regimes(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "INFO"]


def test_auto_says_when_the_model_changes_and_why(caplog, monkeypatch):
    monkeypatch.setattr("hpo_fast.strategies.bayesian.EXACT_BELOW", 20)
    driver = Driver(BayesianOptimization(n_initial=3), FLOATS)
    with caplog.at_level("INFO", "hpo_fast"):
        driver.run(24)
    assert regimes(caplog) == [
        "BayesianOptimization: exact Gaussian process at 3 observations: fewer than 20 observations",
        "BayesianOptimization: nearest neighbours and inducing points (vecchia) at 20 observations: 20 observations or "
        "more",
    ]
    answered = [note.get("surrogate") for note in notes(driver).values()]
    assert answered == [None] * 3 + ["exact"] * 17 + ["vecchia"] * 4


def test_a_limit_of_memory_decides_when_the_model_changes(caplog):
    # Two triangles of 8 n^2 / 2 bytes each: 3,200 bytes hold those of 20 observations, and not of 21.
    driver = Driver(BayesianOptimization(n_initial=3, memory_limit=3200), FLOATS)
    with caplog.at_level("INFO", "hpo_fast"):
        driver.run(23)
    assert regimes(caplog)[1:] == [
        "BayesianOptimization: nearest neighbours and inducing points (vecchia) at 21 observations: "
        "memory_limit=3,200 bytes holds the factors of fewer than 21 observations"
    ]
    assert [notes(driver)[number]["surrogate"] for number in (20, 21)] == ["exact", "vecchia"]


def test_no_memory_is_enough_for_the_exact_model_of_all_trials():
    assert BayesianOptimization(memory_limit=10**15)._exact_below() == BayesianOptimization()._exact_below() == 5000
    assert BayesianOptimization(memory_limit=8 * 4998**2)._exact_below() == 4999
    assert BayesianOptimization(memory_limit=1)._exact_below() == 1


@pytest.mark.parametrize("surrogate", ["exact", "vecchia"])
def test_a_forced_model_answers_whatever_the_number(surrogate, caplog, monkeypatch):
    monkeypatch.setattr("hpo_fast.strategies.bayesian.EXACT_BELOW", 10)
    driver = Driver(BayesianOptimization(n_initial=3, surrogate=surrogate), FLOATS)
    with caplog.at_level("INFO", "hpo_fast"):
        driver.run(14)
    assert {note.get("surrogate") for number, note in notes(driver).items() if number >= 3} == {surrogate}
    (line,) = regimes(caplog)
    assert line.endswith(f"at 3 observations: surrogate={surrogate!r}")


# -- replay ----------------------------------------------------------------------------------------------------------


def test_the_reference_resumes_as_well():
    whole, half = (Driver(BayesianOptimization(backend="reference", n_initial=3), MIXED) for _ in range(2))
    whole.run(8)
    half.told, half.next_number = list(whole.told[:5]), 5
    half.tell_strategy(half.strategy)
    half.run(3)
    assert np.array_equal(whole.points(), half.points(), equal_nan=True) and notes(whole) == notes(half)


@pytest.mark.parametrize("space", [FLOATS, MIXED])
def test_a_resumed_study_goes_on_bit_for_bit(space):
    whole = Driver(BayesianOptimization(), space)
    whole.run(95)  # refits are spread out from 64 on
    for stop in (3, 20, 66, 75, 90):
        driver = Driver(BayesianOptimization(), space)
        driver.told = list(whole.told[:stop])
        driver.next_number = stop
        driver.tell_strategy(driver.strategy)
        driver.run(5)
        for number in range(stop, stop + 5):
            assert driver.points()[number].tobytes() == whole.points()[number].tobytes()
            assert notes(driver)[number] == notes(whole)[number]


def test_two_processes_on_one_journal_agree():
    driver = Driver(BayesianOptimization(), MIXED, seed=7)
    other = BayesianOptimization()
    other.start(MIXED, 1, 0, 7)
    for step in range(40):
        numbers = driver.ask(1 + step % 3)
        first = len(driver.told)
        driver.tell(numbers[::-1])
        driver.tell_strategy(other, first)
        driver.strategy, other = other, driver.strategy
    again = Driver(BayesianOptimization(), MIXED, seed=7)
    for step in range(40):
        again.tell(again.ask(1 + step % 3)[::-1])
    assert np.array_equal(driver.points(), again.points(), equal_nan=True)


def test_notes_of_another_strategy_are_no_harm():
    driver = Driver(BayesianOptimization(n_initial=2), FLOATS)
    driver.run(4)
    strange = [
        {"fit": {"n": 9, "theta": [0.0]}, "optima": None, "kind": "?"},
        {"fit": True, "optima": [[0.5]]},
        {"kind": "model", "optima": [[0.5]]},
        {"kind": "model", "fit": {"n": 4, "theta": [0.0]}},
    ]
    driver.told = [(n, u, y, s, note) for (n, u, y, s, _), note in zip(driver.told, strange, strict=True)]
    fresh = Driver(BayesianOptimization(n_initial=2), FLOATS)
    fresh.told, fresh.next_number = driver.told, 4
    fresh.tell_strategy(fresh.strategy)
    fresh.run(2)
    # The noise of a strategy that inferred it does not displace the fixed one.
    learned = Driver(BayesianOptimization(), FLOATS)
    learned.run(10)
    fixed = Driver(BayesianOptimization(deterministic=True), FLOATS)
    fixed.told, fixed.next_number = learned.told, 10
    fixed.tell_strategy(fixed.strategy)
    fixed.run(1)
    assert notes(fixed)[10]["fit"]["theta"][-1] == np.log(1e-6)


# -- which points ----------------------------------------------------------------------------------------------------


def test_an_untold_trial_that_paid_for_a_refit_costs_one_factorisation():
    driver = Driver(BayesianOptimization(n_initial=4), FLOATS)
    driver.run(70)  # beyond the refit after every tell
    strategy = driver.strategy
    while "fit" not in driver.waiting.get(driver.next_number - 1, (None, {}))[1]:
        (number,) = driver.ask()
        if "fit" not in driver.waiting[number][1]:
            driver.tell([number])
    counted = Counting(strategy._handle)
    strategy._handle = counted
    for _ in range(5):  # the payer stays pending
        (number,) = driver.ask()
        driver.tell([number])
    assert counted.calls.count("set_theta") <= 1
    assert counted.calls.count("append") == 5


class Counting:
    """A handle that notes which verbs are called."""

    def __init__(self, handle):
        self._handle, self.calls = handle, []

    def __getattr__(self, name):
        self.calls.append(name)
        return getattr(self._handle, name)


@pytest.mark.parametrize("acquisition", ["log_ei", "ei", "log_pi", "pi", "ucb"])
def test_eight_asks_in_a_row_are_eight_sensible_points(acquisition):
    driver = Driver(BayesianOptimization(acquisition), FLOATS)
    driver.run(6)
    asked = np.array([driver.waiting[n][0] for _ in range(8) for n in driver.ask()])
    apart = np.linalg.norm(asked[:, None] - asked[None], axis=2) + np.eye(8)
    assert np.min(apart) > 1e-4
    # The bowl's minimum is at (0.3, 0.3): what is asked is better than the space is on average, which is 1/6 + 0.08.
    assert np.mean(np.sum((asked - 0.3) ** 2, axis=1)) < 0.2


def test_a_failed_point_is_never_asked_again():
    driver = Driver(BayesianOptimization(n_initial=2), FINITE)
    failed = set()
    for step in range(30):
        (number,) = driver.ask()
        u = driver.waiting[number][0]
        assert u.tobytes() not in failed
        # The best corner fails, so that the model is drawn to where it may not ask.
        bad = u[0] < 0.4 and step != 2
        driver.tell([number], TrialState.FAILED if bad else TrialState.DONE)
        if bad:
            failed.add(u.tobytes())
    assert len(failed) >= 2


def test_when_every_point_failed_it_is_done():
    driver = Driver(BayesianOptimization(n_initial=2), FINITE)
    for _ in range(16):
        assert not driver.strategy.done
        driver.tell(driver.ask(), TrialState.FAILED)
    assert driver.strategy.done and driver.ask() == []


def test_deterministic_never_repeats_and_ends():
    driver = Driver(BayesianOptimization(deterministic=True, n_initial=3), FINITE)
    driver.run(10)
    assert not driver.strategy.done
    waiting = driver.ask(9)
    assert len(waiting) == 6 and driver.ask() == [] and not driver.strategy.done, "not now: the rest is pending"
    driver.tell(waiting)
    assert len({u.tobytes() for u in driver.points()}) == 16
    assert driver.strategy.done and driver.ask() == []


def test_a_noisy_objective_may_be_asked_again():
    driver = Driver(BayesianOptimization(n_initial=3), FINITE)
    driver.run(40)
    assert not driver.strategy.done and len(driver.told) == 40


def test_pruned_trials_with_a_value_count():
    def second(state):
        driver = Driver(BayesianOptimization(n_initial=2), FLOATS)
        for _ in range(5):
            driver.tell(driver.ask(), state)
        return driver.propose()[0].u.tobytes()

    assert second(TrialState.PRUNED) == second(TrialState.DONE)


# -- numerical trouble -----------------------------------------------------------------------------------------------


class Breaking:
    """A handle of which some verbs fail."""

    def __init__(self, handle, *broken):
        self._handle, self.broken = handle, set(broken)

    def __getattr__(self, name):
        if name in self.broken:

            def fail(*args, **kwargs):
                raise NumericalError("no factor of this matrix", row=3)

            return fail
        return getattr(self._handle, name)


@pytest.mark.parametrize("verb", ["maximise", "refit", "append", "set_theta"])
def test_numerical_trouble_never_reaches_the_user(verb, caplog):
    driver = Driver(BayesianOptimization(n_initial=3), FLOATS)
    driver.run(6)
    driver.strategy._handle = Breaking(driver.strategy._handle, verb)
    if verb == "set_theta":  # as after a refit whose trial another process overtook
        driver.strategy._handle._handle.set_theta(np.zeros((1, 4)))
    driver.run(1)
    driver.run(1)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        f"BayesianOptimization: trial {number} fills the space, for the model failed: no factor of this matrix"
        for number in ((7,) if verb == "append" else (6, 7))  # the row of trial 6 is appended when it is told
    ]
    note = notes(driver)[7]
    assert ("fit" in note) == (verb == "maximise"), "what was fitted before the trouble is kept"
    note.pop("fit", None)
    assert note == {"kind": "quasi_random", "reason": "no factor of this matrix"}
    driver.strategy._handle.broken.clear()
    driver.run(1)
    assert notes(driver)[8]["kind"] == "model"
    assert driver.strategy._handle.n == 9, "rows that could not be told are told when it works again"


def test_a_long_refit_that_fails_is_not_tried_again_at_once(caplog):
    driver = Driver(BayesianOptimization(), FLOATS)
    driver.add(FLOATS.from_uniform(np.random.default_rng(0).random((1000, 2))))
    theta = driver.strategy._handle.theta[0].tolist()
    driver.strategy._handle = Breaking(driver.strategy._handle, "finish_refit")
    driver.run(2)
    first, second = notes(driver)[1000], notes(driver)[1001]
    assert first["kind"] == "model" and first["reason"] == "no factor of this matrix"
    assert first["fit"] == {"n": 1000, "theta": theta}
    assert "a refit on 1,000 observations failed: no factor of this matrix" in caplog.text
    assert second["kind"] == "model" and not {"fit", "refit", "reason"} & set(second)


def test_nothing_told_is_nothing():
    strategy = BayesianOptimization()
    strategy.start(FLOATS, 1, 0, 0)
    strategy.tell(
        Observations(np.empty(0, dtype=np.int64), np.empty((0, 2)), np.empty((0, 1)), np.empty(0, dtype=np.uint8), [])
    )
    assert strategy.state_dict() == {} and not strategy.done


def test_the_reference_takes_values_of_any_size():
    study = Study(Space(x=Float(0, 1)), BayesianOptimization(backend="reference", n_initial=3), seed=0)
    study.optimize(lambda t: 1e200 * t["x"], 5)
    assert [record.note["kind"] for record in study.trials][3:] == ["model", "model"]


@pytest.mark.parametrize("wrong", [0, 1025, 2**40, True, 1.5])
def test_thread_counts_out_of_range(wrong):
    with pytest.raises(StrategyError, match=r"n_threads must be an integer from 1 to 1024"):
        BayesianOptimization(n_threads=wrong)
    with pytest.raises(ValueError, match=r"n_threads must be an integer from 1 to 1024"):
        GaussianProcess(2, n_threads=wrong)


def test_thread_counts_of_numpy():
    strategy = BayesianOptimization(n_threads=np.int64(2))
    assert json.dumps(strategy.config()["n_threads"]) == "2"
    assert GaussianProcess(2, n_threads=np.uint8(2)).n == 0


@pytest.fixture
def early(monkeypatch):
    """Spread refits from 24 observations on, each to the 20 nearest and over five asks and more (six if forced)."""
    early = {"REFIT_ALWAYS": 12, "NEAR_FROM": 24, "NEAREST_EACH": 4, "LEAST_NEAREST": 20}
    for name, value in {**early, "SPREAD_OVER": 5, "HALVES_FROM": 24, "SPREAD_EXACT": 4}.items():
        monkeypatch.setattr(f"hpo_fast.strategies._refits.{name}", value)


def told(study):
    return [(record.number, record.params, record.value, record.note) for record in study.trials]


def wave(t):
    return np.sin(6 * t["x"]) + t["y"] ** 2


def test_a_spread_refit_ends_on_time(early):
    study = Study(FLOATS, "bayesian_optimization", seed=1)
    study.optimize(wave, 60)
    notes = [record.note for record in study.trials]
    begun = [i for i, note in enumerate(notes) if "refit" in note and "number" not in note["refit"]]
    assert len(begun) >= 3
    for i in begun:
        n = notes[i]["refit"]["n"]
        assert n == i >= 24 and "fit" not in notes[i]
        end = i + n // 5
        if end < len(notes):
            assert notes[end]["fit"]["n"] == n
            assert not any("fit" in note for note in notes[i:end])
            shares = [note["refit"] for note in notes[i + 1 : end + 1]]
            assert shares == [{"n": n, "number": i, "share": share} for share in range(2, n // 5 + 2)]


def test_the_log_likelihood_after_a_spread_refit_is_that_of_all_told(early):
    study = Study(FLOATS, "bayesian_optimization", seed=1)
    study.optimize(wave, 31)
    records = list(study.trials)
    fit = records[30].note["fit"]
    assert fit["n"] == 25
    judge = gaussian_process(FLOATS.layout, backend="reference")
    judge.append(np.array([record.u for record in records[:30]]), np.array([[r.value] for r in records[:30]]))
    (expected,), _ = judge.log_likelihood(np.array([fit["theta"]]))
    np.testing.assert_allclose(fit["log_likelihood"], expected, rtol=1e-6, atol=1e-6)


def test_trials_that_others_add_are_no_shares_of_a_refit(early):
    """Else an ask that follows them would wait for all the work that they stand for."""
    study = Study(FLOATS, "bayesian_optimization", seed=1)
    study.optimize(wave, 34)
    begun = study.trials[-1].note["refit"]
    assert begun["share"] == 3
    U = np.random.default_rng(0).random((9, 2))
    study.add_trials({"x": U[:, 0], "y": 3 * U[:, 1] - 1}, np.sin(6 * U[:, 0]))
    study.enqueue({"x": 0.5, "y": 0.0})
    study.optimize(wave, 3)
    notes = [record.note for record in study.trials[-2:]]
    assert [note["refit"]["share"] for note in notes] == [4, 5] and not any("fit" in note for note in notes)


@pytest.mark.parametrize(("seed", "surrogate"), [(1, "exact"), (2, "exact"), (1, "vecchia"), (1, "auto"), (2, "auto")])
def test_a_study_is_resumed_in_the_middle_of_a_spread_refit(early, monkeypatch, seed, surrogate, tmp_path):
    """In both models, and where "auto" leaves the one for the other while the refit is under way."""
    monkeypatch.setattr("hpo_fast.strategies.bayesian.EXACT_BELOW", 28)  # one refit goes from 25 observations to 30
    end = 31 if surrogate == "exact" else 30  # or to 31
    strategy = BayesianOptimization(surrogate=surrogate)
    whole = Study(FLOATS, strategy, seed=seed)
    whole.optimize(wave, 45)
    expected = told(whole)
    answered = [note["surrogate"] for _, _, _, note in expected[25 : end + 1]]
    assert set(answered) == {surrogate} if surrogate != "auto" else answered == ["exact"] * 3 + ["vecchia"] * 3
    assert expected[26][3]["refit"]["number"] == 25 and expected[end][3]["fit"]["n"] == 25
    fits = [note["fit"]["theta"] for _, _, _, note in expected[: end + 1] if "fit" in note]
    assert (fits[-1] == fits[-2]) == (seed == 1), "one refit that leaves theta and one that moves it"
    path = tmp_path / "s.db"
    Study(FLOATS, BayesianOptimization(surrogate=surrogate), storage=path, seed=seed).optimize(wave, 22)
    while len(expected) > (study := Study.load(path)).total_trials:
        study.optimize(wave, 1)  # every trial in a process of its own, as far as the strategy can tell
    assert told(study) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "surrogate", "begins", "ends"),
    [(2100, "auto", 32, 48), (4200, "exact", 65, 131), (5200, "auto", 81, 122)],
)
def test_a_study_is_resumed_in_the_middle_of_a_spread_refit_of_thousands(n, surrogate, begins, ends, tmp_path):
    """Nothing made smaller: a search that climbs by rough ideas, halves of panels, and the local model."""
    x, y = np.random.default_rng(n).random((2, n))

    def begun(storage):
        study = Study(FLOATS, BayesianOptimization(surrogate=surrogate), storage=storage, seed=1)
        study.add_trials({"x": x, "y": 3 * y - 1}, np.sin(6 * x) + (3 * y - 1) ** 2 + 0.1 * np.cos(99 * x))
        return study

    whole, path = begun(None), tmp_path / "s.db"
    whole.optimize(wave, ends + 4)
    expected = told(whole)[n:]
    notes = [note for _, _, _, note in expected]
    assert [note["refit"]["n"] for note in notes[begins : ends + 1]] == [n + begins] * (ends + 1 - begins)
    assert [i for i, note in enumerate(notes) if "fit" in note] == [0, ends]
    assert (notes[0]["fit"]["theta"] == notes[ends]["fit"]["theta"]) == (n == 2100), "one leaves theta, two move it"
    assert {note["surrogate"] for note in notes} == {"vecchia" if n > 5000 else "exact"}
    begun(path).optimize(wave, begins - 1)
    while (done := len((study := Study.load(path)).trials) - n) < len(expected):
        study.optimize(wave, 10 if begins + 6 <= done < ends - 12 else 1)
    assert told(study)[n:] == expected


def test_a_resumed_study_knows_the_newest_fit_to_all(early, monkeypatch, tmp_path):
    """After a bulk: the refits that are due before a tenth more were told."""
    for name, value in {"LEAST_FIRST": 2, "SPREAD_OVER": 60}.items():
        monkeypatch.setattr(f"hpo_fast.strategies._refits.{name}", value)
    x, y = np.random.default_rng(0).random((2, 60))

    def begun(path):
        study = Study(FLOATS, BayesianOptimization(), storage=path, seed=1)
        study.add_trials({"x": x, "y": 3 * y - 1}, np.sin(6 * x) + (3 * y - 1) ** 2)
        return study

    whole = begun(None)
    whole.optimize(wave, 20)
    begun(tmp_path / "s.db")
    for _ in range(20):
        study = Study.load(tmp_path / "s.db")
        study.optimize(wave, 1)
    assert told(study) == told(whole)
    fits = [(note["fit"]["n"], note["fit"].get("nearest")) for _, _, _, note in told(whole) if "fit" in note]
    assert fits == [(60, None), (62, 20), (64, 20), (68, 20), (75, 20)]


class Exhausted:
    """A handle that runs out of memory at its third share of a refit, and drops it then."""

    def __init__(self, handle):
        self._handle, self.shares = handle, 0

    def __getattr__(self, name):
        return getattr(self._handle, name)

    def advance_refit(self, work):
        self.shares += 1
        if self.shares == 3:
            self._handle.begin_refit(0)
            raise MemoryError
        return self._handle.advance_refit(work)


def test_a_refit_that_ran_out_of_memory_begins_again(early):
    whole, driver = (Driver(BayesianOptimization(), FLOATS) for _ in range(2))
    driver.strategy._handle = Exhausted(driver.strategy._handle)
    whole.run(45)
    with pytest.raises(MemoryError):
        driver.run(45)
    assert 24 < driver.next_number < 30
    driver.run(45 - driver.next_number)
    assert any(note.get("fit", {}).get("n", 0) > 24 for note in notes(whole).values())
    assert notes(driver) == notes(whole)


def test_a_bulk_is_fitted_at_once(early):
    study = Study(FLOATS, "bayesian_optimization", seed=1)
    study.optimize(wave, 30)
    rng = np.random.default_rng(0)
    U = rng.random((60, 2))
    study.add_trials({"x": U[:, 0], "y": 3 * U[:, 1] - 1}, np.sin(6 * U[:, 0]))
    asked = study.ask()
    assert study.find_trial(asked.number).note["fit"]["n"] == 90
