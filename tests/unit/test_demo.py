"""The demo on a tiny budget: what it prints and writes, that it goes on, and that it keeps the test images aside."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import hpo_fast as hpo
from hpo_fast.cli import main
from hpo_fast.commands import demo
from hpo_fast.plotting import convergence

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the data, so that a trial takes milliseconds."""
    X, y, X_test, y_test = demo.data()
    monkeypatch.setattr(demo, "data", lambda: demo.Data(X[:150], y[:150], X_test[:50], y_test[:50]))


def test_the_demo_prints_stores_draws_and_goes_on(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--trials", "3"]) == 0
    out = capsys.readouterr().out
    bayes, random = (hpo.Study.load("demo.db", name) for name in ("Bayesian optimization", "random search"))
    assert (len(bayes.trials), len(random.trials)) == (3, 3)
    assert isinstance(bayes.strategy, hpo.BayesianOptimization) and isinstance(random.strategy, hpo.RandomSearch)
    assert bayes.seed == random.seed == 0
    assert (tmp_path / "demo.png").read_bytes().startswith(PNG)
    for name, value in bayes.best_trial.params.items():
        assert f"  {name:16} = " in out, (name, value)
    rows = {line[:32].strip(): line[32:].split() for line in out.splitlines() if line.endswith("%")}
    assert set(rows) == {"scikit-learn's defaults", "Bayesian optimization, 3 trials", "random search, 3 trials"}
    for name, study in [("Bayesian optimization, 3 trials", bayes), ("random search, 3 trials", random)]:
        assert study.best_trial.value is not None
        expected = demo.score(study.best_trial.params)
        numbers = [f"{study.best_trial.value:.4f}", f"{expected.log_loss:.4f}", f"{expected.accuracy:.1%}"]
        assert rows[name] == numbers
    winner = min(rows, key=lambda name: float(rows[name][1]))
    assert f"Lowest log loss on the images that no trial saw: {winner}." in out
    assert "hpo-fast demo --trials 6 goes on from here" in out

    first = [trial.params for trial in bayes.trials]
    assert main(["demo", "--trials", "4"]) == 0
    assert "Bayesian optimization: 4 trials, 3 of them are in demo.db" in capsys.readouterr().out
    assert [trial.params for trial in bayes.trials][:3] == first
    assert (len(bayes.trials), len(random.trials)) == (4, 4)

    assert main(["resume", "demo.db", "--name", "random search", "--trials", "5"]) == 0
    assert len(random.trials) == 5


def test_mistakes(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--trials", "0"]) == 2
    capsys.readouterr()
    for arguments, said in [
        (["--plot", "absent/demo.png"], "--plot must lie in a folder that exists"),
        (["--plot", "."], "--plot must be the path of a file"),
        (["--storage", "absent/demo.db"], "--storage must lie in a folder that exists"),
        (["--storage", "."], "--storage must be the path of a file"),
        (["--storage", ""], "--storage must be the path of a file"),
    ]:
        assert main(["demo", *arguments]) == 2
        captured = capsys.readouterr()
        assert said in captured.err and captured.out == ""
    assert os.listdir(tmp_path) == []
    assert main(["demo", "--trials", "1", "--storage", "a.db"]) == 0
    capsys.readouterr()
    assert main(["demo", "--trials", "1", "--storage", "a.db", "--seed", "5"]) == 2
    assert "has seed 0, and got 5" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert main(["demo", "--trials", "1", "--storage", "a.db"]) == 1
    assert "pip install '.[demo]'" in capsys.readouterr().err


def test_no_trial_sees_the_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, X_test, y_test = demo.data()
    assert (len(X), len(X_test)) == (898, 899)
    monkeypatch.setattr(demo, "data", lambda: demo.Data(X[:150], y[:150], np.full_like(X_test, np.nan), y_test))
    assert np.isfinite(demo.objective(hpo.Trial({"n_estimators": 3})))


def test_the_number_of_a_trial_chooses_its_draw(quick: None) -> None:
    params = {"n_estimators": 5, "max_features": 0.1, "subsample": 0.5}
    by_hand, first, second = (demo.objective(hpo.Trial(params, number)) for number in (None, 0, 1))
    assert by_hand == first != second
    assert demo.objective(hpo.Trial(params, 1)) == second


def test_the_command_that_goes_on_can_be_pasted(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--trials", "1", "--storage", "my study.db", "--plot", "a b.png"]) == 0
    out = capsys.readouterr().out
    assert "hpo-fast demo --trials 2 --storage 'my study.db' --plot 'a b.png' goes on from here" in out
    assert "hpo-fast show 'my study.db' prints" in out


def test_every_point_of_the_space_builds_a_model() -> None:
    from sklearn.ensemble import GradientBoostingClassifier

    U = demo.space.from_uniform(np.random.default_rng(0).random((50, demo.space.d)))
    for u in U:
        params = demo.space.decode(u)
        model = demo.make_model(params)
        assert isinstance(model, GradientBoostingClassifier)
        assert (model.max_depth is None) == (params["shape"] == "leaves")
        assert (model.subsample == 1.0) == (params["rows"] == "all")
    assert len(demo.space) >= 6


def test_convergence_draws_the_best_value_so_far() -> None:
    space = hpo.Space(x=hpo.Float(-10, 10))
    study = hpo.Study(space, "random", direction="maximize", seed=0, constraints=1)
    for x, value, limit in [(0, 1.0, 0.0), (1, 3.0, 1.0), (2, 2.0, -1.0), (3, np.nan, 0.0), (4, 1.5, 0.0)]:
        study.add_trial({"x": x}, value, constraints=[limit])
    figure = convergence(study, label="yield")
    axes = figure.axes[0]
    dots, line = axes.get_lines()
    assert list(dots.get_xdata()) == [0, 1, 2, 4]  # the failed trial is left out
    assert list(line.get_ydata()) == [1.0, 1.0, 2.0, 2.0]  # and the one that is not feasible is no best one
    assert axes.get_ylabel() == "yield"
    with pytest.raises(hpo.StudyError, match="needs a feasible trial"):
        convergence(hpo.Study(space, "random"))
    with pytest.raises(hpo.StudyError, match="draws studies of one objective"):
        convergence(hpo.Study(space, "random", directions=["minimize", "minimize"]))
