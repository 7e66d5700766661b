"""The command line: `hpo-fast COMMAND ...`. Each command is a module with add_arguments(parser) and run(args)."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from hpo_fast.errors import HpoFastError, SpaceError, StrategyError

DONE, FAILED, USAGE = 0, 1, 2  # exit codes

# command: (its module, what it is for). A module is imported when its command is given.
COMMANDS = {
    "demo": ("hpo_fast.commands.demo", "tune a scikit-learn model for about a minute, and compare"),
    "optimize": ("hpo_fast.commands.optimize", "run an objective that a script defines, or go on with it"),
    "resume": ("hpo_fast.commands.resume", "go on with a study that optimize began"),
    "show": ("hpo_fast.commands.show", "print what a study file holds"),
    "ask": ("hpo_fast.commands.ask", "print the next trial of a study as JSON"),
    "tell": ("hpo_fast.commands.tell", "store the value of a trial that was asked"),
    "bench": ("hpo_fast_bench.cli", "run the benchmarks"),
}
_EXIT_CODES = "exit codes: 0 done, 1 the run failed or was interrupted, 2 wrong usage"


class Usage(Exception):
    """The user's mistake on the command line, found after the arguments were parsed; exit code 2."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments after the program's name; None: those of the process.

    Returns:
        The exit code: 0 done, 1 the run failed or was interrupted, 2 wrong usage.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # it is not always UTF-8, and names and choices are any text
        sys.stdout.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if argv is None else argv)
    command = given[0] if given and given[0] in COMMANDS else None
    try:
        module = None if command is None else _load(command)
        parser = _parser(command, module)
        if command == "tell":
            given = [_shielded(one) for one in given]
        try:
            args = parser.parse_args(given)
        except SystemExit as end:  # argparse has printed its message, or the help
            return DONE if end.code == 0 else USAGE
        assert module is not None
        try:
            code = int(module.run(args) or DONE)
        except SystemExit as end:  # from the user's code
            return _say(command, f"the code that was run must not end the process, but it called {_call(end)}.", FAILED)
        print(end="", flush=True)  # here a broken pipe is caught
        return code
    except (Usage, StrategyError, SpaceError) as error:
        return _say(command, error, USAGE)
    except HpoFastError as error:
        return _say(command, error, FAILED)
    except KeyboardInterrupt:
        return _say(command, "interrupted", FAILED)
    except BrokenPipeError:  # `hpo-fast show study.db | head`
        _flush()
        return FAILED
    except OSError as error:
        _flush()
        return _say(command, error, FAILED)


def _load(command: str) -> ModuleType:
    name, _ = COMMANDS[command]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if command != "bench":
            raise
        raise Usage(
            f"bench needs the benchmark suite and its peers, but there is no module {error.name!r}; "
            "in a clone of the project run: pip install '.[bench]'"
        ) from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, in place of the whole usage."""
        self.exit(USAGE, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def _parser(command: str | None, module: ModuleType | None) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hpo-fast",
        description="Hyper-parameter optimization with a compiled core.",
        epilog=f"hpo-fast COMMAND --help tells more.\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, purpose) in COMMANDS.items():
        sub = commands.add_parser(
            name, help=purpose, epilog=_EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == command and module is not None:
            module.add_arguments(sub)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"hpo-fast {version('hpo_fast')}")
        parser.exit()


def _shielded(argument: str) -> str:
    """Let argparse take a negative value for what it is: it knows -1 as a number, but not -1e-3 or -Infinity."""
    try:
        float(argument)
    except ValueError:
        return argument
    return " " + argument if argument.startswith("-") else argument


def _call(end: SystemExit) -> str:
    return "sys.exit()" if end.code is None else f"sys.exit({end.code!r})"


def _flush() -> None:
    """Print what is left, or drop it where standard output takes no more, else Python's end tries once more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(command: str | None, error: object, code: int) -> int:
    text = " ".join(str(error).split())  # one line
    print(f"hpo-fast{'' if command is None else ' ' + command}: error: {text}", file=sys.stderr)
    return code
