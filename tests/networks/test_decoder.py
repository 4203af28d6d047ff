"""Fully connected and convolutional decoders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dualcontrast.errors import RecipeError
from dualcontrast.networks import Decoder, DecoderSettings
from dualcontrast.networks.decoder import SubpixelUpsampling


def decoder_of(shape: tuple[int, ...], c: int = 4, z: int = 3, **stated: object) -> Decoder:
    torch.manual_seed(0)
    return Decoder(shape, c, z, DecoderSettings.model_validate({"hidden": [20, 12], "code_width": 8, **stated}))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def widths(decoder: Decoder) -> list[tuple[int, int]]:
    """Return (inputs, outputs) of each linear layer after the join."""
    return [(m.in_features, m.out_features) for m in decoder.layers.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 20), (1, 6, 7, 8)])
@pytest.mark.parametrize("code_width", [8, None])
def test_images_have_the_shape_and_the_range_of_the_data(shape: tuple[int, ...], code_width: int | None) -> None:
    decoder = decoder_of(shape, code_width=code_width)
    images = decoder(100 * torch.randn(5, 4), 100 * torch.randn(5, 3))
    assert images.shape == (5, *shape)
    assert 0 <= images.min() < 0.5 < images.max() <= 1


def test_linear_output_is_not_bounded() -> None:
    images = decoder_of((1, 6, 6), output="linear")(100 * torch.randn(5, 4), 100 * torch.randn(5, 3))
    assert images.min() < 0
    assert images.max() > 1


@pytest.mark.parametrize(("activation", "slope"), [("relu", 0.0), ("leaky_relu", 0.01)])
def test_a_forward_pass_is_each_code_alone_then_both_joined(activation: str, slope: float) -> None:
    decoder = decoder_of((1, 5, 4), activation=activation)
    codes = torch.randn(6, 4), torch.randn(6, 3)

    def layer(x: np.ndarray, module: nn.Module, bends: bool = True) -> np.ndarray:
        (affine,) = [m for m in module.modules() if isinstance(m, nn.Linear)]
        y = x @ affine.weight.detach().numpy().T + affine.bias.detach().numpy()
        return np.where(y > 0, y, slope * y) if bends else y

    x = np.concatenate(
        [
            layer(codes[0].numpy(), decoder.content_layer),
            layer(codes[1].numpy(), decoder.transformation_layer),
        ],
        axis=1,
    )
    x = layer(layer(x, decoder.layers[0]), decoder.layers[1])
    x = 1 / (1 + np.exp(-layer(x, decoder.layers[2], bends=False)))
    np.testing.assert_allclose(decoder(*codes).detach(), x.reshape(6, 1, 5, 4), atol=1e-6)


def test_defaults_are_the_papers_layers_for_mnist() -> None:
    decoder = Decoder((1, 28, 28), 10, 10, DecoderSettings())
    assert widths(decoder) == [(512, 512), (512, 512), (512, 512), (512, 784)]
    assert count(decoder.content_layer) == count(decoder.transformation_layer) == linear(10, 256)


def test_null_code_width_joins_the_codes_themselves() -> None:
    decoder = decoder_of((1, 5, 5), code_width=None)
    assert widths(decoder) == [(7, 20), (20, 12), (12, 25)]
    assert count(decoder) == linear(7, 20) + linear(20, 12) + linear(12, 25)


def test_a_shared_code_layer_is_one_layer() -> None:
    own, shared = (decoder_of((1, 5, 5), c=4, z=4, share_code_layer=share) for share in (False, True))
    assert count(own) - count(shared) == linear(4, 8)
    assert shared.content_layer is shared.transformation_layer
    assert own.content_layer is not own.transformation_layer

    content, transformation = torch.randn(2, 4), torch.randn(2, 4)
    shared(content, torch.zeros(2, 4)).sum().backward()  # learns from the content alone ...
    before = shared.transformation_layer(transformation)
    torch.optim.SGD(shared.content_layer.parameters(), lr=1.0).step()
    assert not torch.equal(before, shared.transformation_layer(transformation))  # ... and moves for both


def test_no_hidden_layers_is_one_linear_map_of_the_joined_codes() -> None:
    assert widths(decoder_of((1, 5, 5), hidden=[])) == [(16, 25)]


# ---- convolutional


@pytest.mark.parametrize("sides", [(3,), (3, 2), (2, 3, 4)])
def test_subpixel_upsampling_puts_channels_side_by_side(sides: tuple[int, ...]) -> None:
    parts = 2 ** len(sides)
    maps = torch.randn(2, 5 * parts, *sides)
    larger = SubpixelUpsampling()(maps)
    assert larger.shape == (2, 5, *(2 * side for side in sides))
    for place in np.ndindex(*larger.shape[2:]):
        part = 0
        for axis_place in place:
            part = 2 * part + axis_place % 2
        small = tuple(p // 2 for p in place)
        torch.testing.assert_close(larger[(..., *place)], maps[(slice(None), slice(part, None, parts), *small)])


def test_subpixel_upsampling_of_pictures_is_torchs() -> None:
    maps = torch.randn(2, 12, 3, 4)
    torch.testing.assert_close(SubpixelUpsampling()(maps), nn.functional.pixel_shuffle(maps, 2))


@pytest.mark.parametrize("shape", [(1, 16, 16, 16), (3, 24, 16), (1, 8, 12, 16)])
def test_blocks_double_the_sides_up_to_the_images(shape: tuple[int, ...]) -> None:
    decoder = decoder_of(shape, channels=(6, 4), output="linear")
    images = decoder(torch.randn(5, 4), torch.randn(5, 3))
    assert images.shape == (5, *shape)
    images.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in decoder.parameters())


def test_a_convolutional_decoder_has_few_weights() -> None:
    dense = decoder_of((1, 32, 32, 32), hidden=(256,))
    convolutional = decoder_of((1, 32, 32, 32), hidden=(256,), channels=(64, 32, 16))
    assert count(convolutional) < count(dense) / 4


def test_sides_that_doubling_cannot_make_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"images of 28 x 28 cannot be made by doubling a map 3 times, since 8"):
        decoder_of((1, 28, 28), channels=(8, 8, 8))


def test_the_papers_decoder_of_subtomograms_has_164_million_weights_in_its_last_layer() -> None:
    with torch.device("meta"):
        decoder = decoder_of((1, 32, 32, 32), 50, 50, code_width=512, hidden=(1024, 1024, 1024, 5000))
    last = [m for m in decoder.layers.modules() if isinstance(m, nn.Linear)][-1]
    assert last.weight.numel() == 163_840_000
    assert widths(decoder) == [(1024, 1024), (1024, 1024), (1024, 1024), (1024, 5000), (5000, 32768)]
