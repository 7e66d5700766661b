"""Priors: where random sampling looks first."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hpo_fast.errors import SpaceError
from hpo_fast.space.values import finite


@dataclass(frozen=True, slots=True)
class Normal:
    """Draw a parameter from a normal distribution, cut at the parameter's bounds.

    Args:
        mu: mean, of the value or, where the parameter is logarithmic, of its natural logarithm.
        sigma: standard deviation of the same quantity, above 0.

    Raises:
        SpaceError: mu is not finite, or sigma is not finite and positive.
    """

    mu: float
    sigma: float

    def __post_init__(self) -> None:
        for name in ("mu", "sigma"):
            object.__setattr__(self, name, finite(getattr(self, name), f"Normal({name})"))
        if self.sigma <= 0.0:
            raise SpaceError(f"Normal: sigma > 0 must hold, but got sigma={self.sigma!r}; give a positive one.")

    def __repr__(self) -> str:
        return f"Normal({self.mu!r}, {self.sigma!r})"


class NormalCut:
    """A normal distribution of the distance from a scale's lower end, cut to [first, last], as codes of that scale."""

    def __init__(self, mu: float, sigma: float, first: float, last: float, label: str) -> None:
        from statistics import NormalDist  # here, because it brings decimal and fractions with it

        a, b = (first - mu) / sigma, (last - mu) / sigma
        # In the upper tail 1 - cdf has the digits, so the distribution is mirrored into the lower one.
        self._flip = a > 0.0
        if self._flip:
            a, b = -b, -a
        self._low_mass, self._high_mass = _normal_cdf(a), _normal_cdf(b)
        if self._high_mass < 1e-300:
            raise SpaceError(
                f"{label}: the prior must hold some of its probability inside the bounds, but they are more than "
                f"37 sigma away from mu; move mu, widen sigma or move the bounds."
            )
        # So narrow a range holds a density that is constant to about 1e-8, and its mass has lost its digits.
        self._uniform = self._high_mass - self._low_mass <= 1e-9 * self._high_mass
        self._mu, self._sigma, self._first, self._width = mu, sigma, first, last - first
        self._quantile = NormalDist().inv_cdf

    def spread(self, w: float) -> float:
        """Push a uniform number in [0, 1) through the quantile function; give a code in [0, 1]."""
        if self._uniform:
            return w
        # w stands for [w, w + 2**-53): neither end of a wide range is hit just because 0 or 1 - 2**-53 was drawn.
        w = max(1.0 - w if self._flip else w, 2.0**-54)
        z = self._quantile(min(self._low_mass + w * (self._high_mass - self._low_mass), 1.0 - 2.0**-53))
        x = self._mu + self._sigma * (-z if self._flip else z)
        return min(max((x - self._first) / self._width, 0.0), 1.0)


def _normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))
