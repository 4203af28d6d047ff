"""Fully connected decoder: images from a content and a transformation code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn

from dualcontrast.errors import RecipeError
from dualcontrast.networks.encoder import activation


class DecoderSettings(BaseModel):
    """Settings of the fully connected decoder, for any number of spatial dimensions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code_width: PositiveInt | None = Field(
        256,
        description="width of the layer that each code passes alone before the two are joined; null joins the "
        "codes themselves",
    )
    hidden: tuple[PositiveInt, ...] = Field((512, 512, 512), description="widths of the layers after the join")
    activation: Literal["relu", "leaky_relu"] = "relu"
    output: Literal["sigmoid", "linear"] = Field("sigmoid", description="sigmoid for images in [0, 1]")
    share_code_layer: bool = Field(
        False,
        description="one layer for both codes, as the authors' script for MNIST has by mistake; nothing where "
        "code_width is null",
    )


class Decoder(nn.Module):
    """Layers over both codes, each first alone, then joined.

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    content_size, transformation_size
        Length of either code.
    settings
        The layers.

    Raises
    ------
    RecipeError
        Codes of two sizes are to share a layer.
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
                    f"a code layer shared by both codes needs codes of one size, not {content_size} and "
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
        for wanted in settings.hidden:
            layers.append(_layer(width, wanted, settings))
            width = wanted
        layers.append(nn.Linear(width, math.prod(shape)))
        if settings.output == "sigmoid":
            layers.append(nn.Sigmoid())
        self.layers = nn.Sequential(*layers)

    def forward(self, content: Tensor, transformation: Tensor) -> Tensor:
        """Return images (B, C, spatial...)."""
        joined = torch.cat([self.content_layer(content), self.transformation_layer(transformation)], dim=1)
        images: Tensor = self.layers(joined).unflatten(1, self.shape)
        return images


def _layer(inputs: int, outputs: int, settings: DecoderSettings) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), activation(settings.activation))
