"""What models of variation share: constant weights, and evaluation for a while."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dualcontrast.methods.plus.variation import evaluating, with_constant_weights


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))


def test_constant_weights_give_the_same_output_and_gradients_of_the_inputs_alone() -> None:
    module, plain, x = network().eval(), network().eval(), torch.randn(5, 3)
    inputs, expected_inputs = x.clone().requires_grad_(), x.clone().requires_grad_()
    output, expected = with_constant_weights(module, inputs), plain(expected_inputs)
    torch.testing.assert_close(output, expected)
    output.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(inputs.grad, expected_inputs.grad)
    assert all(parameter.grad is None for parameter in module.parameters())
    assert all(parameter.grad is not None for parameter in plain.parameters())


def test_constant_weights_do_not_stop_the_gradients_of_other_uses() -> None:
    module, x = network().eval(), torch.randn(5, 3)
    loss = module(x).sum()
    with_constant_weights(module, x)
    loss.backward()
    assert all(parameter.requires_grad and parameter.grad is not None for parameter in module.parameters())


def test_evaluating_leaves_the_statistics_of_batch_normalisation_alone() -> None:
    module, x = network().train(), torch.randn(50, 3)
    before = copy.deepcopy(module.state_dict())
    with evaluating(module):
        evaluated = module(x)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    torch.testing.assert_close(evaluated, network().eval()(x))
    assert not torch.allclose(module(x), evaluated)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored_also_after_an_error(training: bool) -> None:
    module = network().train(training)
    with evaluating(module):
        assert not any(part.training for part in module.modules())
    assert all(part.training is training for part in module.modules())
    with pytest.raises(KeyError), evaluating(module):
        raise KeyError
    assert all(part.training is training for part in module.modules())
