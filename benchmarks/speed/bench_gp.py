"""The verbs of the compiled Gaussian process, in the style of airspeed velocity: setup, time_*, peakmem_*, track_*."""

from __future__ import annotations

import numpy as np
from hpo_fast_bench.parts.limits import model

from hpo_fast.backends.base import Utility

SIZES = [[100, 300, 1000, 3000], [5, 20]]
LOG_EI = Utility("log_ei")


class _Told:
    """A handle of n told points at a theta that suits the history, so that no fit is needed before the clock."""

    params = SIZES
    param_names = ("n", "d")
    timeout = 600.0

    def setup(self, n: int, d: int) -> None:
        self.n = n
        self.handle, self.past = model(n, d, more=16)  # the last ones are for appends and tests


class Append(_Told):
    """One told point more, and back."""

    def _one(self) -> None:
        self.handle.append(self.past.U[self.n : self.n + 1], self.past.y[self.n : self.n + 1, None])

    def time_append(self, n: int, d: int) -> None:
        self._one()
        self.handle.truncate(self.n)

    def peakmem_append(self, n: int, d: int) -> None:
        self._one()

    def track_log_likelihood(self, n: int, d: int) -> float:
        """After the append, without refactorising: rounding that piles up would show."""
        self._one()
        return float(self.handle.log_likelihood(self.handle.theta)[0][0])


class Refit(_Told):
    """A whole fit from the start of `setup`."""

    def time_refit(self, n: int, d: int) -> None:
        self.handle.refit()

    def peakmem_refit(self, n: int, d: int) -> None:
        self.handle.refit()

    def track_log_posterior(self, n: int, d: int) -> float:
        return float(self.handle.refit().log_posterior[0])


class Predict(_Told):
    """1,000 points."""

    def setup(self, n: int, d: int) -> None:
        super().setup(n, d)
        self.U = np.random.default_rng(1).random((1000, d))

    def time_predict(self, n: int, d: int) -> None:
        self.handle.predict(self.U)

    def time_predict_gradient(self, n: int, d: int) -> None:
        self.handle.predict(self.U, gradient=True)

    def peakmem_predict(self, n: int, d: int) -> None:
        self.handle.predict(self.U, gradient=True)

    def track_mean_error(self, n: int, d: int) -> float:
        """Root mean square of the predicted mean of the function, in units of its spread."""
        f = np.array([self.past.f(u) for u in self.U])
        mean = self.handle.predict(self.U)[0][:, 0] * self.handle.scale[0] + self.handle.shift[0]
        return float(np.sqrt(np.mean((mean - f) ** 2)) / np.std(f))


class Maximise(_Told):
    """The search of one ask."""

    def time_maximise(self, n: int, d: int) -> None:
        self.handle.maximise(LOG_EI, 1, None, (0, n))

    def peakmem_maximise(self, n: int, d: int) -> None:
        self.handle.maximise(LOG_EI, 1, None, (0, n))

    def track_log_ei(self, n: int, d: int) -> float:
        """The log expected improvement reached, the mean of eight searches with other random numbers."""
        return float(np.mean([self.handle.maximise(LOG_EI, 1, None, (0, i)).values[0] for i in range(8)]))
