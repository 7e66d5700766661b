"""How time and memory of tell + ask grow with the history, from 10 to 1,000,000 told trials: ours and the peers'."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hpo_fast_bench.child import ChildFailed, call, warm_blas
from hpo_fast_bench.histories import history
from hpo_fast_bench.methods import METHODS
from hpo_fast_bench.parts import Part, Row, Unit
from hpo_fast_bench.parts.blocks import figures, peer_threads
from hpo_fast_bench.parts.loops import Loop, first_fit, interval
from hpo_fast_bench.parts.memory import forget_peak, peak, resident

SIZES = (10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
DIMENSIONS = (5, 20)
# method -> what the plots call it, and whose code it is
CURVES = {
    "hpo_fast": ("hpo_fast", "ours"),
    "tpe": ("hpo_fast TPE", "ours"),
    "hpo_fast_random": ("hpo_fast random", "ours"),
    "hpo_fast_quasi_random": ("hpo_fast quasi-random", "ours"),
    "hpo_fast_grid": ("hpo_fast grid", "ours"),
    "optuna_gp": ("Optuna GPSampler", "optuna"),
    "optuna_tpe": ("Optuna TPESampler", "optuna_tpe"),
    "botorch": ("BoTorch", "botorch"),
    "bayes_opt": ("bayesian-optimization", "bayes_opt"),
}
LEAST_STEPS, MOST_STEPS = 20, 1000
BLOCK_SECONDS = 60.0
MOST_STEP = 60.0  # a curve ends where one step takes longer, or would by what the last two sizes foretell
MOST_SECONDS = 900.0  # of one size, the telling of the history included


def one(method: str, n: int, d: int, steps: int, threads: int) -> dict[str, Any]:
    """One point of a curve: seconds of tell + ask after the first ask, and peak bytes above the imports."""
    warm_blas()
    past = history(n, d, 0)
    METHODS[method](past.space, 0, threads)  # its imports
    forget_peak()  # that of making the history
    before = resident()
    with peer_threads(threads) if CURVES[method][1] != "ours" else nullcontext():
        first = first_fit(n) if method == "hpo_fast" else None
        loop = Loop(METHODS[method](past.space, 0, threads), past, 0, first)
        times = loop.timed(steps, BLOCK_SECONDS, 1)
    return {**figures(times), "bytes": peak() - before, "n": n, "threads": threads}


def measure(method: str, d: int, sizes: Sequence[int], least: int, scratch: str, threads: int) -> dict[str, Any]:
    """One curve, each size and count of threads in a process of its own, and a size kept as soon as it is done.

    Args:
        method: of CURVES.
        d: parameters.
        sizes: told trials, growing.
        least: steps to time, at least.
        scratch: folder of the finished points.
        threads: at most, of either side.

    Returns:
        Its points, and why it ends before the last size.
    """
    folder = Path(scratch)
    folder.mkdir(parents=True, exist_ok=True)
    points: list[dict[str, Any]] = []
    for n in sizes:
        expected = foretold(points, n)
        if expected > MOST_STEP:
            return {"points": points, "end": f"a step at n = {n} would take about {expected:.0f} s"}
        path = folder / f"{method}-n{n}-d{d}.json"
        if not path.exists():
            # Ours over a whole refit interval, as long as a minute allows: the peers fit at every ask.
            steps = min(MOST_STEPS, max(least, interval(n + 1))) if method == "hpo_fast" else least
            # A second thread slows many a peer down.
            counts = [threads] if CURVES[method][1] == "ours" else sorted({1, threads})
            blocks, failures = [], []
            for count in counts:
                arguments = {"method": method, "n": n, "d": d, "steps": steps, "threads": count}
                try:
                    blocks.append(call("hpo_fast_bench.parts.growth:one", arguments, count, MOST_SECONDS))
                except ChildFailed as failed:
                    failures.append(f"{count} threads: {str(failed)[-300:]}")
            if not blocks:
                return {"points": points, "end": f"n = {n}: {'; '.join(failures)}"}
            path.write_text(json.dumps({**min(blocks, key=lambda block: block["mean"]), "failed": failures}))
        points.append(json.loads(path.read_text()))
    return {"points": points, "end": ""}


def foretold(points: Sequence[Mapping[str, Any]], n: int) -> float:
    """Seconds of a step at n, by the line through the last two points in logarithms, at least as steep as n itself."""
    if len(points) < 2:
        return points[-1]["mean"] * n / points[-1]["n"] if points else 0.0
    a, b = points[-2:]
    slope = math.log(b["mean"] / a["mean"]) / math.log(b["n"] / a["n"])
    return float(b["mean"] * (n / b["n"]) ** max(1.0, slope))


def _units(quick: bool) -> list[Unit]:
    units = []
    for method, (_, peer) in CURVES.items():
        for d in DIMENSIONS[:1] if quick else DIMENSIONS:
            arguments = {"method": method, "d": d, "sizes": [10, 20] if quick else list(SIZES)}
            arguments["least"] = 2 if quick else LEAST_STEPS
            uses = ("ours",) if peer == "ours" else (peer,)
            function = "hpo_fast_bench.parts.growth:measure"
            units.append(Unit(f"{method}-d{d}", function, arguments, uses, scratch=True))
    return units


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows = []
    for unit, kind, scale in (("ms", "mean", 1e3), ("MB", "bytes", 1e-6)):
        for key, result in results.items():
            method, d = key.rsplit("-d", 1)
            cells: dict[str, Any] = {f"n = {point['n']}": scale * point[kind] for point in result["points"]}
            rows.append(Row(f"{CURVES[method][0]}, d = {d}, {unit}", {**cells, "ends": result["end"]}))
    return rows


PART = Part(
    "growth",
    "tell + ask and memory against the number of told trials",
    _units,
    _rows,
    note="Mean of 20 tell + asks after the first ask, or of as many as begin within a minute, a peer's with one thread "
    "or all, whichever is faster; of hpo_fast, of a whole refit interval, at most 1,000 trials, with all "
    "refits that end in it. Memory: the peak of a process of its own above "
    "its imports. A curve ends before the size at which a step is foretold to take longer than a minute, or at one "
    "whose process fails or takes longer than 15 minutes, its history included.",
)
