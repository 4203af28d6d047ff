"""Harmony: content is what two views of an image share once each is turned and shifted back (Uddin et al.)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from dualcontrast.methods.method import Batch, Codes, Losses, Method, MethodSettings, Pair
from dualcontrast.networks import Decoder, DecoderSettings, EncoderSettings, Gaussian, perceptron, trunk_of
from dualcontrast.transforms import View, random_rotations, resample, rotations_by

LARGEST_SHIFT = 0.5  # that the encoder can give, in half sides


class HarmonySettings(MethodSettings):
    """Settings of the objective, of its views, and of the networks for pictures."""

    name: str = Field("harmony", description="the method's name in the registry")
    transformation_size: int = Field(
        3,
        ge=1,
        description="not a choice: z has 3 numbers for pictures and 6 for volumes, whatever is stated here",
    )
    hidden: tuple[PositiveInt, ...] = Field(
        (512, 512, 512, 512, 128),
        min_length=1,
        description="widths of the encoder's hidden layers for pictures; the decoder has them in reverse",
    )
    degrees: float = Field(90.0, gt=0, le=180, description="the largest turn of a view")
    shift: float = Field(
        0.11, ge=0, le=0.5, description="the largest shift of a view along an axis, as a share of the side there"
    )
    squared_error_weight: float = Field(
        1.0, gt=0, description="w; the paper has ceil(N / (1000 B)) of N images in batches of B"
    )


class Harmony(Method):
    """Two views of an image, each turned and shifted back by what the encoder says of it, are to be one image.

    The encoder gives q(c|x), a Gaussian, and z, which is not random. T_z turns an image, then shifts it. With
    x' a view of x, and y = T_z^-1(x) and y' = T_z'^-1(x') both views aligned, the objective is

        L = w (|dec(c) - y|^2 + |dec(c') - y'|^2 + |y - y'|^2) + KL(q(c|x) || q(c'|x')) / d

    with c and c' drawn from their posteriors and sums over pixels (M. R. Uddin et al., CVPR 2022). There is no
    divergence from a prior. An image is made of its codes as T_z(dec(c)).

    Pictures: z = (theta, dx, dy), theta in radians from x towards y. Volumes: z = (v, dx, dy, dz), the turn by
    |v| radians about v. Shifts are in halves of the image's side along that axis.

    Views are the method's own, a turn and a shift, and not the recipe's: what T_z cannot undo (a change of scale,
    contrast or shape) would leave |y - y'| an error that no encoder can lower.

    It departs from the paper in this: a view's largest shift is a share of the side, 0.11, for images of any size
    (the paper has 3 of 28 pixels, 4 of 32 voxels); the optional change of scale is left out; and the encoder's
    own shifts pass a tanh that bounds them to a quarter of the side, since images moved out of sight would all be
    alike, at no error. Volumes pass the recipe's convolutions, as in all other methods: those of the recipe
    `subtomograms`, 32-64-128, are the paper's.

    Images that nearly repeat after half a turn, as many digits do, can leave it in a local minimum, where some
    copies of an image are aligned half a turn away from the others.

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    settings
        The objective, its views, and the networks for pictures.
    encoder, decoder
        The networks for volumes; of pictures only `decoder.output` is used.
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
        self,
        shape: Sequence[int],
        settings: HarmonySettings,
        encoder: EncoderSettings,
        decoder: DecoderSettings,
        views: Sequence[View],
    ) -> None:
        super().__init__()
        self.settings = settings
        dimensions = len(shape) - 1
        pictures = dimensions == 2
        turns = 1 if pictures else 3
        self.sizes = [settings.content_size, settings.content_size, turns, dimensions]
        build = _perceptrons if pictures else _convolutions
        self.encoder, self.decoder = build(shape, settings, encoder, decoder, sum(self.sizes))
        self.sides: Tensor
        self.register_buffer("sides", torch.tensor(shape[:0:-1], dtype=torch.float32), persistent=False)

    def view(self, images: Tensor) -> Tensor:
        """Return x': each image turned by up to `degrees`, then shifted by up to `shift` of its side."""
        count, dimensions, device, dtype = len(images), len(self.sides), images.device, images.dtype
        matrices = random_rotations(count, dimensions, self.settings.degrees, device, dtype)
        shares = self.settings.shift * (2 * torch.rand(count, dimensions, device=device, dtype=dtype) - 1)
        return resample(images, matrices, shares * self.sides)

    def encode_and_sample(self, batch: Batch) -> tuple[Codes, Codes]:
        """See Method; z is not random."""
        content, transformation = self._encoded(batch.images)
        return Codes(content.mean, transformation), Codes(content.sample(), transformation)

    def decode(self, codes: Codes) -> Tensor:
        """Return T_z(dec(c))."""
        return resample(self.decoder(codes.content), *self._placement(codes.transformation))

    def align(self, images: Tensor, transformation: Tensor) -> Tensor:
        """Return T_z^-1(x), of images (B, C, spatial...) and z (B, 3 or 6)."""
        matrices, shifts = self._placement(transformation)
        with torch.autocast(images.device.type, enabled=False):
            back = -(matrices.mT @ shifts[:, :, None]).squeeze(2)
        return resample(images, matrices.mT, back)

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Return the objective."""
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
        """Return both views of an image, as they are and aligned."""
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
        """Return what T_z turns by, (B, D, D), and shifts by, (B, D) in pixels; never in half precision."""
        turns, shifts = transformation.to(self.sides.dtype).split(self.sizes[2:], dim=1)
        with torch.autocast(transformation.device.type, enabled=False):
            matrices = rotations_by(turns)
        return matrices, shifts * self.sides / 2


def _perceptrons(
    shape: Sequence[int], settings: HarmonySettings, _: EncoderSettings, decoder: DecoderSettings, outputs: int
) -> tuple[nn.Module, nn.Module]:
    """Return the encoder and the decoder for pictures."""
    pixels, output = math.prod(shape), nn.Sigmoid() if decoder.output == "sigmoid" else nn.Identity()
    layers = perceptron((pixels, *settings.hidden), outputs)
    mirrored = perceptron((settings.content_size, *reversed(settings.hidden)), pixels)
    return nn.Sequential(nn.Flatten(), *layers), nn.Sequential(*mirrored, nn.Unflatten(1, tuple(shape)), output)


def _convolutions(
    shape: Sequence[int],
    settings: HarmonySettings,
    encoder: EncoderSettings,
    decoder: DecoderSettings,
    outputs: int,
) -> tuple[nn.Module, nn.Module]:
    """Return the encoder and the decoder for volumes."""
    trunk, features = trunk_of(shape, encoder)
    head = nn.Linear(features, outputs)
    return nn.Sequential(trunk, head), _ContentDecoder(shape, settings.content_size, decoder)


class _ContentDecoder(nn.Module):
    """The decoder of all methods, of one code alone."""

    def __init__(self, shape: Sequence[int], size: int, settings: DecoderSettings) -> None:
        super().__init__()
        first = () if settings.code_width is None else (settings.code_width,)
        alone = settings.model_copy(update={"code_width": None, "hidden": (*first, *settings.hidden)})
        self.decoder = Decoder(shape, size, 0, alone)

    def forward(self, content: Tensor) -> Tensor:
        images: Tensor = self.decoder(content, content[:, :0])
        return images


def _divergence(first: Gaussian, second: Gaussian) -> Tensor:
    """Return KL(first || second) of each, (B,)."""
    excess = first.log_variance - second.log_variance
    distance = (first.mean - second.mean).square() * torch.exp(-second.log_variance)
    return 0.5 * (excess.exp() - excess - 1 + distance).sum(dim=1)
