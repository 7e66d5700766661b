"""What the commands that run an objective have in common: counts, ends, exit codes."""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import Any

from hpo_fast.cli import DONE, FAILED
from hpo_fast.commands.stored import standing
from hpo_fast.study import Study
from hpo_fast.trial import TrialState

SCRIPT, TOTAL = "objective", "total_trials"  # attrs of a study from which `resume` goes on
_MOST = 2**63 - 1  # what the study file can hold


def add_arguments(parser: argparse.ArgumentParser, without_trials: str) -> None:
    """Declare when to end, and how safely to store."""
    parser.add_argument("--trials", type=count, metavar="N", help=f"trials of the study in all; {without_trials}")
    parser.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="begin no further trial after this time")
    parser.add_argument(
        "--durability",
        choices=("power", "process"),
        default="power",
        help="power: what was told survives a power cut (default); process: faster, it survives the death of the "
        "process",
    )


def run_study(study: Study, objective: Any, total: int | None, timeout: float | None) -> int:
    """Run trials until the study has `total`, print where it stands, and give the exit code."""
    began = time.monotonic()
    study.optimize(objective, total_trials=total, timeout=timeout)
    in_time = timeout is None or time.monotonic() - began < timeout
    print(standing(study))
    return FAILED if in_time and unfinished(study, total) else DONE


def unfinished(study: Study, total: int | None) -> bool:
    """Tell whether a run that had time enough ended early, by Ctrl-C: trials are missing, or one waits."""
    if study.strategy.done:
        return False
    return total is None or study.total_trials < total or study.counts()[TrialState.WAITING] > 0


def keep_total(study: Study, total: int | None) -> None:
    """Keep the total for `resume`, unless it is below what the study has; say what the user may not expect.

    A total of 0 only makes the file: nobody wants to resume up to it.
    """
    if not total:
        return
    there, kept = study.total_trials, study.attrs.get(TOTAL)
    if there >= total:
        say(f"the total of {total} trials is reached, {there} were asked so far; a larger --trials goes on")
    if total >= there or kept is None:
        keep(study, TOTAL, total)
        if kept is not None and kept > total:
            say(f"the total that resume goes up to was {kept}, and is {total} from now on")


def keep(study: Study, name: str, value: Any) -> None:
    """Keep something with the study, without a write when it is there already."""
    if study.attrs.get(name) != value:
        study.set_attr(name, value)


def say(line: str) -> None:
    """Print a line that is no result: to standard error."""
    print(line, file=sys.stderr, flush=True)


def count(text: str) -> int:
    """Read an argument that counts something."""
    text = text.strip()  # the command line puts a space before a negative number
    if not text.isdecimal() or len(text) > len(str(_MOST)) or int(text) > _MOST:
        raise argparse.ArgumentTypeError(f"must be an integer >= 0 and < 2**63, but got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"must be a number of seconds >= 0, but got {text.strip()!r}")
    return seconds
