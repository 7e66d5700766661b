from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("worker.py")


class Workers:
    """Starts, kills and awaits worker processes."""

    def __init__(self, folder: Path) -> None:
        self._errors = open(folder / "errors.txt", "w+")
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=folder,
            text=True,
        )
        self._alive: set[int] = set()

    def _order(self, order: dict[str, Any]) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, **job: Any) -> int:
        pid = self._order(job)
        self._alive.add(pid)
        return pid

    def wait(self, pid: int) -> int:
        """Give the exit code, or minus the signal."""
        code = self._order({"wait": pid})
        self._alive.discard(pid)
        return code

    def kill(self, pid: int) -> int:
        os.kill(pid, signal.SIGKILL)
        return self.wait(pid)

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def close(self) -> None:
        for pid in list(self._alive):
            self.kill(pid)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()
        self._errors.close()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    started = Workers(tmp_path)
    yield started
    started.close()


@pytest.fixture(scope="session")
def worker() -> ModuleType:
    """The script that the workers run, for its space, strategies and objective."""
    spec = importlib.util.spec_from_file_location("hpo_fast_test_worker", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
