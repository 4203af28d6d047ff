"""Multilayer perceptrons against plain matrix products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dualcontrast.networks import perceptron


@pytest.mark.parametrize("widths", [(3,), (3, 5), (3, 5, 4)])
def test_layers_are_matrix_products_with_a_tanh_between(widths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network, x = perceptron(widths, 2), torch.randn(7, 3)
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in layers] == list(widths)
    assert layers[-1].out_features == 2
    expected = x.numpy()
    for layer in layers[:-1]:
        expected = np.tanh(expected @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
    expected = expected @ layers[-1].weight.detach().numpy().T + layers[-1].bias.detach().numpy()
    np.testing.assert_allclose(network(x).detach(), expected, rtol=1e-4, atol=1e-6)


def test_other_modules_follow_the_hidden_layers_and_know_their_widths() -> None:
    network = perceptron((3, 5, 4), 2, lambda width: [nn.BatchNorm1d(width), nn.ReLU()])
    assert [type(module) for module in network] == [
        *[nn.Linear, nn.BatchNorm1d, nn.ReLU],
        *[nn.Linear, nn.BatchNorm1d, nn.ReLU],
        nn.Linear,
    ]
    assert [norm.num_features for norm in network if isinstance(norm, nn.BatchNorm1d)] == [5, 4]
