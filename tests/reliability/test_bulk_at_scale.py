"""A bulk of trials is stored as a whole or not at all, and a million of them fit beside the data."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hpo_fast.space import Float, Space
from hpo_fast.study import Study

SPACE = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))
SIZE, KILLS = 20_000, 6

_ADD = """
import sys
import numpy as np
from hpo_fast.study import Study
study = Study.load(sys.argv[1], durability="process")
size = int(sys.argv[2])
while True:
    first = len(study.trials)
    i = np.arange(first, first + size)
    x = i / 1e7
    given = {"x": x, "y": 1 - x}
    print("begun", flush=True)
    study.add_trials(given, i.astype(float))
    print("told", first + size, flush=True)
"""


def test_killed_in_the_middle_of_a_bulk(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    Study(SPACE, "random", storage=path, seed=0)
    draw = random.Random(7)
    known = 0
    for _ in range(KILLS):
        adding = subprocess.Popen(
            [sys.executable, "-c", _ADD, str(path), str(SIZE)], stdout=subprocess.PIPE, cwd=tmp_path, text=True
        )
        assert adding.stdout is not None
        assert adding.stdout.readline() == "begun\n"
        if not known:  # however slow this is: one bulk is told before anything is killed
            assert adding.stdout.readline() == f"told {SIZE}\n"
            known = SIZE
        time.sleep(draw.uniform(0.0, 0.6))  # a bulk of that size takes some 0.15 s
        adding.send_signal(signal.SIGKILL)
        rest, _ = adding.communicate()
        told = [int(line.split()[1]) for line in rest.splitlines() if line.startswith("told ")]
        known = max([known, *told])
        study = Study.load(path)
        n = len(study.trials)
        assert n % SIZE == 0 and n >= known, "a bulk is there in part, or was lost"
        results = study._journal.results(-1)
        assert results.numbers.tolist() == list(range(n)) and results.values[:, 0].tolist() == list(range(n))
        assert study.total_trials == 0
        known = n
    assert study.trials[n - 1].params == {"x": (n - 1) / 1e7, "y": 1 - (n - 1) / 1e7}


_MEASURE = """
import resource, sys
import numpy as np
from hpo_fast.space import Float, Space
from hpo_fast.study import Study

def peak():
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most

form, path, n, d = sys.argv[1], sys.argv[2] or None, int(sys.argv[3]), int(sys.argv[4])
space = Space({f"x{i}": Float(0.0, 1.0) for i in range(d)})
study = Study(space, "grid", storage=path, seed=0, durability="process")  # it reads the history
study.add_trials({f"x{i}": np.full(100, 0.125) for i in range(d)}, np.zeros(100))
study.tell(study.ask(), 0.0)  # what is imported or built once is there now
X, y = np.random.default_rng(0).random((n, d)), np.arange(n, dtype=float)
given = {f"x{i}": X[:, i] for i in range(d)}
if form == "rows":
    given = ({f"x{i}": value for i, value in enumerate(row.tolist())} for row in X)
before = peak()
study.add_trials(given, y)
study.tell(study.ask(), -1.0)
assert study.best_trial.value == -1.0
assert sum(trial.number for trial in study.trials) == (n + 102) * (n + 101) // 2
print(peak() - before)
if path is not None:
    study = Study.load(path)
    assert study.best_trial.value == -1.0
    study.ask()
    print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="it has no resource module")
@pytest.mark.parametrize("form", ["columns", "rows"])
@pytest.mark.parametrize("stored", [False, True])
def test_memory_of_a_million_trials(form: str, stored: bool, tmp_path: Path) -> None:
    n, d = 1_000_000, 10
    raw = 8 * n * (d + 1)
    path = str(tmp_path / "study.db") if stored else ""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, form, path, str(n), str(d)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    peaks = np.array(done.stdout.split(), dtype=float)
    assert np.all(peaks < 4 * raw), f"{peaks / raw} times the data"
