"""The examples and the README's code run as they stand, each in a folder and a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import hpo_fast as hpo

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
README = (ROOT / "README.md").read_text()


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example(path: Path, tmp_path: Path) -> None:
    if "sklearn" in path.read_text():
        pytest.importorskip("sklearn")
    command = re.search(r"^hpo-fast (.*)$", path.read_text(), re.MULTILINE)  # the example is for the command line
    if command is None:
        assert re.search(r"\d", run([str(path)], tmp_path)), "an example prints what it found"
        return
    (tmp_path / path.name).write_text(path.read_text())
    assert "best value" in run(["-m", "hpo_fast", *command[1].split()], tmp_path)


def test_there_are_examples_for_scripts_for_the_command_line_and_for_ask_and_tell() -> None:
    assert {path.name for path in EXAMPLES} >= {"own_objective.py", "train.py", "ask_tell.py"}


def test_the_readmes_code_runs(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 3
    (tmp_path / "readme.py").write_text("\n".join(blocks))
    run(["readme.py"], tmp_path)


def test_the_readme_begins_with_the_two_commands_and_shows_the_first_example() -> None:
    first, second = re.findall(r"^    (pip install.*)$", README, re.MULTILINE)[:2]
    assert first == 'pip install ".[demo]" && hpo-fast demo'
    assert second == 'pip install ".[test]" && pytest'
    example = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    code = [line for line in example.splitlines() if line.strip()]
    assert len(code) <= 15


def test_every_public_name_that_the_readme_uses_exists() -> None:
    names = set(re.findall(r"\bhpo\.([A-Za-z_]+)", README))
    assert names
    assert [name for name in names if not hasattr(hpo, name)] == []
