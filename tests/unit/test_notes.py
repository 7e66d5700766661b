from __future__ import annotations

import json
from typing import Any

import pytest

from hpo_fast.strategies.base import Notes, written_notes


def test_notes_are_a_sequence() -> None:
    whole: list[Any] = [{}, {"a": 1}, {}, {"b": 2}]
    for notes in (Notes(4, {1: whole[1], 3: whole[3]}), Notes(4, {1: '{"a": 1}', 3: '{"b": 2}'}, json.loads)):
        check(notes, whole)


def check(notes: Notes, whole: list[Any]) -> None:
    assert len(notes) == 4 and list(notes) == whole and notes[-1] == {"b": 2} and notes[1:3] == whole[1:3]
    with pytest.raises(IndexError):
        notes[4]
    assert list(written_notes(notes)) == [(1, {"a": 1}), (3, {"b": 2})]
    assert list(written_notes(whole)) == list(enumerate(whole))
