"""tell + ask on a long history: ours over whole refit intervals, the Gaussian processes of peers at their best."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from hpo_fast_bench.child import warm_blas
from hpo_fast_bench.methods import STARTUP
from hpo_fast_bench.parts import Part, Row, Unit, size_of
from hpo_fast_bench.parts.blocks import BLOCK_SECONDS, RUNS, cells
from hpo_fast_bench.parts.loops import against_peer, interval, our_block, our_loop, refits_within

LEAST_RATIO = {(100, 5): 40, (100, 20): 40, (300, 5): 75, (300, 20): 75, (1000, 5): 150, (1000, 20): 150}
# method -> its name, and what `--peers` calls it
PEERS = {
    "optuna_gp": ("Optuna GPSampler", "optuna"),
    "botorch": ("BoTorch", "botorch"),
    "bayes_opt": ("bayesian-optimization", "bayes_opt"),
}
AIM = "optuna_gp"  # the target is against it alone
BARE_SECONDS = 20.0  # of a block of another one


def measure(n: int, d: int, runs: int, trials: int, threads: int, seconds: float, method: str) -> dict[str, Any]:
    """One (n, d) of the table against one peer."""
    if n < STARTUP:
        raise ValueError(f"n must be at least {STARTUP}, so that a peer fits a model, but got {n}")
    warm_blas()

    def ours(run: int) -> dict[str, Any]:
        return our_block(our_loop(n, d, run, threads), trials)

    return against_peer(runs, ours, method, (n, d), trials, seconds, threads)


def _units(quick: bool) -> list[Unit]:
    units = []
    for method, (_, peer) in PEERS.items():
        bare = method != AIM
        for n, d in [(20, 2)] if quick else sorted(LEAST_RATIO):
            arguments = {"n": n, "d": d, "runs": 1 if quick else RUNS, "trials": interval(n + 1)}
            arguments |= {"seconds": BARE_SECONDS if bare else BLOCK_SECONDS, "method": method}
            function = "hpo_fast_bench.parts.tell_ask:measure"
            units.append(Unit(f"n{n}-d{d}-{method}", function, arguments, ("ours", peer), bare=bare, timeout=3600))
    return units


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows = []
    for key, result in results.items():
        (n, d), method = size_of(key), key.rsplit("-", 1)[1]
        least = LEAST_RATIO.get((n, d)) if method == AIM else None
        blocks = result["ours"]
        shown = cells(result)
        shown["refits"] = min(b["refits"] for b in blocks)
        shown["that moved theta"] = min(b["moved"] for b in blocks)
        shown["peer threads"] = result["peer"][0]["threads"]
        shown["trials ours, peer"] = f"{blocks[0]['count']}, {min(b['count'] for b in result['peer'])}"
        for side in ("ours", "peer"):
            shown[f"best f {side}"] = median(b["best"] for b in result[side])
        rows.append(
            Row(
                f"tell + ask, n = {n}, d = {d}, {PEERS[method][0]}",
                shown,
                f">= {least} x" if least else "",
                # A mean without its refits would flatter.
                result["ratio"] >= least and shown["refits"] >= refits_within(n, interval(n + 1)) if least else None,
            )
        )
    return rows


PART = Part(
    "tell_ask",
    "tell + ask against Optuna GPSampler, BoTorch and bayesian-optimization",
    _units,
    _rows,
    note="Ours: every trial of one refit interval, from the ask that begins the refit, at n = 1,000 from the one after "
    "the fit of the bulk until a tenth more were told, so that all work of refits lies inside the clock; there "
    "one that leaves theta leaves the factor, too, which is most of the work. A block of Optuna ends after 60 s, with "
    "the trial in which they are over; one of BoTorch and bayesian-optimization, "
    "which have no target, after 20 s. best f: the least noise-free value that the timed trials found, median of "
    "the runs.",
)
