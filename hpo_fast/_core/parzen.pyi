import numpy as np
import numpy.typing as npt

from hpo_fast.space.layout import Layout

Array = npt.NDArray[np.float64]

class Parzen:
    def __init__(
        self,
        layout: Layout,
        *,
        multivariate: bool,
        candidates: int,
        gamma: float,
        most_good: int,
        prior_weight: float,
        window: int,
    ) -> None: ...
    @property
    def n(self) -> int: ...
    @property
    def d(self) -> int: ...
    def append(self, U: Array, y: Array) -> None: ...
    def log_density(self, U: Array, pending: Array | None = None) -> tuple[Array, Array]: ...
    def sample(self, m: int, key: tuple[int, int]) -> Array: ...
    def propose(self, pending: Array | None, key: tuple[int, int]) -> tuple[Array, Array]: ...
