"""Convolutional encoder: one trunk, with a mean and a log-variance head for each code."""

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
        description="output channels of each block; null: 16, doubled with each block up to 256, with as many "
        "blocks as leave sides of at least 2 pixels (the paper's trunks for 28 x 28 and 64 x 64)",
    )
    kernel: int = Field(5, description="side of the kernels", ge=1)
    stride: int = Field(2, ge=1, description="of each convolution: the factor by which a block reduces the image")
    padding: int = Field(1, ge=0, description="zeros added on each side before each convolution")
    norm: Literal["instance", "batch", "layer", "none"] = Field(
        "instance",
        description="normalisation after each convolution: instance (not affine), batch, layer or none; batch and "
        "layer also apply after fully connected layers",
    )
    hidden: tuple[PositiveInt, ...] = Field(
        (),
        description="widths of fully connected layers after the blocks; on a map of 4 x 4 x 4 voxels, the first "
        "equals a convolution with kernel 4",
    )
    activation: Literal["relu", "leaky_relu"] = Field("relu", description="after each layer but the last")


def _sides(spatial: Sequence[int], settings: EncoderSettings) -> list[list[int]]:
    """Return the sides after each block, while every side has at least 2 pixels.

    If the number of blocks is not given, blocks are added as long as they reduce the image.
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
    """Return the activation layer with that name."""
    return nn.ReLU(inplace=True) if name == "relu" else nn.LeakyReLU(inplace=True)


def trunk_of(shape: Sequence[int], settings: EncoderSettings) -> tuple[nn.Sequential, int]:
    """Build the trunk for images (C, spatial...); return it with its number of features.

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
            # One group per channel is instance normalisation, with a faster kernel on CPUs.
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
    """A trunk of convolutional blocks and optional fully connected layers, with linear heads.

    Parameters
    ----------
    shape, content_size, transformation_size
        (C, spatial...) of an image, and the lengths of the codes.
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
        """Return the posteriors of content and transformation."""
        content_mean, content_log_variance, mean, log_variance = self.heads(self.trunk(images)).split(
            self.sizes, dim=1
        )
        return Gaussian(content_mean, content_log_variance), Gaussian(mean, log_variance)
