"""`hpo-fast resume`: go on with a study, with the objective that its file names."""

from __future__ import annotations

import argparse

from hpo_fast.cli import Usage
from hpo_fast.commands import running, stored
from hpo_fast.commands.script import find, split

_DESCRIPTION = """\
Go on with the study in FILE: space, strategy and seed are those stored there, and so are, from `hpo-fast optimize`, the
objective and the number of trials. The objective's script is printed before it runs.

    hpo-fast resume study.db
    hpo-fast resume study.db train.py:objective --trials 200
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.description = _DESCRIPTION
    parser.add_argument("file", metavar="FILE", help="the study file")
    parser.add_argument("objective", metavar="SCRIPT.py:objective", nargs="?", help="default: the one stored in FILE")
    running.add_arguments(parser, "default: as stored in FILE, else until the strategy is done")
    stored.add_name(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    study = stored.load(args.file, args.name, args.durability)
    attrs = study.attrs
    reference = args.objective if args.objective is not None else attrs.get(running.SCRIPT)
    if reference is None:
        raise Usage(f"SCRIPT.py:objective may be left out when FILE names it, but {args.file!r} does not; give it.")
    script = ":".join(split(reference, "objective"))
    total = args.trials if args.trials is not None else attrs.get(running.TOTAL)
    running.say(f"runs {script}, {'no limit' if total is None else f'up to {total} trials in all'}")
    objective = find(reference, "objective")
    if not callable(objective):
        raise Usage(f"objective must be a function of a trial, but {reference} is a {type(objective).__name__}.")
    running.keep(study, running.SCRIPT, script)
    running.keep_total(study, total)
    return running.run_study(study, objective, total, args.timeout)
