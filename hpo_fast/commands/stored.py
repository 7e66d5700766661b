"""Opens the study that a command names, and says where it stands."""

from __future__ import annotations

import argparse
import os

from hpo_fast.cli import Usage
from hpo_fast.errors import StudyError
from hpo_fast.study import Study
from hpo_fast.trial import TrialRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare FILE and --name."""
    parser.add_argument("file", metavar="FILE", help="the study file")
    add_name(parser)


def add_name(parser: argparse.ArgumentParser) -> None:
    """Declare --name."""
    parser.add_argument("--name", help="which study of the file; default: the only one")


def load(path: str, name: str | None, durability: str = "power") -> Study:
    """Open the study in a file.

    Raises:
        Usage: when there is no such file or study, or the file holds several and name is None.
        StorageError: when the file cannot be used.
    """
    found = names(path)
    if name is None and len(found) > 1:
        raise Usage(f"--name must say which study is meant, for {path!r} holds {', '.join(map(repr, found))}.")
    if name is not None and name not in found:
        raise Usage(f"--name must be a study in {path!r}, which holds {', '.join(map(repr, found)) or 'none'}.")
    return Study.load(path, name, durability=durability)


def names(path: str) -> list[str]:
    """Give the names of the studies in a file.

    Raises:
        Usage: when there is no such file.
        StorageError: when the file cannot be used.
    """
    from hpo_fast.storage.file import StudyFile

    if not os.path.exists(path):
        raise Usage(f"FILE must be a study file, but there is no {path!r}; check the path.")
    return StudyFile(path, create=False).names()


def record(study: Study, number: int) -> TrialRecord | None:
    """Give the trial of that number, or None when there is none, or it has no parameters yet."""
    return study._record(number) if study._journal.rows(number, number + 1) else None


def standing(study: Study) -> str:
    """Say how many trials there are, and which is the best, in a few lines."""
    where = f"{study.storage}: {len(study.trials)} trials"
    if len(study.directions) > 1:
        return f"{where}, {len(study.pareto_front)} on the Pareto front"
    try:
        best = study.best_trial
    except StudyError:
        return f"{where}, none with a valid value"
    lines = [f"  {name} = {value!r}" for name, value in best.params.items()]
    return "\n".join([f"{where}, best value {best.value:.6g} (trial {best.number})", *lines])
