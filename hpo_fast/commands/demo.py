"""`hpo-fast demo`: tune a gradient-boosting classifier, and compare with its defaults and with random search."""

from __future__ import annotations

import argparse
import os
import shlex
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hpo_fast.cli import DONE, FAILED, Usage
from hpo_fast.commands import running, stored
from hpo_fast.errors import BackendUnavailable, StudyError
from hpo_fast.space import Categorical, Float, Int, Space
from hpo_fast.study import Study
from hpo_fast.trial import Trial

_DESCRIPTION = """\
Tune a gradient-boosting classifier of scikit-learn on its data set of handwritten digits (is the digit odd or even?),
first by Bayesian optimization, then by random search with the same number of trials; about a minute on two cores.
Print the best configuration, and its score beside the default's and random search's on images that no trial saw.

The same command again goes on where the study file stands; a larger --trials adds trials.
"""
TRIALS = 70
FITS = 5  # averaged for the test: the log loss of one varies by a sixth with the rows and columns that it draws
OURS, OTHER = "Bayesian optimization", "random search"
STRATEGIES = {OURS: "bayesian_optimization", OTHER: "random"}  # by the name of the study in the file

# How many trees there are, of what shape, and which part of the rows and columns each of them sees.
space = Space(
    learning_rate=Float(0.01, 0.5, log=True),
    n_estimators=Int(20, 200, log=True),
    max_features=Float(0.03, 1.0, log=True),
    min_samples_leaf=Int(1, 50, log=True),
    shape=Categorical(["depth", "leaves"]),
    max_depth=Int(1, 8).when(shape="depth"),
    max_leaf_nodes=Int(4, 64, log=True).when(shape="leaves"),
    rows=Categorical(["all", "sample"]),
    subsample=Float(0.3, 0.95).when(rows="sample"),
)


class Data(NamedTuple):
    """Images as rows of 64 pixels, with 1 for an odd digit: a part to tune on, and a part that no trial sees."""

    X: npt.NDArray[np.float64]
    y: npt.NDArray[np.int64]
    X_test: npt.NDArray[np.float64]
    y_test: npt.NDArray[np.int64]


class Score(NamedTuple):
    """How well a configuration does on the test part, on average over FITS fits."""

    log_loss: float
    accuracy: float


@cache
def data() -> Data:
    """Load the digits that come with scikit-learn, and put half of them aside: fewer would be a noisy judge."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, digit = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, digit % 2, test_size=0.5, stratify=digit, random_state=0)
    return Data(X, y, X_test, y_test)


def make_model(params: dict[str, Any], random_state: int = 0) -> Any:
    """Build the classifier that a point of the space stands for."""
    from sklearn.ensemble import GradientBoostingClassifier

    arguments = {name: value for name, value in params.items() if name not in ("shape", "rows")}
    if params.get("shape") == "leaves":
        arguments["max_depth"] = None
    return GradientBoostingClassifier(random_state=random_state, **arguments)


def objective(trial: Trial) -> float:
    """Give the log loss in 3-fold cross-validation on the part to tune on.

    Each trial draws rows and columns of its own, else a search would learn what suits one draw, and not the digits.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    X, y, _, _ = data()
    model = make_model(trial.params, random_state=trial.number or 0)
    return -float(cross_val_score(model, X, y, cv=folds, scoring="neg_log_loss").mean())


def score(params: dict[str, Any]) -> Score:
    """Fit on the whole part to tune on, and score on the part that no trial saw."""
    from sklearn.metrics import log_loss

    X, y, X_test, y_test = data()
    chances = [make_model(params, random_state=i).fit(X, y).predict_proba(X_test) for i in range(FITS)]
    return Score(
        float(np.mean([log_loss(y_test, chance) for chance in chances])),
        float(np.mean([chance.argmax(axis=1) == y_test for chance in chances])),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.description = _DESCRIPTION
    parser.add_argument(
        "--trials", type=running.count, default=TRIALS, metavar="N", help=f"of each search in all; default: {TRIALS}"
    )
    parser.add_argument("--seed", type=running.count, metavar="S", help="default: the file's; 0 for a new file")
    parser.add_argument("--storage", default="demo.db", metavar="PATH", help="the study file; default: demo.db")
    parser.add_argument("--plot", metavar="PATH", help="the convergence plot; default: PATH of --storage with .png")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    missing = [name for name in ("sklearn", "matplotlib") if find_spec(name) is None]
    if missing:
        raise BackendUnavailable(
            f"demo needs scikit-learn and matplotlib, but {' and '.join(missing)} cannot be imported; "
            "in a clone of the project run: pip install '.[demo]'"
        )
    if args.trials < 1:
        raise Usage("--trials must be >= 1, so that there is a best configuration, but got 0.")
    stored.check_path(args.storage, "--storage")
    plot = os.path.splitext(args.storage)[0] + ".png" if args.plot is None else args.plot
    stored.check_path(plot, "--plot")
    X, _, X_test, _ = data()
    print(f"Is a handwritten digit odd or even? A gradient-boosting classifier learns it from {len(X):,} images;")
    print(f"the log loss in 3-fold cross-validation is minimised. {len(X_test)} other images are kept for the end.")
    seed = 0 if args.seed is None and not os.path.exists(args.storage) else args.seed
    studies = {name: _study(name, strategy, args.storage, seed) for name, strategy in STRATEGIES.items()}
    for name, study in studies.items():
        there = study.total_trials
        begun = f", {there} of them are in {args.storage}" if there else ""
        print(f"\n{name[0].upper()}{name[1:]}: {args.trials} trials{begun}", flush=True)
        study.optimize(objective, total_trials=args.trials, progress=True)
        if running.unfinished(study, args.trials):
            print(f"{_again(args, args.trials)} goes on from here.")
            return FAILED
    _report(studies)
    _draw(studies, plot)
    print(f"\nThe trials are in {args.storage}, the convergence plot in {plot}.")
    show = shlex.join(["hpo-fast", "show", args.storage])
    print(f"{_again(args, 2 * args.trials)} goes on from here; {show} prints the trials.")
    return DONE


def _study(name: str, strategy: str, storage: str, seed: int | None) -> Study:
    try:
        study = Study(space, strategy, storage=storage, name=name, seed=seed)
    except StudyError as error:  # another seed than the file's
        raise Usage(f"{error} Another --storage begins anew.") from error
    running.keep(study, running.SCRIPT, f"{__file__}:objective")  # so that `resume` knows it as well
    return study


def _again(args: argparse.Namespace, trials: int) -> str:
    command = ["hpo-fast", "demo"]
    if trials != TRIALS:
        command += ["--trials", str(trials)]
    if args.storage != "demo.db":
        command += ["--storage", args.storage]
    if args.plot is not None:
        command += ["--plot", args.plot]
    return shlex.join(command)


def _report(studies: dict[str, Study]) -> None:
    """Print the best configuration, and the scores on the test part, whoever wins."""
    best = studies[OURS].best_trial
    print(f"\nBest configuration of Bayesian optimization (trial {best.number}):")
    for name, value in best.params.items():
        print(f"  {name:16} = {value:.4g}" if isinstance(value, float) else f"  {name:16} = {value}")
    scores = {"scikit-learn's defaults": (objective(Trial({})), score({}))}
    for name, study in studies.items():
        found = study.best_trial
        assert found.value is not None
        scores[f"{name}, {len(study.trials)} trials"] = (found.value, score(found.params))
    width = max(map(len, scores))
    print(f"\n{'':{width}}  tuning part   images that no trial saw")
    print(f"{'':{width}}     log loss   log loss   accuracy")
    for name, (tuning, (log_loss, accuracy)) in scores.items():
        print(f"{name:{width}}  {tuning:11.4f}  {log_loss:9.4f}  {accuracy:8.1%}")
    winner = min(scores, key=lambda name: scores[name][1].log_loss)
    print(f"\nLowest log loss on the images that no trial saw: {winner}.")


def _draw(studies: dict[str, Study], path: str) -> None:
    from hpo_fast.plotting import convergence

    convergence(studies, label="log loss, 3-fold cross-validation").savefig(path, dpi=120)
