"""HPO_FAST_SIMD and the numbers of threads do what they say; each case is a process of its own."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from hpo_fast._core import gp as core
from hpo_fast.space import Float, Space

LEVEL = core.simd()


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.mark.skipif(not LEVEL.startswith("v"), reason="the levels are those of x86-64")
@pytest.mark.parametrize("level", ["2", "3", "4"])
def test_a_forced_level_is_the_one_that_runs(level):
    done = run("from hpo_fast._core.gp import simd; print(simd())", HPO_FAST_SIMD=level)
    if f"v{level}" <= LEVEL:
        assert done.stdout == f"v{level}\n"
    else:
        assert f"HPO_FAST_SIMD={level}" in done.stderr and done.returncode == 1


@pytest.mark.skipif(not LEVEL.startswith("v"), reason="the levels are those of x86-64")
@pytest.mark.parametrize("level", ["1", "5", "x", "34"])
def test_another_level_is_refused(level):
    done = run("import hpo_fast", HPO_FAST_SIMD=level)
    assert done.returncode == 1 and "HPO_FAST_SIMD must be 2, 3 or 4" in done.stderr
    assert "pip install" not in done.stderr, "the core is built: that is not the trouble"


THREADS = """
import os
import numpy as np
from hpo_fast._core.gp import GaussianProcess
from hpo_fast.space import Float, Space
before = len(os.listdir("/proc/self/task"))
space = Space({f"x{i}": Float(0.0, 1.0) for i in range(3)})
U = np.random.default_rng(0).random((600, 3))
handle = GaussianProcess(space.layout, n_threads=%s)
handle.append(U, U[:, :1])
handle.predict(U, gradient=True)
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="threads are counted in /proc")
@pytest.mark.parametrize(
    "asked, environment, started", [("1", "3", 0), ("3", "1", 2), ("None", "1", 0), ("None", "3", 2)]
)
def test_as_many_threads_as_were_asked_for(asked, environment, started):
    done = run(THREADS % asked, HPO_FAST_NUM_THREADS=environment)
    assert done.stdout.split() == [str(started)], done.stderr


def test_a_bad_number_of_threads_is_refused():
    done = run(
        "from hpo_fast.backends import uniforms; import hpo_fast as h; h.GaussianProcess(2)", HPO_FAST_NUM_THREADS="0"
    )
    assert done.returncode == 1 and "HPO_FAST_NUM_THREADS" in done.stderr


def busy_handle():
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(4)})
    handle = core.GaussianProcess(space.layout, n_threads=1)
    U = np.random.default_rng(0).random((1200, 4))
    handle.append(U, np.sin(9.0 * U[:, :1]))
    return handle


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_handle_that_was_busy_at_a_fork_says_so_and_an_idle_one_works():
    handle = busy_handle()

    def in_child():
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that hangs ends itself, and fails the test
            try:
                handle.predict(np.full((1, 4), 0.5))
                code = 0
            except RuntimeError:
                code = 7
            os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert in_child() == 0
    worker = threading.Thread(target=handle.refit)
    worker.start()
    asking = threading.Thread(target=lambda: handle.theta)  # waits for the refit, once that has begun
    time.sleep(0.05)
    asking.start()
    asking.join(0.01)
    busy = asking.is_alive()
    code = in_child()
    if busy and worker.is_alive():  # still at it after the fork, so it was at the fork
        assert code == 7
    assert code in (0, 7)
    worker.join()
    asking.join()
    assert in_child() == 0


def test_verbs_from_several_threads_come_one_after_the_other():
    handle = busy_handle()
    threads = [threading.Thread(target=call) for call in (handle.refit, lambda: handle.truncate(10))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert handle.n == 10
    with pytest.raises(ValueError, match="n must be between 0 and the 10 rows told"):
        handle.truncate(1000)
