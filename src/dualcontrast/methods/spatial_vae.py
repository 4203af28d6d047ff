"""SpatialVAE: images as functions of rotated and shifted coordinates (Bepler et al.)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from dualcontrast.errors import RecipeError
from dualcontrast.methods.method import Batch, Codes, Losses, Method, MethodSettings
from dualcontrast.networks import Gaussian, NetworkSettings, perceptron
from dualcontrast.transforms import View, rotations_by
from dualcontrast.transforms.geometry import centre_of

SHIFT = 0.1  # half sides per unit of shift
DEVIATIONS = {"normal": math.pi / 4, "flat": math.pi}  # of the prior of each rotation parameter
POINTS_AT_ONCE = 2**17  # decoded at once outside training; each takes 4 bytes times the widest layer


class SpatialVAESettings(MethodSettings):
    """Settings of the objective and of the networks, which replace those of the recipe."""

    name: str = Field("spatial_vae", description="the method's name")
    transformation_size: int = Field(
        3,
        ge=1,
        description="ignored: z has 3 numbers for pictures and 6 for volumes",
    )
    hidden: tuple[PositiveInt, ...] = Field(
        (500, 500), min_length=1, description="widths of the hidden layers, the same in encoder and decoder"
    )
    likelihood: Literal["bernoulli", "gaussian"] | None = Field(
        None,
        description="of pixels: bernoulli (binary cross-entropy, for images in [0, 1]) or gaussian of unit "
        "variance; null: bernoulli for pictures, gaussian for volumes",
    )
    angle_prior: Literal["normal", "flat"] = Field(
        "normal",
        description="of a picture's angle: N(0, (pi / 4)^2), or flat, where all angles are equally likely; the "
        "prior of a volume's rotation is always flat",
    )
    points_per_step: PositiveInt | None = Field(
        1024,
        description="largest number of pixels or voxels of each image to decode in a step, drawn at random, since "
        "each costs a pass of the decoder; null: all",
    )


class SpatialVAE(Method):
    """A VAE that decodes content at coordinates, which the transformation rotates and shifts.

    With r the coordinates of a pixel, the image is x(r) = g(R(z) r + 0.1 s(z), c), and the objective is

        L(x) = - sum_r log p(x(r) | g(R(z) r + 0.1 s(z), c)) + KL(q(c|x) || N(0, I)) + KL(q(z|x) || p(z))

    with c and z sampled from their posteriors (T. Bepler et al., NeurIPS 2019). The longer side of an image has
    length 2; coordinates are x first, about the centre that the whole package uses. The means and log standard
    deviations of q come from a perceptron. g is a perceptron whose first layer adds linear maps of the coordinates
    and of c. Its output passes a sigmoid for pictures, whose values lie in [0, 1], but not for volumes.

    Pictures: z = (theta, dx, dy), R(theta) rotates from x towards y, and p(z) is N(0, (pi / 4)^2) for theta and
    N(0, 1) for the shifts.

    Volumes (an extension of the published method): z = (v, dx, dy, dz). R is the rotation by |v| about v, the
    exponential of a Gaussian v in the tangent space: it covers SO(3) and is smooth in v.

    A flat prior omits the term of the mean in the divergence from N(0, pi^2), as the published method does for
    particles; it always applies to a volume's v, so that all orientations cost the same. Where images are
    rotated by much more than 60 degrees, some can settle half a turn off, with content that resembles another's.

    Where an image has more points than `points_per_step`, the sum over a random subset, scaled to the full size,
    is an unbiased estimate of the sum over r; pictures of 28 x 28 are decoded whole.

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    settings
        Settings of the objective and of the networks.
    networks
        Not used: `settings` define the networks.
    views
        T, applied one after the other; not part of the objective.

    Raises
    ------
    RecipeError
        The likelihood is Bernoulli and the images are volumes.
    """

    Settings: ClassVar[type[MethodSettings]] = SpatialVAESettings
    settings: SpatialVAESettings

    def __init__(
        self, shape: Sequence[int], settings: SpatialVAESettings, networks: NetworkSettings, views: Sequence[View]
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.settings = settings
        self.views = tuple(views)
        dimensions = len(shape) - 1
        self.pictures = dimensions == 2
        self.likelihood = settings.likelihood or ("bernoulli" if self.pictures else "gaussian")
        if self.likelihood == "bernoulli" and not self.pictures:
            raise RecipeError(
                "method.likelihood = bernoulli is for pictures, whose values lie in [0, 1], and not for volumes; "
                "choose gaussian"
            )
        turns = 1 if self.pictures else 3
        content_size, size = settings.content_size, turns + dimensions
        self.sizes = [content_size, content_size, size, size]
        self.encoder = nn.Sequential(
            nn.Flatten(), *perceptron((math.prod(shape), *settings.hidden), sum(self.sizes))
        )
        self.decoder = CoordinateDecoder(dimensions, content_size, shape[0], settings.hidden)

        flat = settings.angle_prior == "flat" or not self.pictures
        deviation = DEVIATIONS["flat" if flat else "normal"]
        self.deviations: Tensor
        self.mean_weights: Tensor
        self.grid: Tensor
        constants = {
            "deviations": torch.tensor([deviation] * turns + [1.0] * dimensions),
            "mean_weights": torch.tensor([0.0 if flat else 1.0] * turns + [1.0] * dimensions),
            "grid": _grid(shape[1:]),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)

    def encode_and_sample(self, batch: Batch) -> tuple[Codes, Codes]:
        """See Method; z is (theta, dx, dy), or (v, dx, dy, dz) for volumes."""
        content, transformation = self._posteriors(batch.images)
        return Codes(content.mean, transformation.mean), Codes(content.sample(), transformation.sample())

    def decode(self, codes: Codes) -> Tensor:
        """Decode whole images, a chunk of points at a time."""
        at_once = max(1, POINTS_AT_ONCE // max(1, len(codes.content)))
        outputs = torch.cat([self._outputs(points, codes) for points in self.grid.split(at_once)], dim=1)
        return self._values(outputs).mT.reshape(-1, *self.shape)

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Compute the objective."""
        content, transformation = self._posteriors(batch.images)
        values = batch.images.flatten(2).mT  # (B, P, C)
        points, shown = self._points_of(values)
        outputs = self._outputs(points, Codes(content.sample(), transformation.sample()))
        scale = values.shape[1] / shown.shape[1] / len(batch)
        losses = Losses()
        losses.add("reconstruction", scale * self._negative_log_likelihood(outputs, shown), 1.0)
        losses.add("kl_content", content.kl().mean(), 1.0)
        losses.add("kl_transformation", self._relative_to_prior(transformation).kl().mean(), 1.0)
        return losses

    def _posteriors(self, images: Tensor) -> tuple[Gaussian, Gaussian]:
        """Return the posteriors of content and of transformation."""
        content_mean, content_log_std, mean, log_std = self.encoder(images).split(self.sizes, dim=1)
        return Gaussian(content_mean, 2 * content_log_std), Gaussian(mean, 2 * log_std)

    def _relative_to_prior(self, transformation: Gaussian) -> Gaussian:
        """Return q(z|x) in units of the prior, with means of 0 where the prior is flat."""
        mean = self.mean_weights * transformation.mean / self.deviations
        return Gaussian(mean, transformation.log_variance - 2 * self.deviations.log())

    def _points_of(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Draw coordinates (B, n, D), or take all (P, D), with the values (B, n, C) at them."""
        count, wanted = values.shape[1], self.settings.points_per_step
        if wanted is None or count <= wanted:
            return self.grid, values
        places = torch.rand(values.shape[:2], device=values.device).topk(wanted, sorted=False).indices
        return self.grid[places], values.take_along_dim(places[:, :, None], dim=1)

    def _outputs(self, points: Tensor, codes: Codes) -> Tensor:
        """Decode at points (n, D) or (B, n, D) that are rotated and shifted by z, (B, n, C)."""
        dimensions = self.grid.shape[1]
        turns, shifts = codes.transformation.split([codes.transformation.shape[1] - dimensions, dimensions], dim=1)
        matrices = rotations_by(turns)
        outputs: Tensor = self.decoder(points @ matrices.mT + SHIFT * shifts[:, None], codes.content)
        return outputs

    def _values(self, outputs: Tensor) -> Tensor:
        """Map the output of the decoder to the range of the data."""
        return outputs.sigmoid() if self.pictures else outputs

    def _negative_log_likelihood(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Return the sum of -log p(values); for the Gaussian, up to a constant."""
        if self.likelihood == "bernoulli":
            return F.binary_cross_entropy_with_logits(outputs, values, reduction="sum")
        return 0.5 * F.mse_loss(self._values(outputs), values, reduction="sum")


class CoordinateDecoder(nn.Module):
    """A perceptron from coordinates and a content code to the values of the image.

    Parameters
    ----------
    dimensions
        D, numbers per coordinate.
    content_size
        Length of the content code.
    channels
        C, values per coordinate.
    hidden
        Widths of the hidden layers.
    """

    def __init__(self, dimensions: int, content_size: int, channels: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.coordinates = nn.Linear(dimensions, hidden[0])
        self.content = nn.Linear(content_size, hidden[0], bias=False)
        self.layers = nn.Sequential(nn.Tanh(), *perceptron(hidden, channels))

    def forward(self, points: Tensor, content: Tensor) -> Tensor:
        """Return the values (B, n, C) at points (B, n, D) for content codes (B, d)."""
        values: Tensor = self.layers(self.coordinates(points) + self.content(content)[:, None])
        return values


def _grid(spatial: Sequence[int]) -> Tensor:
    """Return the coordinates of all points about the centre, (P, D), x first, in half longest sides."""
    half = (max(spatial) - 1) / 2
    axes = [(torch.arange(n) - c) / half for n, c in zip(spatial, centre_of(spatial), strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1).reshape(-1, len(spatial))
