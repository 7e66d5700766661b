"""`hpo-fast tell`: store the value of a trial that was asked."""

from __future__ import annotations

import argparse
import json

from hpo_fast.cli import Usage
from hpo_fast.commands import running, stored
from hpo_fast.errors import StudyError
from hpo_fast.trial import TrialState

_DESCRIPTION = """\
End trial NUMBER of the study in FILE with its value.

    hpo-fast tell study.db 17 0.31
    hpo-fast tell study.db 17 '[0.31, 12.5]'

VALUE is JSON: a number; for several objectives a list, or an object by their names. null and NaN keep the trial as
failed. A trial is told once.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.description = _DESCRIPTION
    stored.add_arguments(parser)
    parser.add_argument("number", metavar="NUMBER", type=running.count, help="the trial's number, as ask printed it")
    parser.add_argument("value", metavar="VALUE", help="JSON: a number, or a list for several objectives")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    try:
        value = json.loads(args.value)
    except ValueError:
        raise Usage(f"VALUE must be JSON, a number or a list of numbers, but got {args.value!r}.") from None
    study = stored.load(args.file, args.name)
    try:
        study.tell(args.number, value)
    except StudyError as error:  # no such trial, told before, or the wrong kind of value
        raise Usage(str(error)) from error
    told = study.find_trial(args.number)
    if told is not None and told.state is TrialState.FAILED:
        running.say(f"trial {args.number} is kept as failed: {told.reason}")
    return 0
