"""The search of the model of many observations where trials have gathered about the optimum."""

from __future__ import annotations

import numpy as np

from hpo_fast import Float, Space
from hpo_fast.backends import gaussian_process
from hpo_fast.backends.base import Utility

LOG_EI = Utility("log_ei")


def test_the_point_asked_keeps_its_value_where_trials_have_gathered():
    """They are more than stand in the model as they are.

    With neighbours of its own for each point of them, one of those around was worth 1.3 times as much as the one asked.
    """
    n, gathered, d = 30_000, 3000, 5
    rng = np.random.default_rng(0)
    centre = np.full(d, 0.4)
    U = rng.random((n, d))
    U[-gathered:] = np.clip(centre + 0.03 * rng.standard_normal((gathered, d)), 0.0, 1.0)
    Y = np.sum((U - centre) ** 2, axis=1) + 0.02 * rng.standard_normal(n)
    space = Space({f"x{j}": Float(0.0, 1.0) for j in range(d)})
    handle = gaussian_process(space.layout, surrogate="vecchia")
    handle.append(U, Y[:, None])
    handle.set_theta(np.array([[*np.full(d, 1.0), 0.0, -5.0]]), n - gathered)
    found = handle.maximise(LOG_EI, 1, None, (0, 0))
    around = np.clip(found.U + 0.01 * rng.standard_normal((300, d)), 0.0, 1.0)
    asked, *others = handle.score(LOG_EI, np.concatenate([found.U, around]))
    assert abs(asked - found.values[0]) < 0.1
    assert asked > max(others) - 0.05
