"""When Bayesian optimization fits theta anew, to which observations, and over how many asks."""

from __future__ import annotations

REFIT_ALWAYS = 64  # up to so many observations every ask fits theta if anything is new: it moves, and it costs little
REFIT_GROWTH = 1.1  # then when n grew by 10 %: these refits cost as much as four at the end (1/(1 - 1.1^-3))
BULK_GROWTH = 1.5  # so many came at once that theta may be of no use for them
# From so many observations on a refit, but that of a bulk, is of the place where the search is: a fit to all takes what
# is small there, and matters, for noise. It is due, too, when twice as many were told since the last fit to all as at
# the refit before: they come from a place that theta knows nothing of. The first time after a 64th of all, within
# bounds: the refit of an exact model takes as long as some 30 asks.
NEAR_FROM = 1000
FIRST_NEAR, LEAST_FIRST, MOST_FIRST = 64, 32, 128
# What such a fit takes: so many a parameter (a thousand random trials tell less about ten length scales than the
# 160 nearest to the best), within bounds.
NEAREST_EACH, LEAST_NEAREST, MOST_NEAREST = 16, 128, 512
# Most of its work is the new factor, 4 ms at 1,000 observations and 3 s at 10,000 (Zen 5). It is spread over n / 128
# of the asks that follow, so that none of them waits for it; of the model of many observations, whose work hardly
# grows, over at most 64. The ask that begins it reads all points, to find the nearest: not spread, 0.1 to 0.2 s at
# 1,000,000.
SPREAD_OVER, MOST_SHARES = 128, 64
# Forced, the exact model goes on where its factor grows by single rows (CHUNKS_BEFORE of csrc/hpo/factor.cpp), and one
# that completes half a panel, one in 32, makes an ask long. A share of n / 64 is less work than that and so waits, but
# where its ask ends the refit; one of n / 128 was more, and both fell into one. (Zen 3, 10,000 told, d = 20, 330 trials
# in which one refit ended and another began, one run each: the longest took 0.60 s, and 0.90 with n / 128.)
HALVES_FROM, SPREAD_EXACT = 4096, 64


def is_bulk(n: int, newest: int) -> bool:
    """Whether n observations are so many more than those told at the newest refit that all are fitted at once."""
    return n > REFIT_ALWAYS and n > BULK_GROWTH * newest


def is_due(n: int, fitted: int, to_all: int) -> bool:
    """Whether n observations are to be fitted.

    Args:
        n: told.
        fitted: told at the newest refit.
        to_all: told at the newest one to all of them.
    """
    if n <= fitted:
        return False
    if n <= REFIT_ALWAYS or n >= REFIT_GROWTH * fitted:
        return True
    first = min(max(to_all // FIRST_NEAR, LEAST_FIRST), MOST_FIRST)
    return n >= NEAR_FROM and n >= fitted + max(first, fitted - to_all)


def nearest(n: int, blocks: int) -> int:
    """How many of n observations, those nearest to the best, a refit that is spread takes; 0: all."""
    count = min(max(NEAREST_EACH * blocks, LEAST_NEAREST), MOST_NEAREST)
    return count if count < n else 0


def shares(n: int, exact: bool) -> int:
    """The asks over which a refit at n observations is spread, before the one that ends it.

    Args:
        n: told when it began.
        exact: whether the exact model is forced, so that its work grows with n^3 however large n is.
    """
    if exact:
        return n // (SPREAD_EXACT if n >= HALVES_FROM else SPREAD_OVER)
    return min(n // SPREAD_OVER, MOST_SHARES)
