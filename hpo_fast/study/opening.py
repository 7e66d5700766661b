"""How a study in a file is begun, continued or loaded. Imported only where there is a file: SQLite takes its time."""

from __future__ import annotations

import os
from typing import NamedTuple

from hpo_fast.errors import StorageError, StudyError
from hpo_fast.space import Space
from hpo_fast.storage.file import StoredStudy, StudyFile
from hpo_fast.strategies import make_strategy
from hpo_fast.strategies.base import Strategy
from hpo_fast.study.objectives import Objectives
from hpo_fast.study.told import as_json, drawn


class Opened(NamedTuple):
    """A study of an open file."""

    file: StudyFile
    stored: StoredStudy
    given: Strategy | None

    def make_strategy(self) -> Strategy:
        """Give the strategy that the user gave, or the file's. It has to be started.

        Raises:
            StrategyError: when the file's is not one of this package.
        """
        return self.given if self.given is not None else make_strategy(self.stored.strategy, self.stored.config)


def open_study(
    space: Space,
    strategy: Strategy | str | None,
    objectives: Objectives,
    storage: str | os.PathLike[str],
    name: str | None,
    seed: int | None,
    durability: str,
) -> Opened:
    """Begin a study in a file, or go on with the one there; the arguments are those of Study.

    Raises:
        StudyError, StorageError, StrategyError: as for Study. Nothing was changed then.
    """
    given = None if strategy is None else make_strategy(strategy)
    chosen = given
    if chosen is None and not os.path.exists(storage):
        chosen = make_strategy(None)
    if chosen is not None:  # it may refuse, and then there should be no file
        chosen.start(space, objectives.n, objectives.constraints, seed or 0)
    file = StudyFile(storage, durability)
    stored, new = file.find(name), False
    if stored is None:
        if chosen is None:
            chosen = make_strategy(None)
            chosen.start(space, objectives.n, objectives.constraints, seed or 0)
        config = as_json(chosen.config(), "the strategy's config")
        stored, new = file.find_or_add(name, space.to_json(), objectives.to_json(), drawn(seed), chosen.name, config)
    if not new:
        _check_same(file, stored, space, objectives, seed)
        if given is not None:
            config = as_json(given.config(), "the strategy's config")
            if (given.name, config) != (stored.strategy, stored.config):
                file.change_strategy(stored.id, given.name, config)
    return Opened(file, stored, given)


def load_study(path: str | os.PathLike[str], name: str | None, durability: str) -> Opened:
    """Open a study that is there; the arguments are those of Study.load.

    Raises:
        StudyError, StorageError: as for Study.load.
    """
    file = StudyFile(path, durability, create=False)
    stored = file.find(name)
    if stored is None:
        names = ", ".join(map(repr, file.names())) or "none"
        wanted = "study" if name is None else f"study {name!r}"
        raise StorageError(
            f"a study is loaded from the file that holds it, but {file.path!r} holds {names}: no {wanted}."
        )
    return Opened(file, stored, None)


def _check_same(file: StudyFile, stored: StoredStudy, space: Space, objectives: Objectives, seed: int | None) -> None:
    where = f"study {stored.name!r} in {file.path!r}"
    advice = "give another name or path to begin a new study"
    old = Space.from_json(stored.space)
    if old != space:
        raise StudyError(
            f"a study is continued with its own space, but {where} has\n{old}\nand space is\n{space}\n{advice}."
        )
    if Objectives.from_json(stored.objectives) != objectives:
        raise StudyError(
            f"a study is continued with its own directions and constraints, but {where} has "
            f"{Objectives.from_json(stored.objectives)}, and got {objectives}; {advice}."
        )
    if seed is not None and seed != stored.seed:
        raise StudyError(
            f"a study is continued with its own seed, but {where} has seed {stored.seed}, and got {seed}; "
            f"leave seed out, or {advice}."
        )
