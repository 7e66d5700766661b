"""What `import hpo_fast` loads, what it offers, what it says without its compiled core."""

from __future__ import annotations

import logging
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import hpo_fast as hpo

EXTRAS = {"sklearn", "matplotlib", "tqdm", "optuna", "pandas", "torch", "cupy", "hypothesis", "pytest"}


def fresh(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)


def modules_after(statement: str, folder: Path) -> set[str]:
    done = fresh(f"import sys; {statement}; print(*sorted(sys.modules), sep='\\n')", folder)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_loads_numpy_and_scipy_linalg_at_most(tmp_path: Path) -> None:
    allowed = modules_after("import numpy, scipy.linalg", tmp_path)
    loaded = modules_after("import hpo_fast", tmp_path)
    assert "hpo_fast.study" in loaded
    assert {name for name in loaded - allowed if name.partition(".")[0] == "scipy"} == set()
    assert {name.partition(".")[0] for name in loaded} & EXTRAS == set()


def test_a_study_with_the_default_strategy_needs_no_extra(tmp_path: Path) -> None:
    code = "import hpo_fast as h; h.minimize(lambda t: t['x'] ** 2, h.Space(x=h.Float(-1, 1)), n_trials=12, seed=0)"
    assert {name.partition(".")[0] for name in modules_after(code, tmp_path)} & EXTRAS == set()


def test_every_public_name_is_there() -> None:
    for name in hpo.__all__:
        assert getattr(hpo, name) is not None
    assert len(set(hpo.__all__)) == len(hpo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Sutdy'"):
        _ = hpo.Sutdy  # type: ignore[attr-defined]


def test_version_is_that_of_the_installation() -> None:
    assert hpo.__version__ == version("hpo_fast")


def test_the_one_logger_is_silent_until_it_is_given_a_handler(tmp_path: Path) -> None:
    done = fresh("import logging, hpo_fast; logging.getLogger('hpo_fast').warning('heard')", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    loud = "import logging; logging.basicConfig(); import hpo_fast; logging.getLogger('hpo_fast').warning('heard')"
    assert "heard" in fresh(loud, tmp_path).stderr
    assert not [name for name in logging.root.manager.loggerDict if name.startswith("hpo_fast.")]


def test_without_the_compiled_core_the_import_says_so(tmp_path: Path) -> None:
    code = """
import sys
class NotBuilt:
    def find_spec(self, name, path, target=None):
        if name.startswith("hpo_fast._core."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NotBuilt())
import hpo_fast
"""
    done = fresh(code, tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("hpo_fast.errors.BackendUnavailable: the compiled core of hpo_fast must be built")
    assert "pip install ." in last
