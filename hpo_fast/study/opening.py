"""How a study in a file is begun, continued or loaded. Imported only where there is a file: SQLite takes its time."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from hpo_fast.errors import StorageError, StudyError
from hpo_fast.space import Space
from hpo_fast.storage.file import StoredStudy, StudyFile, read_path
from hpo_fast.storage.journal import check_durability
from hpo_fast.strategies import make_strategy
from hpo_fast.strategies.base import Strategy
from hpo_fast.study.asking import own_strategy
from hpo_fast.study.objectives import Objectives
from hpo_fast.study.told import as_json, check_name, drawn


class Opened(NamedTuple):
    """A study of an open file."""

    file: StudyFile
    stored: StoredStudy
    strategy: Strategy | None  # the one that the user gave, started; None: the file's

    def start_strategy(self, space: Space, objectives: Objectives) -> Strategy:
        """Give the started strategy.

        Raises:
            StrategyError: when the file's is not one of this package.
        """
        if self.strategy is not None:
            return self.strategy
        return _started(make_strategy(self.stored.strategy, self.stored.config), space, objectives, self.stored.seed)


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
    check_durability(durability)
    given = None if strategy is None else own_strategy(strategy)
    wanted = None if given is None else _config(given)  # refused before the strategy is started and a file is made
    new_seed = drawn(seed)
    chosen = None
    if not os.path.exists(read_path(storage)):  # the strategy may refuse, and then there should be no file
        chosen = _started(given or make_strategy(None), space, objectives, new_seed)
    file = StudyFile(storage, durability)
    stored, new = file.find(name), False
    if stored is None:
        if chosen is None:
            chosen = _started(given or make_strategy(None), space, objectives, new_seed)
        config = _config(chosen) if wanted is None else wanted
        stored, new = file.find_or_add(name, space.to_json(), objectives.to_json(), new_seed, chosen.name, config)
    if new:
        return Opened(file, stored, chosen)
    _check_same(file, stored, space, objectives, seed)
    if given is None or wanted is None:
        return Opened(file, stored, None)
    if given is not chosen or stored.seed != new_seed:  # the second: somebody made the study while we made it as well
        _started(given, space, objectives, stored.seed)
    if (given.name, wanted) != (stored.strategy, stored.config):
        file.change_strategy(stored.id, given.name, wanted)
        stored = stored._replace(strategy=given.name, config=wanted)
    return Opened(file, stored, given)


def _config(strategy: Strategy) -> dict[str, Any]:
    return as_json(strategy.config(), "the strategy's config")


def _started(strategy: Strategy, space: Space, objectives: Objectives, seed: int) -> Strategy:
    strategy.start(space, objectives.n, objectives.constraints, seed)
    return strategy


def load_study(path: str | os.PathLike[str], name: str | None, durability: str) -> Opened:
    """Open a study that is there; the arguments are those of Study.load.

    Raises:
        StudyError, StorageError: as for Study.load.
    """
    check_name(name)
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
