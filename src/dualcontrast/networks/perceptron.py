"""Perceptrons: fully connected layers with something between two of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn


def tanh(width: int) -> list[nn.Module]:
    """Return what follows a hidden layer of a perceptron in tanh."""
    return [nn.Tanh()]


def perceptron(
    widths: Sequence[int], outputs: int, after: Callable[[int], list[nn.Module]] = tanh
) -> nn.Sequential:
    """Return linear layers, each but the last followed by others.

    Parameters
    ----------
    widths
        Of the input, then of each hidden layer.
    outputs
        Width of the output.
    after
        The modules after a hidden layer of a width.
    """
    layers: list[nn.Module] = []
    for inputs, wanted in pairwise(widths):
        layers += [nn.Linear(inputs, wanted), *after(wanted)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
