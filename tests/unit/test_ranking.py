from __future__ import annotations

import numpy as np
import pytest

from hpo_fast.study.ranking import non_dominated


@pytest.mark.parametrize("pairs", [1, 7, 50, 2**18])
def test_the_front_does_not_depend_on_the_blocks(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_fast.study.ranking._BLOCK_PAIRS", pairs)
    rng = np.random.default_rng(0)
    for k in (2, 3):
        Y = rng.integers(0, 6, (120, k)).astype(float)
        keep, values = non_dominated(Y)
        beaten = [any((y <= z).all() and (y < z).any() for y in Y) for z in Y]
        assert sorted(keep.tolist()) == [i for i in range(120) if not beaten[i]]
        np.testing.assert_array_equal(values, Y[keep])
