"""Harmony: content is what two views of an image share once both are aligned (Uddin et al.)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from dualcontrast.methods.method import Batch, Codes, Losses, Method, MethodSettings, Pair
from dualcontrast.networks import (
    Decoder,
    DecoderSettings,
    Gaussian,
    NetworkSettings,
    perceptron,
    trunk_of,
)
from dualcontrast.transforms import View, random_rotations, resample, rotations_by

LARGEST_SHIFT = 0.5  # predicted by the encoder, in half sides


class HarmonySettings(MethodSettings):
    """Settings of the objective, of its views, and of the networks for pictures."""

    name: str = Field("harmony", description="the method's name")
    transformation_size: int = Field(
        3,
        ge=1,
        description="ignored: z has 3 numbers for pictures and 6 for volumes",
    )
    hidden: tuple[PositiveInt, ...] = Field(
        (512, 512, 512, 512, 128),
        min_length=1,
        description="widths of the encoder's hidden layers for pictures; the decoder has them in reverse",
    )
    degrees: float = Field(90.0, gt=0, le=180, description="largest rotation of a view")
    shift: float = Field(
        0.11, ge=0, le=0.5, description="largest shift of a view along an axis, as a fraction of the side"
    )
    squared_error_weight: float = Field(
        1.0, gt=0, description="w; the paper has ceil(N / (1000 B)) for N images in batches of B"
    )


class Harmony(Method):
    """Align two views of an image by the transformation that the encoder predicts for each, and match them.

    The encoder predicts a Gaussian q(c|x) and a deterministic z. T_z rotates an image, then shifts it. With
    x' a view of x, and the aligned views y = T_z^-1(x) and y' = T_z'^-1(x'), the objective is

        L = w (|dec(c) - y|^2 + |dec(c') - y'|^2 + |y - y'|^2) + KL(q(c|x) || q(c'|x')) / d

    with c and c' sampled from their posteriors and sums over pixels (M. R. Uddin et al., CVPR 2022). There is no
    KL to a prior. Codes are decoded to an image as T_z(dec(c)).

    Pictures: z = (theta, dx, dy), theta in radians from x towards y. Volumes: z = (v, dx, dy, dz), a rotation by
    |v| radians about v. Shifts are in half sides of the image along that axis.

    The method uses its own views, a rotation and a shift, and ignores the recipe's: a change that T_z cannot undo
    (of scale, contrast or shape) would leave an error |y - y'| that no encoder can reduce.

    Differences from the paper: a view's largest shift is a fraction of the side, 0.11, for images of any size
    (the paper has 3 of 28 pixels, 4 of 32 voxels); the optional change of scale is left out; and a tanh bounds
    the predicted shifts to a quarter of the side, since images shifted out of the field of view would all match
    without error. Volumes pass the recipe's convolutions, as in all other methods: those of the recipe
    `subtomograms`, 32-64-128, are the paper's.

    Images that are nearly symmetric under half a turn, as many digits are, can cause a local minimum, where some
    copies of an image are aligned half a turn away from the others.

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    settings
        Settings of the objective, its views, and the networks for pictures.
    networks
        The networks for volumes. For pictures, `settings` define the networks, and only `networks.decoder.output`
        is used.
    views
        Not used.

    Raises
    ------
    RecipeError
        The networks do not fit volumes of that size.
    """

    Settings: ClassVar[type[MethodSettings]] = HarmonySettings
    settings: HarmonySettings

    def __init__(
        self, shape: Sequence[int], settings: HarmonySettings, networks: NetworkSettings, views: Sequence[View]
    ) -> None:
        super().__init__()
        self.settings = settings
        dimensions = len(shape) - 1
        pictures = dimensions == 2
        turns = 1 if pictures else 3
        self.sizes = [settings.content_size, settings.content_size, turns, dimensions]
        build = _perceptrons if pictures else _convolutions
        self.encoder, self.decoder = build(shape, settings, networks, sum(self.sizes))
        self.sides: Tensor
        self.register_buffer("sides", torch.tensor(shape[:0:-1], dtype=torch.float32), persistent=False)

    def view(self, images: Tensor) -> Tensor:
        """Return x': rotate each image by up to `degrees`, then shift it by up to `shift` of its side."""
        count, dimensions, device, dtype = len(images), len(self.sides), images.device, images.dtype
        matrices = random_rotations(count, dimensions, self.settings.degrees, device, dtype)
        shares = self.settings.shift * (2 * torch.rand(count, dimensions, device=device, dtype=dtype) - 1)
        return resample(images, matrices, shares * self.sides)

    def encode_and_sample(self, batch: Batch) -> tuple[Codes, Codes]:
        """See Method; z is deterministic."""
        content, transformation = self._encoded(batch.images)
        return Codes(content.mean, transformation), Codes(content.sample(), transformation)

    def decode(self, codes: Codes) -> Tensor:
        """Return T_z(dec(c))."""
        return resample(self.decoder(codes.content), *self._placement(codes.transformation))

    def align(self, images: Tensor, transformation: Tensor) -> Tensor:
        """Return T_z^-1(x) for images (B, C, spatial...) and z (B, 3 or 6)."""
        matrices, shifts = self._placement(transformation)
        with torch.autocast(images.device.type, enabled=False):
            back = -(matrices.mT @ shifts[:, :, None]).squeeze(2)
        return resample(images, matrices.mT, back)

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Compute the objective."""
        both = torch.cat([batch.images, self.view(batch.images)])
        content, transformation = self._encoded(both)
        aligned = self.align(both, transformation)
        first, second = aligned.chunk(2)
        decoded = self.decoder(content.sample())
        count, weight = len(batch), self.settings.squared_error_weight
        losses = Losses()
        losses.add("reconstruction", F.mse_loss(decoded, aligned, reduction="sum") / count, weight)
        losses.add("alignment", F.mse_loss(first, second, reduction="sum") / count, weight)
        divergence = _divergence(content[:count], content[count:]).mean()
        losses.add("kl_views", divergence, 1 / self.settings.content_size)
        return losses

    def pairs(self, batch: Batch) -> list[Pair]:
        """Return both views of an image, before and after alignment."""
        images, views = batch.images, self.view(batch.images)
        aligned = [self.align(x, self._encoded(x)[1]) for x in (images, views)]
        return [
            Pair("positive for content: x and its view x'", images, views),
            Pair("the same, each aligned", *aligned),
        ]

    def _encoded(self, images: Tensor) -> tuple[Gaussian, Tensor]:
        """Return q(c|x), and z."""
        mean, log_variance, turns, shifts = self.encoder(images).split(self.sizes, dim=1)
        return Gaussian(mean, log_variance), torch.cat([turns, LARGEST_SHIFT * shifts.tanh()], dim=1)

    def _placement(self, transformation: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rotations (B, D, D) and shifts (B, D) of T_z, in pixels; never in half precision."""
        turns, shifts = transformation.to(self.sides.dtype).split(self.sizes[2:], dim=1)
        with torch.autocast(transformation.device.type, enabled=False):
            matrices = rotations_by(turns)
        return matrices, shifts * self.sides / 2


def _perceptrons(
    shape: Sequence[int], settings: HarmonySettings, networks: NetworkSettings, outputs: int
) -> tuple[nn.Module, nn.Module]:
    """Build the encoder and the decoder for pictures."""
    pixels, output = math.prod(shape), nn.Sigmoid() if networks.decoder.output == "sigmoid" else nn.Identity()
    layers = perceptron((pixels, *settings.hidden), outputs)
    mirrored = perceptron((settings.content_size, *reversed(settings.hidden)), pixels)
    return nn.Sequential(nn.Flatten(), *layers), nn.Sequential(*mirrored, nn.Unflatten(1, tuple(shape)), output)


def _convolutions(
    shape: Sequence[int],
    settings: HarmonySettings,
    networks: NetworkSettings,
    outputs: int,
) -> tuple[nn.Module, nn.Module]:
    """Build the encoder and the decoder for volumes."""
    trunk, features = trunk_of(shape, networks.encoder)
    head = nn.Linear(features, outputs)
    return nn.Sequential(trunk, head), _ContentDecoder(shape, settings.content_size, networks.decoder)


class _ContentDecoder(nn.Module):
    """The shared decoder architecture, for the content code alone."""

    def __init__(self, shape: Sequence[int], size: int, settings: DecoderSettings) -> None:
        super().__init__()
        first = () if settings.code_width is None else (settings.code_width,)
        alone = settings.model_copy(update={"code_width": None, "hidden": (*first, *settings.hidden)})
        self.decoder = Decoder(shape, size, 0, alone)

    def forward(self, content: Tensor) -> Tensor:
        images: Tensor = self.decoder(content, content[:, :0])
        return images


def _divergence(first: Gaussian, second: Gaussian) -> Tensor:
    """Return KL(first || second) for each pair of rows, (B,)."""
    excess = first.log_variance - second.log_variance
    distance = (first.mean - second.mean).square() * torch.exp(-second.log_variance)
    return 0.5 * (excess.exp() - excess - 1 + distance).sum(dim=1)
