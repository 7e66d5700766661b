"""Measuring rods: what this machine does in a product of matrices and in reading memory, in the process of a figure."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

# GFLOP/s of the machine that absolute targets are meant for: seconds are normalised to it.
REFERENCE_RATE = 90.0
RATE_N = 3000
BYTES = 2**28  # eight times the last cache of the machines seen


def gemm(n: int) -> Callable[[], None]:
    """One product of two n x n matrices by SciPy's BLAS, with the threads of the process, into the same memory."""
    from scipy.linalg.blas import dgemm

    rng = np.random.default_rng(n)
    A, B = (np.asfortranarray(rng.random((n, n))) for _ in range(2))
    C = np.zeros((n, n), order="F")

    def product() -> None:
        dgemm(1.0, A, B, c=C, overwrite_c=1)

    return product


def gemm_rate(n: int = RATE_N, repeats: int = 3) -> float:
    """GFLOP/s of that product: the best of some, after one that nobody counts, as whatever disturbs makes it slower."""
    product = gemm(n)
    product()
    return 2e-9 * n**3 / min(_seconds(product) for _ in range(repeats))


def read_rate(threads: int, repeats: int = 9) -> float:
    """GB/s at which `threads` threads read memory: the best of some, for whatever disturbs makes it slower."""
    parts = np.array_split(np.ones(BYTES // 8), threads)  # zeros would share one page
    with ThreadPoolExecutor(threads) as pool:
        return 1e-9 * BYTES / min(_seconds(lambda: list(pool.map(np.max, parts))) for _ in range(repeats))


def normalised(seconds: float, rate: float) -> float:
    """Seconds on a machine of REFERENCE_RATE.

    Args:
        seconds: measured.
        rate: of `gemm_rate`, at RATE_N, with the same threads in the same run.
    """
    return seconds * rate / REFERENCE_RATE


def _seconds(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began
