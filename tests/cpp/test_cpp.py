"""Runs the C++ test program under sanitizers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hpo_fast._core.gp import simd


def run(program: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, env={**os.environ, **environment}, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def levels() -> list[str]:
    """What HPO_FAST_SIMD may force here; "" lets the machine decide, where there is nothing to force."""
    best = simd()
    return [level for level in "234" if f"v{level}" <= best] if best.startswith("v") else [""]


def test_core(core_program: Path) -> None:
    """Every C++ test passes, and no sanitizer objects."""
    names = run(core_program, "list").split()
    assert len(names) == len(set(names)) >= 25
    memory = [name for name in names if name.startswith("memory_")]  # many runs of each verb, whatever the level
    assert len(memory) >= 7
    for name in memory:
        run(core_program, name)
    others = [name for name in names if name not in memory]
    for level in levels():
        assert run(core_program, *others, HPO_FAST_SIMD=level).count("ok ") == len(others), f"HPO_FAST_SIMD={level}"


def test_unknown_name_is_an_error(core_program: Path) -> None:
    assert subprocess.run([str(core_program), "no_such_test"], capture_output=True).returncode == 2
    assert subprocess.run([str(core_program), "eval", "nothing"], capture_output=True).returncode == 2


@pytest.mark.slow
def test_core_under_thread_sanitizer(build_core: Callable[[str], Path]) -> None:
    """All but the tests of memory that ends: the pool, and what factor, likelihood, refits and search do with it."""
    program = build_core("thread")
    names = [name for name in run(program, "list").split() if not name.startswith("memory_")]
    assert run(program, *names).count("ok ") == len(names)
    threaded = [name for name in names if name.startswith(("pool_", "threads_"))]
    assert len(threaded) >= 11
    for name in threaded:  # by itself as well: what is made at the first use is made by whoever comes first
        run(program, name)
