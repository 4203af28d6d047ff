"""Convolutional encoder: one trunk, and a mean and a log-variance head for either code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn

from dualcontrast.errors import RecipeError
from dualcontrast.networks.gaussian import Gaussian

CONVOLUTIONS: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORMS: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class EncoderSettings(BaseModel):
    """Settings of the convolutional trunk, for pictures and for volumes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: tuple[PositiveInt, ...] | None = Field(
        None,
        min_length=1,
        description="output channels of each block; null: 16, doubled with each block up to 256, as many blocks "
        "as leave at least 2 pixels a side (which gives the paper's trunks for 28 x 28 and 64 x 64)",
    )
    kernel: int = Field(5, description="side of the kernels", ge=1)
    stride: int = Field(2, ge=1, description="of each convolution: how much smaller a block makes the image")
    padding: int = Field(1, ge=0, description="zeros around the image before each convolution, a side")
    norm: Literal["instance", "batch", "layer", "none"] = Field(
        "instance",
        description="after each convolution: instance normalisation (not affine), batch or layer "
        "normalisation, or none; batch and layer after fully connected layers as well",
    )
    hidden: tuple[PositiveInt, ...] = Field(
        (),
        description="widths of fully connected layers after the blocks; over a map of 4 x 4 x 4 voxels it is the "
        "same as a convolution with kernel 4, over one voxel the same as one with kernel 1",
    )
    activation: Literal["relu", "leaky_relu"] = Field("relu", description="after each layer but the last")


def _sides(spatial: Sequence[int], settings: EncoderSettings) -> list[list[int]]:
    """Return the sides after each block, for as long as every side has at least 2 pixels.

    Where the number of blocks is not stated, it is that of the blocks that make an image smaller.
    """
    sides: list[list[int]] = []
    last = list(spatial)
    while settings.channels is None or len(sides) < len(settings.channels):
        last = [(n + 2 * settings.padding - settings.kernel) // settings.stride + 1 for n in last]
        if min(last) < 2 or (settings.channels is None and sides and max(last) >= max(sides[-1])):
            break
        sides.append(last)
    return sides


def activation(name: str) -> nn.Module:
    """Return the activation of that name."""
    return nn.ReLU(inplace=True) if name == "relu" else nn.LeakyReLU(inplace=True)


def trunk_of(shape: Sequence[int], settings: EncoderSettings) -> tuple[nn.Sequential, int]:
    """Return the trunk for images (C, spatial...), and how many features it makes of one.

    Raises
    ------
    RecipeError
        The images are too small for that many blocks.
    """
    dimensions = len(shape) - 1
    convolution = CONVOLUTIONS[dimensions]
    sides = _sides(shape[1:], settings)
    widths = settings.channels or tuple(min(16 * 2**i, 256) for i in range(len(sides)))
    if not widths or len(widths) > len(sides):
        raise RecipeError(
            f"images of {' x '.join(map(str, shape[1:]))} are too small for {max(len(widths), 1)} blocks "
            "of the encoder; change network.encoder.channels, kernel or padding"
        )
    blocks: list[nn.Module] = []
    for inputs, outputs in zip((shape[0], *widths), widths, strict=False):
        blocks.append(convolution(inputs, outputs, settings.kernel, settings.stride, settings.padding))
        if settings.norm == "instance":
            # A group a channel is instance normalisation, and the faster kernel on CPUs.
            blocks.append(nn.GroupNorm(outputs, outputs, affine=False))
        elif settings.norm == "batch":
            blocks.append(BATCH_NORMS[dimensions](outputs))
        elif settings.norm == "layer":
            blocks.append(nn.GroupNorm(1, outputs))
        blocks.append(activation(settings.activation))
    blocks.append(nn.Flatten())
    features = widths[-1] * math.prod(sides[len(widths) - 1])
    for width in settings.hidden:
        blocks.append(nn.Linear(features, width))
        if settings.norm == "batch":
            blocks.append(nn.BatchNorm1d(width))
        elif settings.norm == "layer":
            blocks.append(nn.LayerNorm(width))
        blocks.append(activation(settings.activation))
        features = width
    return nn.Sequential(*blocks), features


class Encoder(nn.Module):
    """Blocks of convolution, norm and activation, fully connected layers if wanted, then linear heads.

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    content_size, transformation_size
        Length of either code.
    settings
        The trunk.

    Raises
    ------
    RecipeError
        The images are too small for that many blocks.
    """

    def __init__(
        self, shape: Sequence[int], content_size: int, transformation_size: int, settings: EncoderSettings
    ) -> None:
        super().__init__()
        self.trunk, features = trunk_of(shape, settings)
        self.sizes = [content_size, content_size, transformation_size, transformation_size]
        self.heads = nn.Linear(features, sum(self.sizes))  # the four linear heads, side by side

    def forward(self, images: Tensor) -> tuple[Gaussian, Gaussian]:
        """Return the posteriors of content and of transformation."""
        content_mean, content_log_variance, mean, log_variance = self.heads(self.trunk(images)).split(
            self.sizes, dim=1
        )
        return Gaussian(content_mean, content_log_variance), Gaussian(mean, log_variance)
