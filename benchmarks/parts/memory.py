"""Peak memory of a tell and two asks on a long history, refits included, above the imports."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo_fast_bench.parts import Part, Row, Unit, size_of

MOST_RATIO = 4


def resident() -> int:
    """Bytes of this process in memory now."""
    return _status("VmRSS") if Path("/proc/self/status").exists() else peak()


def peak() -> int:
    """The most bytes of this process in memory so far."""
    if Path("/proc/self/status").exists():
        return _status("VmHWM")
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def forget_peak() -> None:
    """Lets `peak` begin anew, with what was freed handed back, where the system can: else it would be used again."""
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):  # of glibc
        library.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))


def measure(n: int, d: int, threads: int) -> dict[str, Any]:
    """A study of n told trials that asks (the first fit), tells and asks."""
    import numpy as np
    from hpo_fast_bench.histories import history
    from hpo_fast_bench.methods import METHODS

    past = history(n, d, 0)  # SciPy's parts are imported here, and belong to the imports
    columns = past.columns()
    METHODS["hpo_fast"](past.space, 0, threads)
    before = resident()
    session = METHODS["hpo_fast"](past.space, 0, threads)
    session.add(columns, past.y)
    params = session.ask()
    session.tell(past.f(np.array(list(params.values()))))
    session.ask()
    return {"bytes": peak() - before, "before": before, "n": n}


def _units(quick: bool) -> list[Unit]:
    n, d = (200, 3) if quick else (3000, 20)
    return [Unit(f"n{n}-d{d}", "hpo_fast_bench.parts.memory:measure", {"n": n, "d": d})]


def _rows(results: Mapping[str, Any]) -> list[Row]:
    rows = []
    for key, result in results.items():
        n, d = size_of(key)
        ratio = result["bytes"] / (8 * n * n)
        cells = {"MB": result["bytes"] / 1e6, "8 n^2 MB": 8e-6 * n * n, "ratio": ratio}
        rows.append(Row(f"peak memory, n = {n}, d = {d}", cells, f"<= {MOST_RATIO} x 8 n^2", ratio <= MOST_RATIO))
    return rows


PART = Part("memory", "peak memory above the imports", _units, _rows, note="In a process of its own, fits included.")
