"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn


def tanh(width: int) -> list[nn.Module]:
    """Return the modules after a hidden layer: a tanh."""
    return [nn.Tanh()]


def perceptron(
    widths: Sequence[int], outputs: int, after: Callable[[int], list[nn.Module]] = tanh
) -> nn.Sequential:
    """Build linear layers, with other modules after each but the last.

    Parameters
    ----------
    widths
        Width of the input, then of each hidden layer.
    outputs
        Width of the output.
    after
        Builds the modules after a hidden layer from its width.
    """
    layers: list[nn.Module] = []
    for inputs, hidden in pairwise(widths):
        layers += [nn.Linear(inputs, hidden), *after(hidden)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
