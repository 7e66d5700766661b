"""Timing in alternating blocks: three runs, each side in turn, the order swapped from run to run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

BLOCK_SECONDS = 60.0
RUNS = 3
CHOOSING = 3  # steps with each count of threads, before the peer's is chosen

Step = Callable[[], object]


def block(step: Step, most: int, seconds: float = BLOCK_SECONDS, least: int = 1) -> list[float]:
    """Seconds of each step: `most` of them, fewer when the time is up, `least` in any case."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < most and (len(times) < least or time.perf_counter() < end):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return times


def figures(times: list[float]) -> dict[str, Any]:
    """What a block is remembered by."""
    return {"mean": sum(times) / len(times), "max": max(times), "count": len(times)}


def alternate(
    runs: int, ours: Callable[[int], dict[str, Any]], peer: Callable[[int], dict[str, Any]]
) -> dict[str, Any]:
    """Both sides once a run; a block tells at least its mean.

    Returns:
        The blocks of either side and `ratio`, the median over the runs of the peer's mean over ours.
    """
    sides: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
    for run in range(runs):
        order = [("ours", ours), ("peer", peer)]
        for name, side in order if run % 2 == 0 else reversed(order):
            sides[name].append(side(run))
    ratios = [p["mean"] / o["mean"] for o, p in zip(sides["ours"], sides["peer"], strict=True)]
    return {**sides, "ratios": ratios, "ratio": median(ratios)}


def cells(result: dict[str, Any], unit: float = 1e3, name: str = "ms") -> dict[str, Any]:
    """The columns that all timings have: mean (its median over the runs) and maximum of either side, and the ratio."""
    out: dict[str, Any] = {}
    for side in ("ours", "peer"):
        out[f"{side} mean {name}"] = unit * median(b["mean"] for b in result[side])
        out[f"{side} max {name}"] = unit * max(b["max"] for b in result[side])
    out["ratio"] = result["ratio"]
    return out


@contextmanager
def peer_threads(count: int) -> Iterator[None]:
    """Hold BLAS, OpenMP and torch at `count` threads."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    with threadpool_limits(limits=count):
        if torch:
            torch.set_num_threads(count)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


def seconds_by_threads(begin: Callable[[int], Callable[[], float]], threads: int) -> dict[int, float]:
    """Mean seconds of the peer's step with 1 and with `threads` threads: small products can lose by a second one.

    The peer may use as many threads as ours and is not made to. Its steps differ in length, so each count takes the
    same steps, in turn: CHOOSING of them, and one before that nobody counts.

    Args:
        begin: makes what takes the next step of a loop and gives its seconds, for a count of threads.
        threads: what ours uses.
    """
    counts = sorted({1, threads})
    steps: dict[int, Callable[[], float]] = {}
    for count in counts:
        with peer_threads(count):
            steps[count] = begin(count)
    times: dict[int, list[float]] = {count: [] for count in counts}
    for turn in range(CHOOSING + 1):
        for count in counts if turn % 2 == 0 else reversed(counts):
            with peer_threads(count):
                seconds = steps[count]()
            times[count] += [seconds] if turn else []
    return {count: sum(seen) / len(seen) for count, seen in times.items()}


def fastest(seconds: Mapping[int, float]) -> int:
    """The count of threads with the smallest mean."""
    return min(seconds, key=lambda count: seconds[count])


def against(runs: int, ours: Step, ways: Mapping[str, Step], most: int, seconds: float, threads: int) -> dict[str, Any]:
    """A step of ours beside that of a peer, in whichever way and with whichever count of threads it is fastest.

    Args:
        runs: blocks of either side.
        ours: one step.
        ways: name -> one step of the peer.
        most: steps of a block.
        seconds: after which it ends.
        threads: at most, of either side.
    """
    ours()
    seen = {
        way: seconds_by_threads(lambda _, step=step: lambda: block(step, 1)[0], threads) for way, step in ways.items()
    }
    way = min(seen, key=lambda name: min(seen[name].values()))
    count = fastest(seen[way])

    def peer(run: int) -> dict[str, Any]:
        with peer_threads(count):
            return {**figures(block(ways[way], most, seconds)), "threads": count, "way": way}

    result = alternate(runs, lambda run: figures(block(ours, most, seconds)), peer)
    return {**result, "peer seconds by threads": seen}
