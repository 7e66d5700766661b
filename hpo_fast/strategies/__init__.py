"""The methods: each decides which point to try next, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpo_fast.errors import StrategyError
from hpo_fast.strategies.base import Observations, Pending, Proposal, Strategy

if TYPE_CHECKING:
    from hpo_fast.strategies.bayesian import UCB, BayesianOptimization
    from hpo_fast.strategies.grid import GridSearch
    from hpo_fast.strategies.quasi_random import QuasiRandomSearch
    from hpo_fast.strategies.random import RandomSearch
    from hpo_fast.strategies.tpe import TPE

__all__ = [
    "TPE",
    "UCB",
    "BayesianOptimization",
    "GridSearch",
    "Observations",
    "Pending",
    "Proposal",
    "QuasiRandomSearch",
    "RandomSearch",
    "Strategy",
    "make_strategy",
]

# name in the study file and in `strategy="..."`: (module, class). A module is imported when its strategy is first used.
_STRATEGIES = {
    "random": ("random", "RandomSearch"),
    "quasi_random": ("quasi_random", "QuasiRandomSearch"),
    "grid": ("grid", "GridSearch"),
    "bayesian_optimization": ("bayesian", "BayesianOptimization"),
    "tpe": ("tpe", "TPE"),
}
_DEFAULT = "bayesian_optimization"
_MODULE_OF = {cls: module for module, cls in _STRATEGIES.values()} | {"UCB": "bayesian"}


def make_strategy(strategy: str | Strategy | None = None, config: Mapping[str, Any] | None = None) -> Strategy:
    """Turn what the user gave as `strategy=`, or what a study file holds, into a strategy that can be started.

    Args:
        strategy: a strategy, which is given back as it is; the name of one; or None for the default.
        config: keyword arguments for a strategy given by name: what its `config()` gave.

    Raises:
        StrategyError: for an unknown name, and for arguments that the named strategy does not take.
    """
    if isinstance(strategy, Strategy):
        if config:
            raise StrategyError(
                f"strategy: a strategy that is already built takes no arguments, but got {dict(config)!r} for "
                f"{type(strategy).__name__}; give them when building it."
            )
        return strategy
    name = _DEFAULT if strategy is None else strategy
    known = ", ".join(map(repr, _STRATEGIES))
    if isinstance(name, type) and issubclass(name, Strategy):
        raise StrategyError(f"strategy must be a strategy, but got the class; write {name.__name__}().")
    if not isinstance(name, str):
        raise StrategyError(f"strategy must be a Strategy, one of the names {known}, or None, but got {name!r}.")
    if name not in _STRATEGIES:
        raise StrategyError(
            f"strategy must be one of {known}, but got {name!r}; for a strategy of your own give the object itself."
        )
    module, cls = _STRATEGIES[name]
    make = getattr(import_module(f"{__name__}.{module}"), cls)
    try:
        built: Strategy = make(**(config or {}))
    except TypeError as error:
        raise StrategyError(f"strategy {name!r} cannot be built from {dict(config or {})!r}: {error}.") from error
    return built


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
