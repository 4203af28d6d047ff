"""VITAE: an image as an appearance deformed by a diffeomorphism (Skafte and Hauberg)."""

from __future__ import annotations

import importlib
import logging
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from dualcontrast.errors import MethodError
from dualcontrast.methods.losses import squared_error
from dualcontrast.methods.method import Batch, Codes, Losses, Method, MethodSettings
from dualcontrast.networks import Gaussian, NetworkSettings, perceptron
from dualcontrast.transforms import View, resample

CELLS = {2: (2, 4), 3: (2, 2, 2)}  # of the tessellation, along x, y (and z)
DOUBLINGS = 6  # of a flow over 1/64 of the time; the paper's solver takes 50 steps
LARGEST_VOLUME = 16
SMALLEST_VARIANCE = 1e-6


class VITAESettings(MethodSettings):
    """Settings of the objective and of the networks, which replace those of the recipe."""

    name: str = Field("vitae", description="the method's name")
    hidden: tuple[PositiveInt, ...] = Field(
        (512, 256),
        min_length=1,
        description="widths of the encoders' hidden layers; the decoders use them in reverse",
    )
    gamma_c: float = Field(0.01, ge=0, description="weight of KL(q(c|x, z) || N(0, I))")
    gamma_z: float = Field(0.01, ge=0, description="weight of KL(q(z|x) || N(0, I))")
    warm_up: int = Field(
        10, ge=0, description="epochs over which the weight of both divergences grows linearly from 0"
    )


class VITAE(Method):
    """A VAE that decodes one code to an appearance and deforms it by a diffeomorphism of the other: C-VITAE.

    z gives the parameters theta = f(z) of a diffeomorphism T_theta, whose inverse is T_-theta. The content is
    encoded after undoing the deformation, q(c|T_-theta(x)), and decoded to an appearance g(c). The objective is

        L(x) = 1/2 |T_theta(g(c)) - x|^2 + b [ gamma_c KL(q(c|T_-theta(x)) || N(0, I))
                                             + gamma_z KL(q(z|x) || N(0, I)) ],      theta = f(z)

    with z, then c, sampled from their posteriors, the error summed over pixels, and b growing from 0 to 1 over the
    first epochs (N. Skafte Detlefsen and S. Hauberg, NeurIPS 2019). Codes are posterior means; for c, T_-theta(x)
    uses the mean of z. q(c) and q(z) have separate networks for their means and their variances.

    T_theta is CPAB (O. Freifeld et al., PAMI 2017), from the package libcpab: the flow, over unit time, of a
    continuous velocity field that is affine within each cell of a tessellation and tangential at the border.
    Pictures have 2 x 4 rectangles of 4 triangles each: theta has 30 numbers.

    Volumes (an extension of the published method): 2 x 2 x 2 boxes of 5 tetrahedra each, 27 numbers.

    Differences from the paper: the likelihood is a Gaussian of fixed variance, and the divergences have the
    weights of all VAEs here. libcpab integrates the flow point by point in 50 steps (its compiled parts are not on
    PyPI, and without them it takes twenty times as long). Here it is integrated by scaling and squaring
    (V. Arsigny et al., MICCAI 2006): the displacement over 1/64 of the time is doubled six times on the grid of
    pixels, with bilinear interpolation. The error is a few hundredths of a pixel for displacements of two pixels,
    and the same for the inverse.

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    settings
        Settings of the objective and of the networks.
    networks
        Not used, except `networks.decoder.output`: `settings` define the networks.
    views
        T, applied one after the other; not part of the objective.

    Raises
    ------
    MethodError
        libcpab is not installed, or volumes are too large.
    """

    Settings: ClassVar[type[MethodSettings]] = VITAESettings
    settings: VITAESettings

    def __init__(
        self, shape: Sequence[int], settings: VITAESettings, networks: NetworkSettings, views: Sequence[View]
    ) -> None:
        super().__init__()
        if len(shape) == 4 and max(shape[1:]) > LARGEST_VOLUME:
            raise MethodError(
                f"vitae takes volumes of at most {LARGEST_VOLUME} voxels a side, and these have "
                f"{' x '.join(map(str, shape[1:]))}, whose diffeomorphisms would take too long; bin them, or "
                "choose another method"
            )
        self.settings = settings
        self.views = tuple(views)
        self.flow = Diffeomorphism(shape[1:])
        pixels, hidden = math.prod(shape), settings.hidden
        mirrored = hidden[::-1]
        self.content = _Posterior((pixels, *hidden), settings.content_size)
        self.transformation = _Posterior((pixels, *hidden), settings.transformation_size)
        self.parameters_of_flow = perceptron(
            (settings.transformation_size, *mirrored), self.flow.size, _normalised
        )
        self.appearance = nn.Sequential(
            perceptron((settings.content_size, *mirrored), pixels, _normalised),
            nn.Unflatten(1, tuple(shape)),
            nn.Sigmoid() if networks.decoder.output == "sigmoid" else nn.Identity(),
        )

    def encode(self, batch: Batch) -> Codes:
        """Return the posterior means; c is that of the image with the deformation of the mean of z undone."""
        z = self.transformation(batch.images).mean
        return Codes(self._undeformed_content(z, batch.images).mean, z)

    def encode_and_sample(self, batch: Batch) -> tuple[Codes, Codes]:
        """See Method; c is sampled after undoing the deformation of the sampled z."""
        z = self.transformation(batch.images).sample()
        return self.encode(batch), Codes(self._undeformed_content(z, batch.images).sample(), z)

    def decode(self, codes: Codes) -> Tensor:
        """Return T_theta(g(c))."""
        images: Tensor = self.flow(self.appearance(codes.content), self.parameters_of_flow(codes.transformation))
        return images

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Compute the objective."""
        settings, images = self.settings, batch.images
        transformation = self.transformation(images)
        z = transformation.sample()
        theta = self.parameters_of_flow(z)
        content = self.content(self.flow(images, -theta))
        output = self.flow(self.appearance(content.sample()), theta)
        warmth = min(1.0, batch.epoch / settings.warm_up) if self.training and settings.warm_up else 1.0
        losses = Losses()
        losses.add("reconstruction", squared_error(output, images, "image"), 1.0)
        losses.add("kl_content", content.kl().mean(), warmth * settings.gamma_c)
        losses.add("kl_transformation", transformation.kl().mean(), warmth * settings.gamma_z)
        return losses

    def _undeformed_content(self, z: Tensor, images: Tensor) -> Gaussian:
        """Return q(c|T_-theta(x)), theta = f(z)."""
        posterior: Gaussian = self.content(self.flow(images, -self.parameters_of_flow(z)))
        return posterior


class Diffeomorphism(nn.Module):
    """A CPAB transformation T_theta: T_theta(x)(p) = x(phi_theta(p)), with inverse T_-theta.

    The corners of the tessellation are the centres of the corner pixels.

    Parameters
    ----------
    spatial
        The image's sides.

    Attributes
    ----------
    size : int
        Length of theta.
    velocities : Tensor
        (size, D, spatial...), the velocity field of each component of theta, in pixels, x first. It is stored with
        the weights, since another machine may choose another basis of the same fields.
    """

    def __init__(self, spatial: Sequence[int]) -> None:
        super().__init__()
        self.velocities: Tensor
        self.register_buffer("velocities", _velocities(tuple(spatial)).clone())
        self.size = len(self.velocities)

    def forward(self, images: Tensor, theta: Tensor) -> Tensor:
        """Apply T_theta to images (B, C, spatial...), theta (B, size)."""
        return _deformed(images, self.displacements(theta))

    def displacements(self, theta: Tensor) -> Tensor:
        """Return phi_theta(p) - p in pixels, (B, D, spatial...), x first; never in half precision."""
        with torch.autocast(theta.device.type, enabled=False):
            velocities = torch.tensordot(theta.to(self.velocities.dtype), self.velocities, dims=1)
            displacements: Tensor = velocities / 2**DOUBLINGS
            for _ in range(DOUBLINGS):
                displacements = displacements + _deformed(displacements, displacements)
        return displacements


def _deformed(images: Tensor, displacements: Tensor) -> Tensor:
    """Sample images (B, C, spatial...) at each pixel plus its displacement (B, D, spatial...)."""
    identity = torch.eye(displacements.shape[1], device=images.device, dtype=displacements.dtype)
    return resample(images, identity.expand(len(images), -1, -1), displacements=displacements.movedim(1, -1))


@lru_cache(maxsize=8)
def _velocities(spatial: tuple[int, ...]) -> Tensor:
    """Return the velocity field of each component of theta, in pixels, (size, D, spatial...)."""
    dimensions = len(spatial)
    cells = CELLS[dimensions]
    tesselation, findcellidx = _libcpab()
    kind = getattr(tesselation, f"Tesselation{dimensions}D")
    with tempfile.TemporaryDirectory() as folder:  # for the copy that it writes of its result
        basis = kind(list(cells), [0] * dimensions, [1] * dimensions, zero_boundary=True, direc=f"{folder}/").B
    maps = torch.from_numpy(basis.T).reshape(basis.shape[1], -1, dimensions, dimensions + 1)
    axes = [torch.linspace(0, 1, side) for side in spatial]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1]).flatten(1)  # D, P
    at = findcellidx.findcellidx(dimensions, points.clone(), cells)
    homogeneous = torch.cat([points, torch.ones_like(points[:1])]).to(maps.dtype)
    velocities = torch.einsum("kpij,jp->kip", maps[:, at], homogeneous)
    steps = torch.tensor([side - 1 for side in spatial[::-1]])
    return (velocities * steps[:, None]).reshape(-1, dimensions, *spatial).float().contiguous()


def _libcpab() -> tuple[Any, Any]:
    """Import the modules of libcpab for tessellations.

    Raises
    ------
    MethodError
        libcpab is not installed.
    """
    try:
        with _without_compilation():
            return importlib.import_module("libcpab.tesselation"), importlib.import_module("libcpab.findcellidx")
    except ImportError:
        raise MethodError(
            "vitae needs libcpab, which is not installed; install it with pip install 'dualcontrast[vitae]'"
        ) from None


@contextmanager
def _without_compilation() -> Iterator[None]:
    """Keep libcpab from compiling its missing parts on import, which leaves folders and locks behind."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns that there is no GPU
    cpp_extension: Any = importlib.import_module("torch.utils.cpp_extension")
    load = cpp_extension.load
    cpp_extension.load = _refuse
    try:
        yield
    finally:
        cpp_extension.load = load


def _refuse(*_: object, **__: object) -> None:
    raise RuntimeError("not compiled")


class _Posterior(nn.Module):
    """A diagonal Gaussian, with a network for its mean and another for its variance."""

    def __init__(self, widths: Sequence[int], size: int) -> None:
        super().__init__()
        self.mean = perceptron(widths, size, _normalised)
        self.variance = perceptron(widths, size, _normalised)

    def forward(self, images: Tensor) -> Gaussian:
        """Return the posterior of images (B, C, spatial...)."""
        pixels = images.flatten(1)
        return Gaussian(self.mean(pixels), torch.log(F.softplus(self.variance(pixels)) + SMALLEST_VARIANCE))


def _normalised(width: int) -> list[nn.Module]:
    """Return the modules after a hidden layer."""
    return [nn.BatchNorm1d(width), nn.LeakyReLU()]
