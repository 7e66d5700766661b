"""The arguments of `hpo-fast bench`; also `python -m hpo_fast_bench.cli`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from hpo_fast_bench.compare import compare
from hpo_fast_bench.machine import cores
from hpo_fast_bench.methods import PEERS, MissingPeer
from hpo_fast_bench.parts import NAMES
from hpo_fast_bench.report import report

OUT = "bench-results"


def _listed(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"must be some of {','.join(known)}, but got {name!r}")
        return names

    return read


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number >= 1, but got {text!r}")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares `compare`, `speed`, `plot` and `report`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    one = verbs.add_parser(
        "compare",
        help="time us and each installed peer in one run, with the quality beside it",
        description="Measures every figure that must be reached, prints a table for each and stores it as JSON. Parts "
        "run one by one; what is finished is kept, so the same command goes on after a stop. Leave the machine alone "
        "meanwhile.",
    )
    one.add_argument("--peers", type=_listed(PEERS), default=list(PEERS), help=f"of {','.join(PEERS)} (default: all)")
    one.add_argument("--parts", type=_listed(NAMES), default=list(NAMES), help=f"of {','.join(NAMES)} (default: all)")
    two = verbs.add_parser(
        "speed",
        help="time append, refit, predict, maximise and ask + tell of ours alone",
        description="Runs the asv-style classes of hpo_fast_bench.speed, each case in a process of its own.",
    )
    four = verbs.add_parser(
        "plot",
        help="draw how time and memory grow with the number of trials",
        description="Measures the part `growth` as `compare` does, what is finished being kept, and draws "
        "growth-time.svg and growth-memory.svg.",
    )
    four.add_argument("--to", type=Path, default=Path("."), metavar="DIR", help="where the pictures go (.)")
    four.add_argument("--stored", action="store_true", help="measure nothing: draw what --out holds")
    four.add_argument("--peers", type=_listed(PEERS), default=list(PEERS), help=f"of {','.join(PEERS)} (default: all)")
    for verb in (one, two, four):
        verb.add_argument("--out", type=Path, default=Path(OUT), metavar="DIR", help=f"where results go ({OUT})")
        verb.add_argument("--threads", type=_positive, default=cores(), help="of either side (default: every core)")
        verb.add_argument("--quick", action="store_true", help="tiny budgets that prove nothing, for tests")
    three = verbs.add_parser("report", help="print the tables of stored results again")
    three.add_argument("folder", type=Path, metavar="DIR", help="an --out of before")


def run(args: argparse.Namespace) -> int:
    """Does what was asked, and gives the exit code."""
    if args.verb == "report":
        return report(args.folder)
    if args.verb == "speed":
        from hpo_fast_bench.speed import speed

        return speed(args.out, args.threads, args.quick)
    if args.verb == "plot":
        return _plot(args)
    return compare(args.out, args.parts, args.peers, args.threads, args.quick)


def _plot(args: argparse.Namespace) -> int:
    from hpo_fast_bench.compare import run_part, say
    from hpo_fast_bench.parts import part
    from hpo_fast_bench.plot import draw, stored

    try:
        if args.stored:
            document = stored(args.out)
        else:
            document = run_part(part("growth"), args.out, args.threads, args.quick, args.peers)
        for path in draw(document, args.to):
            say(f"wrote {path}")
    except (ValueError, MissingPeer) as error:
        print(error)
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="hpo-fast bench")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
