"""Hyper-parameter optimization with a compiled core. `import hpo_fast as hpo`; README.md shows how to begin."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

try:
    import hpo_fast._core.gp
    import hpo_fast._core.parzen
    import hpo_fast._core.rng  # noqa: F401
except ImportError as error:
    from hpo_fast.errors import BackendUnavailable

    if isinstance(error, BackendUnavailable):  # the core is there, but HPO_FAST_SIMD asks for what the machine lacks
        raise
    raise BackendUnavailable(
        f"the compiled core of hpo_fast must be built before hpo_fast is imported, but it cannot be loaded ({error}); "
        "in the folder with setup.py run `pip install .` or `pip install -e .`, which need a C++17 compiler."
    ) from error

from hpo_fast.errors import (
    BackendUnavailable,
    HpoFastError,
    NothingToAsk,
    NumericalError,
    SpaceError,
    StorageError,
    StrategyError,
    StudyError,
    StudyFinished,
)
from hpo_fast.gaussian_process import GaussianProcess
from hpo_fast.space import Between, Categorical, Constant, Float, Int, Normal, Ordinal, Space
from hpo_fast.strategies.bayesian import UCB, BayesianOptimization
from hpo_fast.strategies.grid import GridSearch
from hpo_fast.strategies.quasi_random import QuasiRandomSearch
from hpo_fast.strategies.random import RandomSearch
from hpo_fast.strategies.tpe import TPE
from hpo_fast.study import Study, minimize
from hpo_fast.trial import Outcome, Trial, TrialRecord, TrialState

if TYPE_CHECKING:
    __version__: str

__all__ = [
    "BackendUnavailable",
    "BayesianOptimization",
    "Between",
    "Categorical",
    "Constant",
    "Float",
    "GaussianProcess",
    "GridSearch",
    "HpoFastError",
    "Int",
    "Normal",
    "NothingToAsk",
    "NumericalError",
    "Ordinal",
    "Outcome",
    "QuasiRandomSearch",
    "RandomSearch",
    "Space",
    "SpaceError",
    "StorageError",
    "StrategyError",
    "Study",
    "StudyError",
    "StudyFinished",
    "TPE",
    "Trial",
    "TrialRecord",
    "TrialState",
    "UCB",
    "__version__",
    "minimize",
]

# Silent until the user gives the logger "hpo_fast" a handler.
logging.getLogger("hpo_fast").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name == "__version__":  # reading it takes a fifth of the import's time, and few want it
        from importlib.metadata import version

        return version("hpo_fast")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
