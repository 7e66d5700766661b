"""Contract kits: what every strategy and every backend must keep, ready to be run on one's own.

In a test module, for a strategy::

    import hpo_fast.testing

    class TestMine(hpo_fast.testing.StrategyContract):
        def make(self):
            return Mine()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo_fast.testing.backends import BackendContract
    from hpo_fast.testing.driver import Driver
    from hpo_fast.testing.local import LocalContract
    from hpo_fast.testing.local_states import LocalStateContract
    from hpo_fast.testing.parzen import ParzenContract
    from hpo_fast.testing.refits import RefitContract
    from hpo_fast.testing.strategies import StrategyContract

__all__ = [
    "BackendContract",
    "Driver",
    "LocalContract",
    "LocalStateContract",
    "ParzenContract",
    "RefitContract",
    "StrategyContract",
]

# Public name: the module that holds it. Loaded on first use: the kit of one room does not need the other's imports.
_LAZY = {
    "BackendContract": "backends",
    "Driver": "driver",
    "LocalContract": "local",
    "LocalStateContract": "local_states",
    "ParzenContract": "parzen",
    "RefitContract": "refits",
    "StrategyContract": "strategies",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
