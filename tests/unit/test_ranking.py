from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpo_fast import Float, Space, Study, TrialState
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


def test_ctrl_c_while_the_best_are_sought_leaves_all_for_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(Space(x=Float(0.0, 1.0)), "random", seed=0)
    study.add_trials({"x": [0.1, 0.2]}, [2.0, 1.0])

    def interrupted(Y: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("hpo_fast.study.ranking.non_dominated", interrupted)
        study.counts()
    assert study.counts()[TrialState.DONE] == 2 and study.best_trial.number == 1
