"""One tell and one ask of a study after n told trials; between two refits, whose cost bench_gp.Refit shows."""

from __future__ import annotations

import numpy as np
from hpo_fast_bench.histories import history
from hpo_fast_bench.methods import METHODS
from hpo_fast_bench.speed.bench_gp import SIZES


class AskTell:
    """BayesianOptimization in memory."""

    params = SIZES
    param_names = ("n", "d")
    timeout = 600.0

    def setup(self, n: int, d: int) -> None:
        from hpo_fast._core.gp import n_threads_by_default

        self.past = history(n, d, 0)
        self.session = METHODS["hpo_fast"](self.past.space, 0, n_threads_by_default())
        self.session.add(self.past.columns(), self.past.y)
        self._values = [self.past.f(np.array(list(self.session.ask().values())))]  # the first fit happens here

    def _one(self) -> None:
        self.session.tell(self._values[-1])
        self._params = self.session.ask()

    def time_ask_tell(self, n: int, d: int) -> None:
        self._one()

    def peakmem_ask_tell(self, n: int, d: int) -> None:
        self._one()

    def track_best_of_eight(self, n: int, d: int) -> float:
        """The least noise-free value of eight trials."""
        for _ in range(8):
            self._one()
            self._values.append(self.past.f(np.array(list(self._params.values()))))
        return min(self._values)
