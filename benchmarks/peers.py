"""The peers, asked and told as their users do, each at its best settings; a package is imported with its session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_fast import Between, Categorical, Float, Int, Space

Columns = Mapping[str, npt.NDArray[np.float64]]
RESTARTS, RAW_SAMPLES = 10, 512  # of BoTorch's search: what its tutorials take
BOTORCH_STARTUP = 10  # random trials before the first model; its users choose, Optuna's GPSampler takes 10


class OptunaSession:
    """An Optuna study in memory: define by run."""

    def __init__(self, space: Space, seed: int, sampler: Any) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self.study = optuna.create_study(sampler=sampler)

    def add(self, columns: Columns, values: npt.NDArray[np.float64]) -> None:
        import optuna

        distributions: dict[str, Any] = {}
        for name, p in self._space.items():
            if not isinstance(p, Float):
                raise ValueError(f"a history holds numbers only, but {name!r} is {p!r}; take another space")
            distributions[name] = optuna.distributions.FloatDistribution(p.low, p.high, log=p.log, step=p.step)
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


class OptunaCmaSession(OptunaSession):
    """CmaEsSampler, which learns of a told history only as the source of a warm start."""

    def __init__(self, space: Space, seed: int) -> None:
        import optuna

        self._seed = seed
        super().__init__(space, seed, optuna.samplers.CmaEsSampler(seed=seed))

    def add(self, columns: Columns, values: npt.NDArray[np.float64]) -> None:
        import optuna

        super().add(columns, values)
        told = self.study.get_trials(deepcopy=False)
        self.study.sampler = optuna.samplers.CmaEsSampler(seed=self._seed, source_trials=told)


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


class BoTorchSession:
    """SingleTaskGP and log EI, the model fitted anew at every ask, in double precision over the unit cube."""

    def __init__(self, space: Space, seed: int) -> None:
        import torch

        for name, p in space.items():
            if not isinstance(p, Float):
                raise ValueError(f"BoTorch is asked for numbers only, but {name!r} is {p!r}; take another space")
        torch.manual_seed(seed)
        self._space, self._rng = space, np.random.default_rng([seed, 3])
        self._X = torch.empty((0, space.d), dtype=torch.float64)
        self._y = torch.empty((0, 1), dtype=torch.float64)  # maximised

    def add(self, columns: Columns, values: npt.NDArray[np.float64]) -> None:
        self._append(self._space.encode_columns(columns), values)

    def ask(self) -> dict[str, Any]:
        self._u = self._rng.random(self._space.d) if len(self._y) < BOTORCH_STARTUP else self._best()
        return self._space.decode(self._u)

    def tell(self, value: float) -> None:
        self._append(self._u[None, :], np.array([value]))

    def _append(self, U: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> None:
        import torch

        self._X = torch.cat([self._X, torch.tensor(U, dtype=torch.float64)])
        self._y = torch.cat([self._y, -torch.tensor(values, dtype=torch.float64)[:, None]])

    def _best(self) -> npt.NDArray[np.float64]:
        import torch
        from botorch import fit_gpytorch_mll
        from botorch.acquisition import LogExpectedImprovement
        from botorch.models import SingleTaskGP
        from botorch.optim import optimize_acqf
        from gpytorch.mlls import ExactMarginalLogLikelihood

        model = SingleTaskGP(self._X, self._y)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        box = torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, self._space.d)
        found, _ = optimize_acqf(
            LogExpectedImprovement(model, best_f=self._y.max()),
            bounds=box,
            q=1,
            num_restarts=RESTARTS,
            raw_samples=RAW_SAMPLES,
        )
        return np.asarray(found[0].detach().numpy(), dtype=np.float64)


class BayesOptSession:
    """bayesian-optimization with its defaults, which maximises."""

    def __init__(self, space: Space, seed: int) -> None:
        from bayes_opt import BayesianOptimization

        bounds = {}
        for name, p in space.items():
            if not isinstance(p, Float) or p.log or p.step is not None:
                raise ValueError(f"bayesian-optimization is asked for plain numbers only, but {name!r} is {p!r}")
            bounds[name] = (p.low, p.high)
        # It refuses to be told a point twice unless it is allowed, and its search may end in a corner once more.
        self._optimizer = BayesianOptimization(None, bounds, random_state=seed, verbose=0, allow_duplicate_points=True)

    def add(self, columns: Columns, values: npt.NDArray[np.float64]) -> None:
        rows = zip(*(columns[name].tolist() for name in self._optimizer.space.keys), strict=True)
        for row, value in zip(rows, values, strict=True):
            # Not by `register`, whose log walks all trials for each.
            self._optimizer.space.register(dict(zip(self._optimizer.space.keys, row, strict=True)), -float(value))

    def ask(self) -> dict[str, Any]:
        self._params = {name: float(value) for name, value in self._optimizer.suggest().items()}
        return self._params

    def tell(self, value: float) -> None:
        self._optimizer.register(self._params, -value)
