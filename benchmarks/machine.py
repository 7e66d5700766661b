"""Where a result comes from: machine, processors, threads, versions, instruction set, date."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

import hpo_fast

PACKAGES = (
    *("numpy", "scipy", "optuna", "torch", "greenlet", "cmaes", "scikit-learn", "botorch", "gpytorch"),
    *("bayesian-optimization", "threadpoolctl"),
)


def describe(threads: int) -> dict[str, Any]:
    """Everything that a reader needs to compare a figure with another one."""
    from hpo_fast._core.gp import simd

    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "system": platform.platform(),
        "cpu": _cpu(),
        "cores": cores(),
        "threads": threads,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_at_start": round(os.getloadavg()[0], 2),
        "instruction_set": simd(),
        "python": platform.python_version(),
        "versions": {name: found for name in ("hpo_fast", *PACKAGES) if (found := version(name))},
    }


@cache
def computer() -> dict[str, str | None]:
    """What a kept figure depends on besides the code, the peer and the threads."""
    here = describe(0)
    own = {name: here[name] for name in ("machine", "cpu", "instruction_set", "python")}
    return own | {name: version(name) for name in ("numpy", "scipy")}


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def our_code() -> str:
    """A digest of the package as it is installed: a stored figure counts only for the code that gave it."""
    return _digest(Path(next(iter(hpo_fast.__path__))), ("*.py", "*.so", "*.pyd"))


def bench_code() -> str:
    """The same of all of the benchmarks, for a measurement calls more than the file that it stands in."""
    return _digest(Path(__file__).parent, ("*.py",))


def _digest(root: Path, patterns: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in root.rglob(pattern)}):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]
