"""One part for each figure: what to measure (units, each in a child process), and the rows of its table."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Unit:
    """One measurement, kept once it is done.

    Attributes:
        key: its name within the part.
        function: "module:function" that the child calls.
        arguments: JSON-able keywords for it.
        uses: "ours" and names of PEERS: whose code the result depends on. A unit with a peer that its part does not
            need is left out where that is not there, and the part goes on without it.
        bare: whether none of its rows has a target: where it fails it is left out too, and takes nobody else's rows.
        threads: for both sides; None: those of the command.
        scratch: whether the function takes `scratch`, a folder that survives a stop.
        timeout: seconds.
    """

    key: str
    function: str
    arguments: dict[str, Any]
    uses: tuple[str, ...] = ("ours",)
    threads: int | None = None
    bare: bool = False
    scratch: bool = False
    timeout: float = 7200.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        figure: what was measured.
        cells: column -> number or text.
        target: what must be reached, in words; empty: the row is for information.
        reached: whether it was; None without a target.
    """

    figure: str
    cells: dict[str, Any]
    target: str = ""
    reached: bool | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A figure of the comparison.

    Attributes:
        name: what `--parts` calls it.
        title: the heading of its table.
        units: quick -> the measurements; quick is for tests, with budgets that prove nothing.
        rows: results by key -> the table.
        needs: packages of the peer without which it has no row, and what makes it fast; they must be installed.
        peer: what `--peers` calls that one, or None.
        parallel: measurements at once; more than one only where no time is measured.
        note: how to read it.
    """

    name: str
    title: str
    units: Callable[[bool], list[Unit]]
    rows: Callable[[Mapping[str, Any]], list[Row]]
    needs: tuple[str, ...] = field(default=())
    peer: str | None = None
    parallel: int = 1
    note: str = ""


# In the order in which they run: short ones first, so that a stopped run has most lines.
NAMES = (
    "import_time",
    "noop",
    "durability",
    "likelihood",
    "posterior",
    "limits",
    "fit",
    "memory",
    "acquisition",
    "tell_ask",
    "large",
    "auto",
    "million",
    "first_ask",
    "vecchia",
    "tpe",
    "regret",
    "vecchia_further",
    "further",
    "growth",
)


def size_of(key: str) -> tuple[int, int]:
    """n and d of a unit that names them, such as "factor-n300-d5"."""
    found = re.search(r"\bn(\d+)-d(\d+)", key)
    assert found is not None, key
    return int(found[1]), int(found[2])


def part(name: str) -> Part:
    """The part of that name; its module is imported now."""
    found: Part = importlib.import_module(f"hpo_fast_bench.parts.{name}").PART
    return found
