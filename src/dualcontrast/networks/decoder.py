"""Decoders from a content and a transformation code to images, fully connected or convolutional."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn

from dualcontrast.errors import RecipeError
from dualcontrast.networks.encoder import CONVOLUTIONS, activation


class DecoderSettings(BaseModel):
    """Settings of the decoder, for any number of spatial dimensions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code_width: PositiveInt | None = Field(
        256,
        description="width of a separate first layer for each code; null concatenates the codes themselves",
    )
    hidden: tuple[PositiveInt, ...] = Field((512, 512, 512), description="widths of the layers after that")
    channels: tuple[PositiveInt, ...] | None = Field(
        None,
        min_length=1,
        description="null: the last layer is fully connected. Otherwise the fully connected layers end in a "
        "small map of channels[0], and each entry adds a block that doubles the sides of the map, up to the image",
    )
    activation: Literal["relu", "leaky_relu"] = Field("relu", description="after each layer but the last")
    output: Literal["sigmoid", "linear"] = Field("sigmoid", description="sigmoid for images in [0, 1]")
    share_code_layer: bool = Field(
        False,
        description="use one first layer for both codes, as the authors' script for MNIST does by mistake; no "
        "effect if code_width is null",
    )


class Decoder(nn.Module):
    """A decoder with a first layer for each code, and joint layers after concatenation.

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    content_size, transformation_size
        Lengths of the codes.
    settings
        The layers.

    Raises
    ------
    RecipeError
        Codes of different sizes share a layer, or the image's sides cannot be reached by doubling.
    """

    def __init__(
        self, shape: Sequence[int], content_size: int, transformation_size: int, settings: DecoderSettings
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.content_layer: nn.Module = nn.Identity()
        self.transformation_layer: nn.Module = nn.Identity()
        width = content_size + transformation_size
        if settings.code_width is not None:
            if settings.share_code_layer and content_size != transformation_size:
                raise RecipeError(
                    f"a code layer shared by both codes needs codes of the same size, not {content_size} and "
                    f"{transformation_size}; change method.content_size, or network.decoder.share_code_layer"
                )
            self.content_layer = _layer(content_size, settings.code_width, settings)
            self.transformation_layer = (
                self.content_layer
                if settings.share_code_layer
                else _layer(transformation_size, settings.code_width, settings)
            )
            width = 2 * settings.code_width
        layers: list[nn.Module] = []
        for hidden in settings.hidden:
            layers.append(_layer(width, hidden, settings))
            width = hidden
        if settings.channels is None:
            layers += [nn.Linear(width, math.prod(shape)), nn.Unflatten(1, self.shape)]
        else:
            layers += _doubling_blocks(width, self.shape, settings)
        if settings.output == "sigmoid":
            layers.append(nn.Sigmoid())
        self.layers = nn.Sequential(*layers)

    def forward(self, content: Tensor, transformation: Tensor) -> Tensor:
        """Decode both codes to images (B, C, spatial...)."""
        joined = torch.cat([self.content_layer(content), self.transformation_layer(transformation)], dim=1)
        images: Tensor = self.layers(joined)
        return images


class SubpixelUpsampling(nn.Module):
    """Double the sides of a map by turning 2^D channels into the 2^D pixels that replace each pixel.

    Convolutions then run on the smaller map (W. Shi et al., CVPR 2016), in any number of dimensions.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Rearrange (B, 2^D C, spatial...) to (B, C, 2 spatial...)."""
        sides = maps.shape[2:]
        split = maps.unflatten(1, (-1, *[2] * len(sides)))  # B, C, a half of each axis, spatial...
        count = len(sides)
        order = [0, 1]
        for axis in range(count):
            order += [2 + count + axis, 2 + axis]
        larger: Tensor = split.permute(order).reshape(len(maps), -1, *(2 * side for side in sides))
        return larger


def _doubling_blocks(width: int, shape: tuple[int, ...], settings: DecoderSettings) -> list[nn.Module]:
    """Build the layers from a vector to an image: a small map, then blocks that double its sides."""
    assert settings.channels is not None
    spatial, factor = shape[1:], 2 ** len(settings.channels)
    if any(side % factor for side in spatial):
        raise RecipeError(
            f"images of {' x '.join(map(str, spatial))} cannot be made by doubling a map {len(settings.channels)} "
            f"times, since {factor} does not divide their sides; change network.decoder.channels"
        )
    smallest = tuple(side // factor for side in spatial)
    convolution, parts = CONVOLUTIONS[len(spatial)], 2 ** len(spatial)
    first = settings.channels[0]
    layers: list[nn.Module] = [
        nn.Linear(width, first * math.prod(smallest)),
        activation(settings.activation),
        nn.Unflatten(1, (first, *smallest)),
    ]
    for inputs, outputs in zip(settings.channels, settings.channels[1:], strict=False):
        layers += [convolution(inputs, parts * outputs, 3, padding=1), SubpixelUpsampling()]
        layers.append(activation(settings.activation))
    layers += [convolution(settings.channels[-1], parts * shape[0], 3, padding=1), SubpixelUpsampling()]
    return layers


def _layer(inputs: int, outputs: int, settings: DecoderSettings) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), activation(settings.activation))
