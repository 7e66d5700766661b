"""The handle of two Parzen densities, of the good trials and of the others: the contract that both backends keep.

A backend sees arrays and one Layout, never a Space, a Trial or a dict. Letters: `n` observations told, `d` columns of
the unit cube, `b` blocks of the layout (one a parameter), `m` points. All arrays are C-contiguous float64 (others are
converted); read-only ones are accepted and none is changed. A verb that raises leaves its handle as it was.

The split
    Rows are in order of telling. Good are the g = min(ceil(gamma n), most_good) rows of least (y, row), fewer where
    fewer have a finite y: a failed row is never good. Bad are the newest `window` rows, less the good ones, and the
    pending points.
The kernels
    Densities are relative to the uniform one over the codes (continuous: 1; a cell of a discrete block: its length).
    A density is (prior_weight + sum of weight_k kernel_k) / (sum of all weights); the prior is uniform. A kernel is a
    product over the blocks that the evaluated point has; a block that the kernel's own point lacks counts as the factor
    1, the prior. With multivariate=False each block has a mixture by itself, of the kernels whose points have it, and
    the density is the product of the mixtures.
    Weights: 1; with multivariate=True the good kernel of rank r = 0, 1, .. has one in proportion to ln(g + 1) -
    ln(r + 1), g in sum.
    Numbers, with centre c and bandwidth s: Z = Phi((1 - c)/s) - Phi(-c/s), the mass inside.
        continuous: phi((u - c)/s)/(s Z). Ordered, cell [lo, hi] around the code, h = (hi - lo)/s: for h <= 1/8,
        phi(z)/(s Z) exp(h^2 (z^2 - 1)/24), z from the cell's middle (the exact mass up to h^4); else
        (Phi((hi - c)/s) - Phi((lo - c)/s))/((hi - lo) Z).
        Good: of the k good centres of the block in order (stable), s is the larger distance to the two neighbours, at
        an end the distance to the one, and max(c, 1 - c) where k = 1, clipped to [1/min(100, k + 2), 1].
        Bad: one s for all. q = max(1, min(n, window)) rounded down to a power of 2^(1/4); with e numeric blocks s = 0.1
        q^(-1/(e + 4)); with multivariate=False s = 2/min(100, q + 2).
    Choices: of `size`, with K = 1 + all kernels of the density: size (K + 1)/(size + K) on the kernel's own choice,
    size/(size + K) on every other.
The draws
    Candidate i, block j: r = uniform(seed, number, 2^32 0x7470 + 2 (i b + j) + 1) gives the value, by the inverse of
    the kernel's distribution function for numbers; for a choice, where r < f = size/(size + K), the one at r/f, else
    the kernel's own. The same stream less 1, of block 0, chooses the kernel (with multivariate=False, of each block,
    among those that have it): the first with r W < the sum of weights up to it, W the sum of all, the prior last. The
    prior, and a kernel whose point lacks the block, take r itself as the code. Children exist as their parents were
    drawn.

Everything is a function of the rows in order of telling, bit for bit, whether they came one by one or at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from hpo_fast.backends import BACKENDS
from hpo_fast.errors import BackendUnavailable

if TYPE_CHECKING:
    from hpo_fast.space.layout import Layout

Array = npt.NDArray[np.float64]

# Newest rows that make up the bad density. With 128, 512, 1024, 2048 and all rows the values reached after 3,000 trials
# of nine functions are alike (6 seeds); the more, the longer an ask takes.
WINDOW = 1024
MOST_CANDIDATES = 4096


class Parzen(Protocol):
    """Two densities over one Layout that move with every row told."""

    @property
    def n(self) -> int:
        """Observations told."""

    @property
    def d(self) -> int:
        """Columns of a point."""

    def append(self, U: Array, y: Array) -> None:
        """Adds m observations after those told.

        Args:
            U: (m, d) codes; NaN where a block with conditions does not exist, and nowhere else.
            y: (m,) values, minimised; +inf marks a failed trial.

        Raises:
            ValueError: wrong shape, a code outside [0, 1], a NaN in a block that always exists, a y of NaN or -inf.

        Cost: O(d) a row, and O(window d) some forty times while the window fills.
        """

    def log_density(self, U: Array, pending: Array | None = None) -> tuple[Array, Array]:
        """The logarithms (m,) of the good and of the bad density at U (m, d), relative to the uniform one.

        Raises:
            ValueError: U or pending (r, d) as in `append`.

        Cost: O(m (window + r) d).
        """

    def sample(self, m: int, key: tuple[int, int]) -> Array:
        """Draws (m, d) representable points from the good density; key = (seed, number)."""

    def propose(self, pending: Array | None, key: tuple[int, int]) -> tuple[Array, Array]:
        """Draws `candidates` points from the good density and puts those first that are likely good, not bad.

        With multivariate=False, the r-th best values of all blocks make a point, without those that do not exist.

        Args:
            pending: (r, d) points asked and not yet told, or None.
            key: (seed, number); the result is a function of it, of the handle's state and of `pending`.

        Returns:
            (candidates, d) representable points and (candidates,) values ln(good/bad), in falling order.

        Raises:
            ValueError: pending as in `append`.

        Cost: O(candidates (window + r) d), whatever n.
        """


def parzen(
    layout: Layout,
    *,
    multivariate: bool = True,
    candidates: int = 24,
    gamma: float = 0.15,
    most_good: int = 25,
    prior_weight: float = 1.0,
    window: int = WINDOW,
    backend: str = "auto",
) -> Parzen:
    """Makes the handle; the backend is chosen here, once.

    Args:
        layout: the columns of a point.
        multivariate: whether a kernel covers all blocks together, or each block has a mixture by itself.
        candidates: points that one `propose` draws, 1 to MOST_CANDIDATES.
        gamma: share of the observations that is good, in (0, 1).
        most_good: good observations at most, >= 1.
        prior_weight: weight of the uniform density, in observations, > 0.
        window: newest observations that the bad density remembers, >= 1.
        backend: "auto" and "cpu" are the compiled core, "reference" is plain NumPy.

    Raises:
        BackendUnavailable: an unknown backend.
        ValueError: an argument out of its range.
    """
    if backend not in BACKENDS:
        raise BackendUnavailable(f"backend must be one of {', '.join(BACKENDS)}, but got {backend!r}; take one")
    for name, value, most in (
        ("candidates", candidates, MOST_CANDIDATES),
        ("most_good", most_good, 1 << 20),
        ("window", window, 1 << 24),
    ):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
            raise ValueError(f"{name} must be an integer from 1 to {most}, but got {value!r}; leave it out")
    if not 0.0 < gamma < 1.0:
        raise ValueError(f"gamma must lie between 0 and 1, but got {gamma!r}; usual is 0.15")
    if not 0.0 < prior_weight < math.inf:
        raise ValueError(f"prior_weight must be a finite number > 0, but got {prior_weight!r}; usual is 1")
    if backend == "reference":
        from hpo_fast.backends.reference_parzen import Parzen as Handle
    else:
        from hpo_fast._core.parzen import Parzen as Handle  # type: ignore[assignment]
    handle: Parzen = Handle(
        layout,
        multivariate=multivariate,
        candidates=candidates,
        gamma=gamma,
        most_good=most_good,
        prior_weight=prior_weight,
        window=window,
    )
    return handle
