"""`hpo-fast optimize`: run an objective of a script in a study file, up to a total of trials."""

from __future__ import annotations

import argparse
import os

from hpo_fast.cli import Usage
from hpo_fast.commands import running, stored
from hpo_fast.commands.script import find, split
from hpo_fast.errors import StudyError
from hpo_fast.space import Space
from hpo_fast.study import Study

_DESCRIPTION = """\
Run the function SCRIPT.py:objective on points of SCRIPT.py:space, a hpo_fast.Space, until the study in the file has
N trials. The same command again goes on where the study stands; several may run at once on one file.

    hpo-fast optimize train.py:objective --space train.py:space --trials 100 --storage study.db

The function takes a trial and gives a number, for example

    def objective(trial):
        return train(**trial.params)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.description = _DESCRIPTION
    parser.add_argument("objective", metavar="SCRIPT.py:objective", help="the function to optimise")
    parser.add_argument("--space", metavar="SCRIPT.py:space", required=True, help="the search space")
    parser.add_argument("--storage", metavar="PATH", required=True, help="the study file; made when there is none")
    running.add_arguments(parser, "without it: until the strategy is done")
    stored.add_name(parser)
    parser.add_argument(
        "--strategy",
        metavar="NAME",
        help="bayesian_optimization, tpe, random, quasi_random or grid; default: the file's, and "
        "bayesian_optimization for a new study",
    )
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument(
        "--direction", choices=("minimize", "maximize"), default="minimize", help="default: minimize"
    )
    direction.add_argument(
        "--directions",
        metavar="DIRECTION",
        nargs="+",
        help="for several objectives: minimize maximize, or with names loss=minimize accuracy=maximize",
    )
    parser.add_argument("--seed", type=running.count, metavar="S", help="of all choices; default: the file's, or drawn")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    script = ":".join(split(args.objective, "objective"))
    split(args.space, "--space")  # before any script runs
    objective, space = find(args.objective, "objective"), find(args.space, "--space")
    if not callable(objective):
        raise Usage(f"objective must be a function of a trial, but {args.objective} is a {type(objective).__name__}.")
    if not isinstance(space, Space):
        raise Usage(f"--space must be a hpo_fast.Space, but {args.space} is a {type(space).__name__}.")
    stored.check_path(args.storage, "--storage")
    try:
        study = Study(
            space,
            args.strategy,
            direction=args.direction,
            directions=_directions(args.directions),
            storage=args.storage,
            name=args.name,
            seed=args.seed,
            durability=args.durability,
        )
    except StudyError as error:  # the arguments contradict the file
        if os.path.exists(args.storage):
            stored.check_name(args.storage, args.name, stored.names(args.storage))
        raise Usage(str(error)) from error
    running.keep(study, running.SCRIPT, script)
    running.keep_total(study, args.trials)
    return running.run_study(study, objective, args.trials, args.timeout)


def _directions(given: list[str] | None) -> list[str] | dict[str, str] | None:
    if given is None or not any("=" in one for one in given):
        return given
    named = {name: direction for name, _, direction in (one.rpartition("=") for one in given)}
    if "" in named or len(named) < len(given):
        raise Usage(f"--directions must have a name of its own for each objective, but got {' '.join(given)}.")
    return named
