"""Diagonal Gaussians, as encoders predict them for latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """A batch of diagonal Gaussians, N(mean, exp(log_variance)).

    Attributes
    ----------
    mean, log_variance : Tensor
        (B, d).
    """

    mean: Tensor
    log_variance: Tensor

    def __getitem__(self, rows: slice) -> Gaussian:
        return Gaussian(self.mean[rows], self.log_variance[rows])

    def sample(self) -> Tensor:
        """Draw one sample of each, (B, d), differentiable in both parameters."""
        return self.mean + torch.exp(0.5 * self.log_variance) * torch.randn_like(self.mean)

    def kl(self) -> Tensor:
        """Return KL(N(mean, exp(log_variance)) || N(0, I)) for each, (B,)."""
        terms = self.mean.square() + self.log_variance.exp() - 1 - self.log_variance
        return 0.5 * terms.sum(dim=1)

    def kl_as_log_std(self) -> Tensor:
        """Return the divergence as if `log_variance` were the logarithm of the standard deviation, (B,).

        The authors' script does this, although it samples as if the same number were a log-variance.
        """
        terms = 0.5 * (self.mean.square() + (2 * self.log_variance).exp()) - 0.5 - self.log_variance
        return terms.sum(dim=1)
