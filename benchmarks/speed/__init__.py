"""Classes in the style of airspeed velocity, and a small runner, so that they can be used without it."""

from __future__ import annotations

import importlib
import itertools
import time
from pathlib import Path
from statistics import median
from typing import Any

from hpo_fast_bench import machine
from hpo_fast_bench.child import ChildFailed, call, warm_blas
from hpo_fast_bench.parts.memory import peak
from hpo_fast_bench.report import table

CLASSES = (
    "bench_gp:Append",
    "bench_gp:Refit",
    "bench_gp:Predict",
    "bench_gp:Maximise",
    "bench_strategies:AskTell",
)
REPEATS = 5
ENOUGH_SECONDS = 10.0  # no further repeat after that


def load(name: str) -> type[Any]:
    module, _, cls = name.partition(":")
    found: type[Any] = getattr(importlib.import_module(f"hpo_fast_bench.speed.{module}"), cls)
    return found


def methods(cls: type[Any], kind: str) -> list[str]:
    return [name for name in vars(cls) if name.startswith(kind)]


def measure(name: str, case: list[int], kind: str, repeats: int, threads: int) -> dict[str, float]:
    """All methods of one kind of a class on one case: the median time of `repeats`, each after a setup of its own."""
    cls = load(name)
    out = {}
    if kind == "time_":
        warm_blas()
    for method in methods(cls, kind):
        times: list[float] = []
        while len(times) < repeats and sum(times) < ENOUGH_SECONDS:
            bench = cls()
            bench.setup(*case)
            began = time.perf_counter()
            value = getattr(bench, method)(*case)
            times.append(time.perf_counter() - began)
            if kind == "track_":
                break
        out[method] = {"time_": 1e3 * median(times), "track_": value, "peakmem_": peak() / 1e6}[kind]
    return out


def speed(folder: Path, threads: int, quick: bool) -> int:
    """Runs every class on every case, prints a table and stores it as speed.json.

    Returns:
        0, or 1 when a case failed.
    """
    from hpo_fast_bench.compare import say, write

    rows, failures = [], []
    for name in CLASSES:
        cls = load(name)
        for case in [(50, 2)] if quick else itertools.product(*cls.params):
            label = f"{cls.__name__} " + ", ".join(f"{p} = {v}" for p, v in zip(cls.param_names, case, strict=True))
            say(label)
            cells: dict[str, Any] = {}
            for kind in ("time_", "peakmem_", "track_"):
                repeats = REPEATS if kind == "time_" and not quick else 1
                arguments = {"name": name, "case": list(case), "kind": kind, "repeats": repeats, "threads": threads}
                try:
                    cells |= call("hpo_fast_bench.speed:measure", arguments, threads, cls.timeout)
                except ChildFailed as failed:
                    failures.append(f"{label}: {failed}")
            rows.append({"figure": label, "cells": cells, "target": "", "reached": None})
    document = {
        "part": "speed",
        "title": "verbs of ours: ms, peak MB of the process, quality",
        "note": "Medians of five, each after a setup of its own.",
        "quick": quick,
        "environment": machine.describe(threads),
        "status": "failed" if failures else "measured",
        "reason": "\n".join(failures),
        "rows": rows,
    }
    write(folder / "speed.json", document)
    for name in CLASSES:  # one table a class, for each has columns of its own
        label = load(name).__name__
        own = [row for row in rows if str(row["figure"]).split()[0] == label]
        print(table({**document, "title": f"{label}: ms, peak MB of the process, quality", "rows": own}), flush=True)
    return int(bool(failures))
