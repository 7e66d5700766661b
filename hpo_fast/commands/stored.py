"""Opens the study that a command names, and says where it stands."""

from __future__ import annotations

import argparse
import os

from hpo_fast.cli import Usage
from hpo_fast.errors import StudyError
from hpo_fast.study import Study


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
    check_name(path, name, found)
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
    if os.path.isdir(path):
        raise Usage(f"FILE must be a study file, but {path!r} is a folder; add the file's name.")
    return StudyFile(path, create=False).names()


def check_path(path: str, argument: str) -> None:
    """Check where a file is, or is to be written.

    Raises:
        Usage: when no file can be there.
    """
    if not path:
        raise Usage(f"{argument} must be the path of a file, but got ''.")
    if os.path.isdir(path):
        raise Usage(f"{argument} must be the path of a file, but {path!r} is a folder; add the file's name.")
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise Usage(f"{argument} must lie in a folder that exists, but got {path!r}; make the folder first.")


def check_name(path: str, name: str | None, found: list[str]) -> None:
    """Check that a name is given where a file holds several studies.

    Raises:
        Usage: when it is not.
    """
    if name is None and len(found) > 1:
        raise Usage(f"--name must say which study is meant, for {path!r} holds {', '.join(map(repr, found))}.")


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
