"""`hpo-fast show`: print what a study file holds."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from typing import Any

from hpo_fast.cli import Usage
from hpo_fast.commands import running, stored
from hpo_fast.errors import StorageError, StudyError
from hpo_fast.study import Study
from hpo_fast.trial import TrialRecord, TrialState

_DESCRIPTION = """\
Print the studies in FILE: their settings, the best trial and the newest ones; or all that is known of one trial, with
the traceback of a failed one. Nothing is changed.

"expected" is what the model foretold of the trial's value when it chose the trial: mean and standard deviation.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.description = _DESCRIPTION
    parser.add_argument("file", metavar="FILE", help="the study file")
    parser.add_argument("--name", help="show this study only; default: all in the file")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--trials", type=running.count, default=10, metavar="N", help="show the N newest; default: 10")
    what.add_argument("--trial", type=running.count, metavar="NUMBER", help="show this trial only, with all there is")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.trial is not None:
        print(_one(stored.load(args.file, args.name), args.trial))
        return 0
    names = stored.names(args.file) if args.name is None else [args.name]
    if not names:
        raise StorageError(f"{args.file!r} is a study file, but it holds no study yet.")
    print("\n\n".join(_report(stored.load(args.file, name), args.trials) for name in names))
    return 0


def _report(study: Study, n_newest: int) -> str:
    settings = ", ".join(f"{name}={value!r}" for name, value in study.strategy_config.items())
    lines = [
        f"study {study.name!r} in {study.storage}",
        f"goal      {', '.join(_goals(study))}" + (f", {study.constraints} constraints" * bool(study.constraints)),
        f"strategy  {study.strategy_name}({settings}), seed {study.seed}",
        *(f"attr      {name} = {json.dumps(value)}" for name, value in study.attrs.items()),
        f"trials    {_counts(study)}",
        f"space     {str(study.space).replace(chr(10), chr(10) + ' ' * 10)}",
    ]
    if len(study.directions) > 1:
        front = study.pareto_front
        lines += ["", f"Pareto front, {len(front)} trials", *_table(study, front)]
    else:
        try:
            lines += ["", "best trial", *_table(study, [study.best_trial])]
        except StudyError:
            lines += ["", "no trial with a valid value yet"]
    newest = study.trials[-n_newest:] if n_newest else []
    if newest:
        lines += ["", f"newest trials, {len(newest)} of {len(study.trials)}", *_table(study, newest)]
    return "\n".join(lines)


def _goals(study: Study) -> list[str]:
    if len(study.directions) == 1:
        return list(study.directions)
    return [f"{direction} {name}" for name, direction in zip(study.objective_names, study.directions, strict=True)]


def _counts(study: Study) -> str:
    counts = study.counts()
    parts = [f"{counts[s]} {s.name.lower()}" for s in (TrialState.DONE, TrialState.PRUNED, TrialState.FAILED)]
    pending = study.pending()
    numbers = ", ".join(map(str, pending[:10])) + (", ..." if len(pending) > 10 else "")
    return ", ".join(parts) + f", {len(pending)} pending" + (f" ({numbers})" if pending else "")


def _table(study: Study, trials: Iterable[TrialRecord]) -> list[str]:
    one = len(study.directions) == 1
    head = ["number", "state", *study.objective_names, *(["expected"] if one else []), "seconds", "params"]
    rows = [head]
    for trial in trials:
        values = [f"{value:.6g}" for value in trial.values or ()] or ["-"] * len(study.directions)
        seconds = "-" if trial.duration is None else f"{trial.duration:.2f}"
        expected = [_expected(study, trial)] if one else []
        params = ", ".join(f"{name}={_short(value)}" for name, value in trial.params.items())
        rows.append([str(trial.number), trial.state.name.lower(), *values, *expected, seconds, params])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _expected(study: Study, trial: TrialRecord) -> str:
    mean, sd = trial.note.get("mean"), trial.note.get("sd")
    if mean is None or sd is None:
        return "-"
    return f"{-mean if study.directions[0] == 'maximize' else mean:.3g} ± {sd:.2g}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _one(study: Study, number: int) -> str:
    found = study.find_trial(number)
    if found is None:
        raise Usage(f"--trial must be the number of a trial, but study {study.name!r} has no trial {number}.")
    lines = [f"trial {number} of study {study.name!r}: {found.state.name.lower()}"]
    if found.values is not None:
        lines += [f"{name} = {value!r}" for name, value in zip(study.objective_names, found.values, strict=True)]
    if found.constraints:
        lines.append(f"constraints = {list(found.constraints)}, {'' if found.feasible else 'not '}feasible")
    lines += ["params", *(f"  {name} = {value!r}" for name, value in found.params.items())]
    for title, things in (("attrs", found.attrs), ("note of the strategy", found.note)):
        if things:
            lines += [title, *(f"  {name} = {json.dumps(value)}" for name, value in things.items())]
    if found.started is not None:
        lines.append(f"started {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(found.started))}")
    if found.duration is not None:
        lines.append(f"took {found.duration:.3f} s")
    if found.reason is not None:
        lines += ["reason", *("  " + line for line in found.reason.splitlines())]
    return "\n".join(lines)
