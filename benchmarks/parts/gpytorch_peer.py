"""The model of GPyTorch and BoTorch that computes what a handle of ours computes: Matern-5/2 with a scale an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
EVERY_SIZE = 10**9  # up to which a Cholesky factor is taken, rather than an iteration that ends early


def _unconstrained(x: float | Array) -> Any:
    """The raw parameter whose softplus is x > 0."""
    return np.log(np.expm1(x))


class Likelihood:
    """Log marginal likelihood of zero mean with its gradient, in double precision.

    Args:
        U: (n, d) points.
        y: (n,) values.
    """

    def __init__(self, U: Array, y: Array) -> None:
        import gpytorch
        import torch

        self._X, self._y = torch.tensor(U), torch.tensor(y)
        d = U.shape[1]

        class Model(gpytorch.models.ExactGP):  # type: ignore[misc]
            def __init__(self, X: Any, y: Any, likelihood: Any) -> None:
                super().__init__(X, y, likelihood)
                self.mean_module = gpytorch.means.ZeroMean()
                self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(2.5, ard_num_dims=d))

            def forward(self, X: Any) -> Any:
                return gpytorch.distributions.MultivariateNormal(self.mean_module(X), self.covar_module(X))

        noise = gpytorch.likelihoods.GaussianLikelihood(noise_constraint=gpytorch.constraints.Positive())
        self._model = Model(self._X, self._y, noise).double()
        self._model.train()
        self._mll = gpytorch.mlls.ExactMarginalLogLikelihood(noise, self._model)
        self._raw = {
            "lengths": self._model.covar_module.base_kernel.raw_lengthscale,
            "scale": self._model.covar_module.raw_outputscale,
            "noise": noise.noise_covar.raw_noise,
        }

    def evaluate(self, theta: Array) -> Callable[[], float]:
        """Sets theta, log length scales, variance and noise, and gives what computes value and gradient there."""
        import gpytorch
        import torch

        d = self._X.shape[1]
        parts = {"lengths": theta[:d], "scale": theta[d], "noise": theta[d + 1 :]}
        for name, raw in self._raw.items():
            raw.data.copy_(torch.as_tensor(_unconstrained(np.exp(parts[name]))).reshape(raw.shape))

        def compute() -> float:
            for raw in self._raw.values():
                raw.grad = None
            with gpytorch.settings.max_cholesky_size(EVERY_SIZE), gpytorch.settings.fast_computations(log_prob=False):
                value = self._mll(self._model(self._X), self._y)
                value.backward()
            return len(self._y) * float(value)

        return compute

    def gradient(self) -> Array:
        """Of the last `compute`, with respect to theta: ln x has the slope x/(1 - e^-x) there of raw."""
        slopes = []
        for raw in self._raw.values():
            x = np.log1p(np.exp(raw.detach().numpy())).ravel()
            slopes.append(raw.grad.numpy().ravel() * x / -np.expm1(-x))
        return len(self._y) * np.concatenate(slopes)


def posterior_model(U: Array, y: Array, theta: Array) -> Any:
    """A SingleTaskGP of zero mean in evaluation mode at theta."""
    import torch
    from botorch.models import SingleTaskGP
    from gpytorch.constraints import Positive
    from gpytorch.kernels import MaternKernel, ScaleKernel
    from gpytorch.likelihoods import GaussianLikelihood
    from gpytorch.means import ZeroMean

    d = U.shape[1]
    model = SingleTaskGP(
        torch.tensor(U),
        torch.tensor(y)[:, None],
        likelihood=GaussianLikelihood(noise_constraint=Positive()),
        covar_module=ScaleKernel(MaternKernel(2.5, ard_num_dims=d)),
        mean_module=ZeroMean(),
        outcome_transform=None,
    ).double()
    scales = torch.tensor(np.exp(theta))
    model.covar_module.base_kernel.lengthscale = scales[:d]
    model.covar_module.outputscale = scales[d]
    model.likelihood.noise = scales[d + 1]
    return model.eval()


def predict(model: Any, batch: bool) -> Callable[[Array], tuple[Array, ...]]:
    """What gives mean, variance and the gradients of both at points (m, d) by automatic differentiation.

    Args:
        model: of `posterior_model`.
        batch: whether the points are m posteriors of one point, as in a search with restarts, or one of m points.
    """
    import torch

    def compute(U: Array) -> tuple[Array, ...]:
        X = torch.tensor(U, requires_grad=True)
        posterior = model.posterior(X[:, None, :] if batch else X)
        mean, var = posterior.mean.reshape(-1), posterior.variance.reshape(-1)
        (d_mean,) = torch.autograd.grad(mean.sum(), X, retain_graph=True)
        (d_var,) = torch.autograd.grad(var.sum(), X)
        return mean.detach().numpy(), var.detach().numpy(), d_mean.numpy(), d_var.numpy()

    return compute
