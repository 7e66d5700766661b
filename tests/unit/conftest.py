"""Fixtures of the tests of trials that are added together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo_fast.space import Space
from hpo_fast.study import Study


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Study]:
    """make(space, ...): a study in memory, and one in a file."""

    def build(space: Space, strategy: Any = "random", **arguments: Any) -> Study:
        storage = None if request.param == "memory" else tmp_path / "study.db"
        return Study(space, strategy, storage=storage, **{"seed": 1, "durability": "process"} | arguments)

    return build


@pytest.fixture(params=[8192, 20], ids=["one chunk", "chunks of 20"])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many rows are read, written and read back at once."""
    monkeypatch.setattr("hpo_fast.space.columns.CHUNK", request.param)
    monkeypatch.setattr("hpo_fast.storage.file_journal.CHUNK", request.param)
    monkeypatch.setattr("hpo_fast.storage.reading.CHUNK", request.param)
    return int(request.param)
