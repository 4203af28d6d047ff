"""The convolutional encoder: the paper's trunks, and any other size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dualcontrast.errors import RecipeError
from dualcontrast.networks import Encoder, EncoderSettings

PAPER = {
    "mnist": ((1, 28, 28), (16, 32, 64), 256),
    "linemod": ((3, 64, 64), (16, 32, 64, 128), 1152),
}


def encoder_of(shape: tuple[int, ...], **stated: object) -> Encoder:
    return Encoder(shape, 4, 3, EncoderSettings.model_validate(stated))


def convolutions(encoder: Encoder) -> list[nn.Conv2d]:
    return [block for block in encoder.trunk if isinstance(block, nn.Conv2d)]


@pytest.mark.parametrize("channels", ["stated", "null"])
@pytest.mark.parametrize("data", PAPER)
def test_the_papers_trunks(data: str, channels: str) -> None:
    shape, widths, features = PAPER[data]
    encoder = encoder_of(shape, channels=widths if channels == "stated" else None)
    assert [c.out_channels for c in convolutions(encoder)] == list(widths)
    assert {(c.kernel_size, c.stride, c.padding) for c in convolutions(encoder)} == {((5, 5), (2, 2), (1, 1))}
    assert encoder.trunk(torch.rand(2, *shape)).shape == (2, features)
    assert encoder.heads.in_features == features


def test_null_channels_make_the_very_network_of_the_papers_channels() -> None:
    for shape, widths, _ in PAPER.values():
        stated, grown = encoder_of(shape, channels=widths), encoder_of(shape)
        assert repr(stated) == repr(grown)


def test_null_channels_stop_growing_at_256() -> None:
    widths = [c.out_channels for c in convolutions(encoder_of((1, 512, 512), kernel=3))]
    assert widths == [16, 32, 64, 128, 256, 256, 256, 256]


def test_a_forward_pass_is_convolutions_norms_and_linear_heads() -> None:
    torch.manual_seed(0)
    encoder = encoder_of((2, 14, 11), channels=(6, 5))
    images = torch.rand(3, 2, 14, 11)
    x = images
    for convolution in convolutions(encoder):
        x = F.conv2d(x, convolution.weight, convolution.bias, stride=2, padding=1)
        mean = x.mean(dim=(2, 3), keepdim=True)
        variance = x.var(dim=(2, 3), keepdim=True, unbiased=False)
        x = ((x - mean) / (variance + 1e-5).sqrt()).clamp(min=0)
    expected = x.flatten(1) @ encoder.heads.weight.T + encoder.heads.bias
    content, transformation = encoder(images)
    torch.testing.assert_close(content.mean, expected[:, :4])
    torch.testing.assert_close(content.log_variance, expected[:, 4:8])
    torch.testing.assert_close(transformation.mean, expected[:, 8:11])
    torch.testing.assert_close(transformation.log_variance, expected[:, 11:])


def test_norm_and_activation_are_as_stated() -> None:
    plain = encoder_of((1, 16, 16), norm="none", activation="leaky_relu")
    kinds = [type(block) for block in plain.trunk]
    assert kinds == [nn.Conv2d, nn.LeakyReLU, nn.Conv2d, nn.LeakyReLU, nn.Flatten]
    normed = encoder_of((1, 16, 16))
    assert [type(b) for b in normed.trunk[:3]] == [nn.Conv2d, nn.GroupNorm, nn.ReLU]
    assert not list(normed.trunk[1].parameters())  # not affine


def test_volumes_have_three_dimensional_blocks() -> None:
    encoder = encoder_of((1, 16, 16, 16))
    assert [type(block) for block in encoder.trunk[:2]] == [nn.Conv3d, nn.GroupNorm]
    content, transformation = encoder(torch.rand(2, 1, 16, 16, 16))
    assert content.mean.shape == content.log_variance.shape == (2, 4)
    assert transformation.mean.shape == transformation.log_variance.shape == (2, 3)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_an_images_posterior_does_not_depend_on_the_others_of_its_batch(mode: str) -> None:
    torch.manual_seed(0)
    encoder = encoder_of((1, 16, 16)).train(mode == "train")
    images = torch.rand(5, 1, 16, 16)
    together = encoder(images)[0].mean
    alone = torch.cat([encoder(image[None])[0].mean for image in images])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize(
    ("shape", "stated", "sentence"),
    [
        ((1, 28, 28), {"channels": (8, 8, 8, 8)}, "images of 28 x 28 are too small for 4 blocks"),
        ((1, 4, 4), {}, "images of 4 x 4 are too small for 1 blocks"),
        ((1, 64, 4), {}, "images of 64 x 4 are too small"),
        ((1, 8, 8, 8), {"channels": (8, 8)}, "images of 8 x 8 x 8 are too small for 2 blocks"),
    ],
)
def test_too_small_images_are_refused(shape: tuple[int, ...], stated: dict[str, object], sentence: str) -> None:
    with pytest.raises(RecipeError, match=f"^{sentence}.*network.encoder.channels, kernel or padding$"):
        encoder_of(shape, **stated)


def test_blocks_that_keep_the_size_can_be_stacked() -> None:
    encoder = encoder_of((1, 8, 8), channels=(4, 4, 4), kernel=3, stride=1, padding=1)
    assert encoder.trunk(torch.rand(2, 1, 8, 8)).shape == (2, 4 * 8 * 8)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    sides=st.lists(st.integers(1, 40), min_size=2, max_size=2),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    channels=st.none() | st.lists(st.integers(1, 3), min_size=1, max_size=4),
)
def test_any_setting_gives_a_network_that_works_or_is_refused(
    sides: list[int], kernel: int, stride: int, padding: int, channels: list[int] | None
) -> None:
    try:
        encoder = encoder_of((1, *sides), channels=channels, kernel=kernel, stride=stride, padding=padding)
    except RecipeError:
        return
    mean: Tensor = encoder(torch.rand(1, 1, *sides))[0].mean
    assert mean.shape == (1, 4)
    assert mean.isfinite().all()
    if channels is not None:
        assert [c.out_channels for c in convolutions(encoder)] == channels


# ---- the paper's encoder for subtomograms, and batch normalisation


def test_fully_connected_layers_are_the_papers_last_convolutions() -> None:
    """Conv3d 1-32-64-128 (k4 s2 p1), then 512 (k4) and 1024 (k1), LeakyReLU, no norm."""
    torch.manual_seed(0)
    stated = {"channels": (32, 64, 128), "kernel": 4, "norm": "none", "activation": "leaky_relu"}
    encoder = encoder_of((1, 32, 32, 32), hidden=(512, 1024), **stated)
    layers = [m for m in encoder.trunk if isinstance(m, (nn.Conv3d, nn.Linear))]
    kernel_4 = layers[3].weight.reshape(512, 128, 4, 4, 4)
    kernel_1 = layers[4].weight.reshape(1024, 512, 1, 1, 1)
    images = torch.randn(2, 1, 32, 32, 32)
    x = images
    for convolution in layers[:3]:
        x = F.leaky_relu(F.conv3d(x, convolution.weight, convolution.bias, stride=2, padding=1))
    x = F.leaky_relu(F.conv3d(x, kernel_4, layers[3].bias))
    x = F.leaky_relu(F.conv3d(x, kernel_1, layers[4].bias))
    assert x.shape == (2, 1024, 1, 1, 1)
    torch.testing.assert_close(encoder.trunk(images), x.flatten(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 20, 20), (1, 20, 20, 20)])
def test_batch_normalisation_follows_every_layer(shape: tuple[int, ...]) -> None:
    encoder = encoder_of(shape, channels=(4, 6), norm="batch", hidden=(5,))
    norms = [m for m in encoder.trunk if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert [norm.num_features for norm in norms] == [4, 6, 5]
    content, _ = encoder(torch.randn(8, *shape))
    assert content.mean.shape == (8, 4)
    encoder.eval()
    one, both = torch.randn(1, *shape), torch.randn(1, *shape)
    alone = encoder(one)[0].mean
    torch.testing.assert_close(encoder(torch.cat([one, both]))[0].mean[:1], alone, rtol=1e-4, atol=1e-5)
