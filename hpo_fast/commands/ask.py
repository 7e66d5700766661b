"""`hpo-fast ask`: take a trial for an objective that runs elsewhere."""

from __future__ import annotations

import argparse
import json

from hpo_fast.commands import stored

_DESCRIPTION = """\
Take the next trial of the study in FILE and print it as one JSON object, {"number": 17, "params": {...}}, and nothing
else on standard output. It is pending until `hpo-fast tell FILE 17 VALUE`, from any process, at any time. Where FILE
holds several studies, both commands need --name.

A study is made by Python, hpo_fast.Study(space, storage="study.db"), or by `hpo-fast optimize ... --trials 0`.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.description = _DESCRIPTION
    stored.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    trial = stored.load(args.file, args.name).ask()
    print(json.dumps({"number": trial.number, "params": trial.params}))
    return 0
