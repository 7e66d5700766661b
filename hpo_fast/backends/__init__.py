"""Where strategies get their numerics from: array in, array out, no Space, no Trial, no dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo_fast._core.rng import uniforms
from hpo_fast.backends.base import EXACT_BELOW
from hpo_fast.errors import BackendUnavailable

if TYPE_CHECKING:
    from hpo_fast.backends.base import Surrogate
    from hpo_fast.space.layout import Layout

__all__ = ["BACKENDS", "gaussian_process", "read_threads", "uniforms"]

BACKENDS = ("auto", "cpu", "reference")
MOST_THREADS = 1024  # as of HPO_FAST_NUM_THREADS; each has its own scratch memory


def gaussian_process(
    layout: Layout,
    *,
    outputs: int = 1,
    kernel: str = "matern52",
    standardise: bool = True,
    mean: str = "constant",
    noise: float | None = None,
    prior: str | None = "default",
    bounds: Mapping[str, tuple[float, float]] | None = None,
    surrogate: str = "exact",
    exact_below: int = EXACT_BELOW,
    n_threads: int | None = None,
    backend: str = "auto",
) -> Surrogate:
    """Makes the handle of a Gaussian process; the backend is chosen here, once.

    Args:
        layout: the columns of a point.
        outputs: number of outputs; 1 in this version.
        kernel: "matern52", "matern32" or "rbf".
        standardise: whether values are warped and standardised, or taken as they are.
        mean: "constant" or "zero".
        noise: a fixed noise variance >= 0, in the units the model sees; None: inferred.
        prior: "default", or None for none.
        bounds: {"lengthscale": (low, high), "variance": (low, high), "noise": (low, high)} of `refit`, each 0 < low <=
            high; what is left out keeps its default.
        surrogate: "exact"; "vecchia": the summary of all observations at some hundred inducing points, and the nearest
            ones as they are; "auto": exact with fewer than `exact_below` observations.
        exact_below: observations from which on "auto" is "vecchia".
        n_threads: threads of the compiled core, 1 to MOST_THREADS; None: HPO_FAST_NUM_THREADS, or one a core. The
            reference leaves threads to NumPy.
        backend: "auto" and "cpu" are the compiled core, "reference" is plain NumPy.

    Raises:
        BackendUnavailable: an unknown backend, or one that this installation lacks.
        ValueError: an argument out of its range.
    """
    if backend not in BACKENDS:
        raise BackendUnavailable(f"backend must be one of {', '.join(BACKENDS)}, but got {backend!r}; take one")
    n_threads = read_threads(n_threads)
    if backend == "reference":
        from hpo_fast.backends import reference

        return reference.GaussianProcess(
            layout,
            outputs=outputs,
            kernel=kernel,
            standardise=standardise,
            mean=mean,
            noise=noise,
            prior=prior,
            bounds=bounds,
            surrogate=surrogate,
            exact_below=exact_below,
        )
    from hpo_fast._core import gp

    handle: Surrogate = gp.GaussianProcess(
        layout,
        outputs=outputs,
        kernel=kernel,
        standardise=standardise,
        mean=mean,
        noise=noise,
        prior=prior,
        bounds=bounds,
        surrogate=surrogate,
        exact_below=exact_below,
        n_threads=n_threads,
    )
    return handle


def read_threads(n_threads: Any) -> int | None:
    """Reads an argument n_threads: an integer from 1 to MOST_THREADS, also one of NumPy, or None for the default.

    Raises:
        ValueError: it is none of these.
    """
    if n_threads is None:
        return None
    integer = isinstance(n_threads, int | np.integer) and not isinstance(n_threads, bool)
    if not integer or not 1 <= n_threads <= MOST_THREADS:
        raise ValueError(
            f"n_threads must be an integer from 1 to {MOST_THREADS}, or None, but got {n_threads!r}; None uses every "
            "core"
        )
    return int(n_threads)
