"""One measurement in a process of its own: a clean heap, the thread counts asked for, no tuning that slows a BLAS."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Some machines set these for an older OpenBLAS; they slow a current one, for either side.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "HPO_FAST_NUM_THREADS")


class ChildFailed(RuntimeError):
    """The measurement raised, or ran out of time."""


def environment(threads: int) -> dict[str, str]:
    """The variables of a child: OpenBLAS and OpenMP read theirs when they are loaded, so a parent must set them."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return kept | {name: str(threads) for name in THREADS}


def call(function: str, arguments: Mapping[str, Any], threads: int, timeout: float | None = None) -> Any:
    """Run "module:function" with JSON-able keyword arguments in a child, and give its JSON-able result.

    Raises:
        ChildFailed: with the end of what the child printed on standard error.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "result.json"
        # -P: never the folder in which somebody stands, always what is installed.
        alive, held = os.pipe()
        command = [sys.executable, "-P", "-m", "hpo_fast_bench.child", function, str(answer), str(alive)]
        try:
            done = subprocess.run(
                command,
                input=json.dumps(dict(arguments)),
                env=environment(threads),
                pass_fds=(alive,),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise ChildFailed(f"{function} did not end within {timeout:g} s") from None
        finally:
            os.close(alive)
            os.close(held)
        if done.returncode != 0 or not answer.exists():
            raise ChildFailed(f"{function} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
        return json.loads(answer.read_text())


def warm_blas() -> None:
    """Start the threads of NumPy's and SciPy's BLAS, which are two libraries, and let them allocate their buffers."""
    from scipy.linalg import cholesky, solve_triangular

    A = np.random.default_rng(0).standard_normal((600, 600))
    for _ in range(3):
        L = cholesky(A @ A.T + 600 * np.eye(600), lower=True)
        solve_triangular(L, A, lower=True)


def end_with_parent(alive: int) -> None:
    """A child that outlives a killed parent would disturb what is measured next: the pipe ends when the parent does."""

    def wait() -> None:
        os.read(alive, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    function, answer, alive = sys.argv[1:]
    end_with_parent(int(alive))
    wrong = [name for name in UNSET if name in os.environ]
    if wrong:
        raise SystemExit(f"{', '.join(wrong)} must not be set where time is measured")
    module, _, name = function.partition(":")
    result = getattr(importlib.import_module(module), name)(**json.load(sys.stdin))
    Path(answer).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
