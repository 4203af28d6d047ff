"""The interface of models of the variation within a cluster."""

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
WithClusters = Iterable[tuple[Batch, Tensor]]  # batches of images, and the clusters (B,) of their images


class Variation(nn.Module):
    """A model of the images x of a cluster k by a code h of their variation and, for volumes, a pose."""

    pose_size = 0  # length of a pose within the transformation code

    def begin(self, batches: WithClusters, epoch: int) -> None:
        """Initialise from all training images, before the first epoch of this model."""

    @abstractmethod
    def losses(self, batch: Batch, p: Tensor, content_error: ContentError) -> Losses:
        """Compute the objective for images with cluster probabilities p (B, K).

        Parameters
        ----------
        content_error
            Error of images as images of contents p: a scalar, whose gradients flow to the images alone.
        """

    @abstractmethod
    def posterior(self, batch: Batch, k: Tensor) -> tuple[Gaussian, Tensor]:
        """Return q(h|x) for images of clusters k (B,), and their poses, (B, pose_size)."""

    @abstractmethod
    def decoded(self, p: Tensor, h: Tensor, pose: Tensor) -> Tensor:
        """Decode contents p (B, K) and codes h (B, d) in poses (B, pose_size) to images."""

    @abstractmethod
    def moments(self, batches: WithClusters) -> Moments:
        """Measure the moments of the means of q(h|x) in every cluster, after training."""


def with_constant_weights(module: nn.Module, inputs: Tensor) -> Tensor:
    """Apply a module so that gradients flow to the inputs alone."""
    constant = {name: value.detach() for name, value in module.state_dict(keep_vars=True).items()}
    output: Tensor = torch.func.functional_call(module, constant, (inputs,))
    return output


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Use a module in evaluation mode, then restore its mode."""
    was = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was)
