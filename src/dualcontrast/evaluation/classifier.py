"""A small convolutional classifier of pictures or volumes, trained on labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dualcontrast.images import ImageSet
from dualcontrast.networks.encoder import BATCH_NORMS, CONVOLUTIONS
from dualcontrast.progress import Progress, silent

BATCH = 100
LEARNING_RATE = 3e-3


def trained_classifier(
    images: ImageSet,
    classes: np.ndarray,
    training: np.ndarray,
    *,
    steps: int,
    rng: np.random.Generator,
    device: str | torch.device = "cpu",
    progress: Progress = silent,
) -> nn.Module:
    """Train a classifier with Adam and a one-cycle schedule, and return it in evaluation mode.

    Parameters
    ----------
    images
        The set of images.
    classes
        The class of each image, (N,), integers from 0; -1 if unknown.
    training
        Indices of the training images.
    steps
        Number of batches, of at most 100 images.
    rng
        Draws the initial weights and the order of the images.
    device
        Where to compute; the classifier stays there.
    progress
        Called after every step.

    Returns
    -------
    torch.nn.Module
        Takes images (B, C, spatial...), gives logits (B, classes).
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(rng.integers(2**31)))
        classifier = _classifier(images.shape, int(classes.max()) + 1).to(device)
    optimizer = torch.optim.Adam(classifier.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    batches = _shuffled(training, rng)
    for step in range(steps):
        index = next(batches)
        target = torch.from_numpy(classes[index]).to(device)
        loss = F.cross_entropy(classifier(images.read(index).to(device)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress("training the classifier", step + 1, steps, loss=loss.item())
    return classifier.eval()


def _shuffled(training: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield batches of nearly equal size without end, in a new order each epoch."""
    while True:
        yield from np.array_split(rng.permutation(training), math.ceil(len(training) / BATCH))


def _classifier(shape: Sequence[int], classes: int) -> nn.Sequential:
    """Build blocks that halve the sides until the shortest has at most four pixels, and a linear layer."""
    dimensions = len(shape) - 1
    convolution, norm = CONVOLUTIONS[dimensions], BATCH_NORMS[dimensions]
    channels, sides, width = shape[0], list(shape[1:]), 16
    layers: list[nn.Module] = [norm(channels)]  # images may have any range
    while min(sides) > 4:
        layers += [convolution(channels, width, 3, stride=2, padding=1), norm(width), nn.ReLU()]
        channels, sides, width = width, [(side + 1) // 2 for side in sides], min(2 * width, 64)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * math.prod(sides), classes))
