"""The methods: name -> a factory of sessions that ask and tell. A peer is imported when its method is first made."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from hpo_fast_bench.machine import version
from hpo_fast_bench.peers import BayesOptSession, BoTorchSession, Columns, OptunaCmaSession, OptunaSession, suggest

from hpo_fast import Space, Study

__all__ = ["METHODS", "PACKAGES", "PEERS", "MissingPeer", "OurSession", "Session", "need", "suggest"]

# What the extra `bench` installs, and the least version of each.
LEAST = {
    "optuna": (5, 0),
    "torch": (2, 0),
    "greenlet": (3, 0),
    "threadpoolctl": (3, 0),
    "scikit-learn": (1, 5),
    "botorch": (0, 16),
    "gpytorch": (1, 14),
    "bayesian-optimization": (3, 0),
    "cmaes": (0, 12),
    "matplotlib": (3, 8),
}
# Optuna's GPSampler needs torch, climbs in batches only with greenlet, and takes the threads that suit it best only
# with threadpoolctl.
OPTUNA_GP = ("optuna", "torch", "greenlet", "threadpoolctl")
SKLEARN = ("scikit-learn", "threadpoolctl")
# What `--peers` calls them, and what each needs.
PACKAGES = {
    "optuna": OPTUNA_GP,
    "optuna_tpe": ("optuna", "threadpoolctl"),
    "optuna_cmaes": ("optuna", "cmaes"),
    "sklearn": SKLEARN,
    "botorch": ("botorch", "gpytorch", "torch", "threadpoolctl"),
    "bayes_opt": ("bayesian-optimization", *SKLEARN),
}
PEERS = tuple(PACKAGES)


class MissingPeer(RuntimeError):
    """A peer, or what makes it fast, is not installed or too old; the message says what to install."""


class Session(Protocol):
    """One run of one method on one space. What is told is minimised."""

    def add(self, columns: Columns, values: npt.NDArray[np.float64]) -> None:
        """Tell trials that were run before; spaces of numbers without conditions only."""

    def ask(self) -> dict[str, Any]:
        """Choose the next trial."""

    def tell(self, value: float) -> None:
        """End the trial asked last."""


class OurSession:
    """A Study, in memory where no path is given."""

    def __init__(self, space: Space, seed: int, strategy: Any, storage: str | None = None) -> None:
        self.study = Study(space, strategy, seed=seed, storage=storage)

    def add(self, columns: Columns, values: npt.NDArray[np.float64]) -> None:
        self.study.add_trials(columns, values)

    def ask(self) -> dict[str, Any]:
        self._trial = self.study.ask()
        return self._trial.params

    def tell(self, value: float) -> None:
        self.study.tell(self._trial, value)

    def note(self) -> dict[str, Any]:
        """What the strategy decided for the trial asked last."""
        record = self.study.find_trial(self._trial.number)
        assert record is not None
        return dict(record.note)


def need(*packages: str) -> None:
    """Raises MissingPeer unless all are installed in the versions that the comparison is fair to."""
    missing, install = [], []
    for name in packages:
        found, least = version(name), LEAST[name]
        if found is None or tuple(int(number) for number in re.findall(r"\d+", found)[:2]) < least:
            wanted = ".".join(map(str, least))
            missing.append(f"{name} >= {wanted} ({'not installed' if found is None else f'{found} is installed'})")
            install.append(f'"{name}>={wanted}"')
    if missing:
        raise MissingPeer(f"needs {', '.join(missing)}: pip install {' '.join(install)}")


def bayesian(surrogate: str | None, threads: int) -> Any:
    """The strategy; `surrogate` is forced where it is given."""
    from hpo_fast import BayesianOptimization

    forced = {} if surrogate is None else {"surrogate": surrogate}
    return BayesianOptimization(n_threads=threads, **forced)


def _bayesian(surrogate: str | None) -> Callable[[Space, int, int], OurSession]:
    return lambda space, seed, threads: OurSession(space, seed, bayesian(surrogate, threads))


def _named(strategy: str) -> Callable[[Space, int, int], OurSession]:
    return lambda space, seed, threads: OurSession(space, seed, strategy)


def _optuna_gp(space: Space, seed: int, threads: int) -> OptunaSession:
    need(*PACKAGES["optuna"])
    import optuna
    import torch

    torch.set_num_threads(threads)
    return OptunaSession(space, seed, optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False))


def _optuna_tpe(space: Space, seed: int, threads: int) -> OptunaSession:
    need("optuna")
    import optuna

    return OptunaSession(space, seed, optuna.samplers.TPESampler(seed=seed))  # its default: multivariate, constant liar


def _optuna_cmaes(space: Space, seed: int, threads: int) -> OptunaSession:
    need(*PACKAGES["optuna_cmaes"])
    return OptunaCmaSession(space, seed)


def _botorch(space: Space, seed: int, threads: int) -> BoTorchSession:
    need(*PACKAGES["botorch"])
    import torch

    torch.set_num_threads(threads)
    return BoTorchSession(space, seed)


def _bayes_opt(space: Space, seed: int, threads: int) -> BayesOptSession:
    need(*PACKAGES["bayes_opt"])
    return BayesOptSession(space, seed)


# name -> factory(space, seed, threads)
METHODS: dict[str, Callable[[Space, int, int], Session]] = {
    "hpo_fast": _bayesian(None),
    "hpo_fast_exact": _bayesian("exact"),
    "hpo_fast_vecchia": _bayesian("vecchia"),
    "hpo_fast_random": _named("random"),
    "hpo_fast_quasi_random": _named("quasi_random"),
    "hpo_fast_grid": _named("grid"),
    "tpe": _named("tpe"),
    "optuna_gp": _optuna_gp,
    "optuna_tpe": _optuna_tpe,
    "optuna_cmaes": _optuna_cmaes,
    "botorch": _botorch,
    "bayes_opt": _bayes_opt,
}
STARTUP = 10  # GPSampler's default n_startup_trials, and BoTorch's here: with fewer told trials they draw at random
