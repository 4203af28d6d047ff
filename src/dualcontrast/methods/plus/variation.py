"""What varies among the images of one cluster: what DualContrast plus asks of a model of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dualcontrast.methods.method import Batch, Losses
from dualcontrast.methods.plus.whitening import Moments
from dualcontrast.networks import Gaussian

ContentError = Callable[[Tensor, Tensor], Tensor]
WithClusters = Iterable[tuple[Batch, Tensor]]  # batches of images, and the clusters (B,) of each


class Variation(nn.Module):
    """A model of images x of cluster k by a code h of what varies among them, and a pose where there is one."""

    pose_size = 0  # numbers of a pose as a code

    def begin(self, batches: WithClusters, epoch: int) -> None:
        """Look at all training images before the epoch in which training of this model begins."""

    @abstractmethod
    def losses(self, batch: Batch, p: Tensor, content_error: ContentError) -> Losses:
        """Return the objective for images whose clusters are p (B, K).

        Parameters
        ----------
        content_error
            How far images are from having the contents p: a scalar, whose gradients reach the images alone.
        """

    @abstractmethod
    def posterior(self, batch: Batch, k: Tensor) -> tuple[Gaussian, Tensor]:
        """Return q(h|x) of images of clusters k (B,), and their poses, (B, pose_size)."""

    @abstractmethod
    def decoded(self, p: Tensor, h: Tensor, pose: Tensor) -> Tensor:
        """Return images of contents p (B, K) and codes h (B, d) in poses (B, pose_size)."""

    @abstractmethod
    def moments(self, batches: WithClusters) -> Moments:
        """Return the moments of the means of q(h|x) in every cluster, once training has ended."""


def with_constant_weights(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return a module's output, of which gradients reach the inputs alone."""
    constant = {name: value.detach() for name, value in module.state_dict(keep_vars=True).items()}
    output: Tensor = torch.func.functional_call(module, constant, (inputs,))
    return output


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Go by running statistics, and leave them as they are."""
    was = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was)
