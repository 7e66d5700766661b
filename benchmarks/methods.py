"""The methods: name -> a factory of sessions that ask and tell. A peer is imported when its method is first made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from hpo_fast_bench.machine import version

from hpo_fast import Between, Categorical, Float, Int, Space, Study

Columns = Mapping[str, npt.NDArray[np.float64]]

# What the extra `bench` installs, and the least version of each.
LEAST = {"optuna": (5, 0), "torch": (2, 0), "greenlet": (3, 0), "threadpoolctl": (3, 0), "scikit-learn": (1, 5)}
# Optuna's GPSampler needs torch, climbs in batches only with greenlet, and takes the threads that suit it best only
# with threadpoolctl.
OPTUNA_GP = ("optuna", "torch", "greenlet", "threadpoolctl")
SKLEARN = ("scikit-learn", "threadpoolctl")


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
    """A Study in memory."""

    def __init__(self, space: Space, seed: int, strategy: Any) -> None:
        self.study = Study(space, strategy, seed=seed)

    def add(self, columns: Columns, values: npt.NDArray[np.float64]) -> None:
        self.study.add_trials(columns, values)

    def ask(self) -> dict[str, Any]:
        self._trial = self.study.ask()
        return self._trial.params

    def tell(self, value: float) -> None:
        self.study.tell(self._trial, value)


class OptunaSession:
    """An Optuna study in memory, asked as its users do: define by run."""

    def __init__(self, space: Space, seed: int, sampler: Any) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self.study = optuna.create_study(sampler=sampler)

    def add(self, columns: Columns, values: npt.NDArray[np.float64]) -> None:
        import optuna

        distributions: dict[str, Any] = {}
        for name, parameter in self._space.items():
            if not isinstance(parameter, Float):
                raise ValueError(f"a history holds numbers only, but {name!r} is {parameter!r}; take another space")
            distributions[name] = optuna.distributions.FloatDistribution(parameter.low, parameter.high)
        rows = zip(*(columns[name].tolist() for name in distributions), strict=True)
        self.study.add_trials(
            optuna.trial.create_trial(
                params=dict(zip(distributions, row, strict=True)), distributions=distributions, value=float(value)
            )
            for row, value in zip(rows, values, strict=True)
        )

    def ask(self) -> dict[str, Any]:
        self._trial = self.study.ask()
        return suggest(self._trial, self._space)

    def tell(self, value: float) -> None:
        self.study.tell(self._trial, value)


def suggest(trial: Any, space: Space) -> dict[str, Any]:
    """Ask an Optuna trial for the parameters that exist; parents are declared before children."""
    params: dict[str, Any] = {}
    for name, p in space.items():
        if not all(_holds(condition, params) for condition in p.conditions):
            continue
        if isinstance(p, Float):
            params[name] = trial.suggest_float(name, p.low, p.high, log=p.log, step=p.step)
        elif isinstance(p, Int):
            params[name] = trial.suggest_int(name, p.low, p.high, log=p.log, step=p.step)
        elif isinstance(p, Categorical):
            params[name] = trial.suggest_categorical(name, p.choices)
        else:
            raise ValueError(f"a problem has Float, Int and Categorical parameters, but {name!r} is {p!r}")
    return params


def _holds(condition: Any, params: Mapping[str, Any]) -> bool:
    if condition.parent not in params:
        return False
    value = params[condition.parent]
    return any(a.low <= value <= a.high if isinstance(a, Between) else a == value for a in condition.allowed)


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


def _ours(space: Space, seed: int, threads: int) -> OurSession:
    from hpo_fast import BayesianOptimization

    return OurSession(space, seed, BayesianOptimization(n_threads=threads))


def _random(space: Space, seed: int, threads: int) -> OurSession:
    return OurSession(space, seed, "random")


def _optuna_gp(space: Space, seed: int, threads: int) -> OptunaSession:
    need(*OPTUNA_GP)
    import optuna
    import torch

    torch.set_num_threads(threads)
    return OptunaSession(space, seed, optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False))


def _tpe(space: Space, seed: int, threads: int) -> OurSession:
    return OurSession(space, seed, "tpe")


def _optuna_tpe(space: Space, seed: int, threads: int) -> OptunaSession:
    need("optuna")
    import optuna

    return OptunaSession(space, seed, optuna.samplers.TPESampler(seed=seed))  # its default: multivariate, constant liar


# name -> factory(space, seed, threads)
METHODS: dict[str, Callable[[Space, int, int], Session]] = {
    "hpo_fast": _ours,
    "hpo_fast_random": _random,
    "optuna_gp": _optuna_gp,
    "tpe": _tpe,
    "optuna_tpe": _optuna_tpe,
}
OPTUNA_STARTUP = 10  # GPSampler's default n_startup_trials: with fewer told trials it samples at random
