"""Views: random transformations T that keep the content of an image.

A view is a pydantic model. Its fields are its settings in a recipe, and calling it draws one transformation for
each image. Table 2 of the paper compares the first seven of them.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor

from dualcontrast.errors import RecipeError, nearest
from dualcontrast.transforms.fourier import SPATIAL
from dualcontrast.transforms.geometry import Interpolation, random_rotations, resample

USUAL_TILTS = 60.0  # degrees in both directions, in most tilt series


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] <= 0:
        raise ValueError(f"the lower bound {bounds[0]:g} is not above zero")
    if bounds[0] > bounds[1]:
        raise ValueError(f"the lower bound {bounds[0]:g} is above the upper bound {bounds[1]:g}")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]


class View(BaseModel):
    """One kind of transformation, drawn for each image of a batch.

    Attributes
    ----------
    per : {"sample", "batch"}
        Whether each image has its own draw, or the whole batch shares one, as in the authors' script.
    dimensions : tuple of int
        Numbers of spatial dimensions that the view can transform.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dimensions: ClassVar[tuple[int, ...]] = (2, 3)

    name: str
    per: Literal["sample", "batch"] = Field(
        "sample", description="sample: one draw per image; batch: one draw per batch"
    )

    def check(self, shape: tuple[int, ...]) -> None:
        """Check that the view can transform images (C, spatial...), before training starts.

        Raises
        ------
        RecipeError
            The number of spatial dimensions does not fit, or the images have no colours and the view needs them.
        """
        if len(shape) - 1 not in self.dimensions:
            kind = {2: "pictures", 3: "volumes"}
            fits = " and ".join(kind[d] for d in self.dimensions)
            raise RecipeError(f"the view {self.name} is for {fits}; the images have shape {shape}")

    def __call__(self, images: Tensor) -> Tensor:
        """Return one view of each image, (B, C, spatial...)."""
        if self.per == "sample":
            return self.transform(images, len(images))
        return self.transform(images, 1)

    @abstractmethod
    def transform(self, images: Tensor, draws: int) -> Tensor:
        """Transform images (B, C, spatial...) by B draws, or by one for all."""

    def _uniform(self, bounds: tuple[float, float], images: Tensor, draws: int, *size: int) -> Tensor:
        """Draw numbers within bounds, (B, size...), from `draws` independent draws."""
        low, high = bounds
        drawn = low + (high - low) * torch.rand(draws, *size, device=images.device, dtype=images.dtype)
        return drawn.expand(len(images), *size)


class Rotation(View):
    """Rotate by up to `degrees` in either direction; in 3D uniform on SO(3) within that angle (180: all)."""

    name: Literal["rotation"] = "rotation"
    degrees: float = Field(90, gt=0, le=180, description="largest rotation, in either direction")
    interpolation: Interpolation = Field("bilinear", description="between pixels or voxels")

    def transform(self, images: Tensor, draws: int) -> Tensor:
        """See View.transform."""
        matrices = random_rotations(draws, images.ndim - 2, self.degrees, images.device, images.dtype)
        return resample(images, matrices.expand(len(images), -1, -1), interpolation=self.interpolation)


class Translation(View):
    """Shift along each axis by up to `fraction` of the image's side."""

    name: Literal["translation"] = "translation"
    fraction: float = Field(0.1, gt=0, le=1, description="largest shift, as a fraction of the image's side")
    interpolation: Interpolation = Field("bilinear", description="between pixels or voxels")

    def transform(self, images: Tensor, draws: int) -> Tensor:
        """See View.transform."""
        dimensions = images.ndim - 2
        sides = torch.tensor(images.shape[2:][::-1], device=images.device, dtype=images.dtype)
        shifts = sides * self._uniform((-self.fraction, self.fraction), images, draws, dimensions)
        return resample(images, _identities(images), shifts, self.interpolation)


class Scale(View):
    """Scale about the centre by a factor within `factor`."""

    name: Literal["scale"] = "scale"
    factor: Range = Field((0.7, 1.3), description="smallest and largest")
    interpolation: Interpolation = Field("bilinear", description="between pixels or voxels")

    def transform(self, images: Tensor, draws: int) -> Tensor:
        """See View.transform."""
        factors = self._uniform(self.factor, images, draws)
        return resample(images, _identities(images) * factors[:, None, None], interpolation=self.interpolation)


class Deformation(View):
    """Rotate, scale, shear, shift and deform elastically, all in one interpolation.

    Rotations are those of `rotation`; a shear is x' = x + s y, for each pair of axes. The elastic deformation is
    smooth: random displacements at a few control points along each axis, with interpolation between them.
    """

    name: Literal["deformation"] = "deformation"
    degrees: float = Field(30, gt=0, le=180, description="largest rotation, in either direction")
    factor: Range = Field((0.8, 1.2), description="smallest and largest magnification")
    shear: float = Field(0.0, ge=0, le=1, description="largest s, in either direction")
    shift: float = Field(
        0.1, ge=0, le=1, description="largest shift along each axis, as a fraction of the image's side"
    )
    elastic: float = Field(
        0.05, ge=0, le=0.5, description="standard deviation of a control point, as a fraction of the image's side"
    )
    control_points: int = Field(4, ge=2, description="number of control points along each axis")

    def transform(self, images: Tensor, draws: int) -> Tensor:
        """See View.transform."""
        dimensions = images.ndim - 2
        rotations = random_rotations(draws, dimensions, self.degrees, images.device, images.dtype)
        shears = _identities(images) + torch.triu(
            self._uniform((-self.shear, self.shear), images, draws, dimensions, dimensions), diagonal=1
        )
        factors = self._uniform(self.factor, images, draws)[:, None, None]
        matrices = factors * (rotations.expand(len(images), -1, -1) @ shears)
        sides = torch.tensor(images.shape[2:][::-1], device=images.device, dtype=images.dtype)
        shifts = sides * self._uniform((-self.shift, self.shift), images, draws, dimensions)
        return resample(images, matrices, shifts, displacements=self._elastic_displacements(images, draws, sides))

    def _elastic_displacements(self, images: Tensor, draws: int, sides: Tensor) -> Tensor | None:
        """Return smooth random displacements in pixels, (B, spatial..., D)."""
        if not self.elastic:
            return None
        dimensions = images.ndim - 2
        grid = [self.control_points] * dimensions
        control = torch.randn(draws, dimensions, *grid, device=images.device, dtype=images.dtype)
        mode = "bicubic" if dimensions == 2 else "trilinear"
        smooth = F.interpolate(self.elastic * control, images.shape[2:], mode=mode, align_corners=True)
        return (smooth.movedim(1, -1) * sides).expand(len(images), *smooth.shape[2:], dimensions)


class Thickness(View):
    """Make bright strokes thicker or thinner by up to `pixels` on either side."""

    dimensions: ClassVar[tuple[int, ...]] = (2,)

    name: Literal["thickness"] = "thickness"
    pixels: float = Field(1.0, gt=0, le=1, description="largest change on either side of a stroke")

    def transform(self, images: Tensor, draws: int) -> Tensor:
        """See View.transform."""
        thicker = F.max_pool2d(images, 3, stride=1, padding=1)
        thinner = -F.max_pool2d(-images, 3, stride=1, padding=1)
        amount = self._uniform((-self.pixels, self.pixels), images, draws)[:, None, None, None]
        return images + amount.clamp(min=0) * (thicker - images) + amount.clamp(max=0) * (images - thinner)


class Contrast(View):
    """Scale the values about each image's mean by a factor within `factor`; values stay in [0, 1]."""

    dimensions: ClassVar[tuple[int, ...]] = (2,)

    name: Literal["contrast"] = "contrast"
    factor: Range = Field((0.5, 1.5), description="smallest and largest")

    def transform(self, images: Tensor, draws: int) -> Tensor:
        """See View.transform."""
        from kornia.enhance import adjust_contrast_with_mean_subtraction

        factors = self._uniform(self.factor, images, draws)
        contrasted: Tensor = adjust_contrast_with_mean_subtraction(images, factors)
        return contrasted


class _ColourView(View):
    """Base class of views that need images with colours."""

    dimensions: ClassVar[tuple[int, ...]] = (2,)

    def check(self, shape: tuple[int, ...]) -> None:
        """See View.check."""
        super().check(shape)
        if shape[0] != 3:
            raise RecipeError(
                f"the view {self.name} changes colours; the images have {shape[0]} channel(s) in place of 3"
            )


class Saturation(_ColourView):
    """Scale the saturation of the colours by a factor within `factor`."""

    name: Literal["saturation"] = "saturation"
    factor: Range = Field((0.5, 1.5), description="smallest and largest")

    def transform(self, images: Tensor, draws: int) -> Tensor:
        """See View.transform."""
        from kornia.enhance import adjust_saturation

        saturated: Tensor = adjust_saturation(images, self._uniform(self.factor, images, draws))
        return saturated


class Hue(_ColourView):
    """Rotate the hue of the colours by up to `degrees` in either direction."""

    name: Literal["hue"] = "hue"
    degrees: float = Field(90, gt=0, le=180, description="largest rotation of the hue, in either direction")

    def transform(self, images: Tensor, draws: int) -> Tensor:
        """See View.transform."""
        from kornia.enhance import adjust_hue

        radians = torch.pi / 180 * self._uniform((-self.degrees, self.degrees), images, draws)
        turned: Tensor = adjust_hue(images, radians)
        return turned


class Blur(View):
    """Blur by a Gaussian with a standard deviation within `sigma`, in pixels."""

    dimensions: ClassVar[tuple[int, ...]] = (2,)

    name: Literal["blur"] = "blur"
    sigma: Range = Field((0.1, 2.0), description="smallest and largest, in pixels")

    def transform(self, images: Tensor, draws: int) -> Tensor:
        """See View.transform."""
        from kornia.filters import gaussian_blur2d

        reach = 2 * round(3 * self.sigma[1]) + 1  # three standard deviations on either side
        height, width = (min(reach, side - 1 + side % 2) for side in images.shape[2:])
        sigmas = self._uniform(self.sigma, images, draws)[:, None].expand(-1, 2)
        blurred: Tensor = gaussian_blur2d(images, (height, width), sigmas)
        return blurred


class Wedge(View):
    """Remove a missing wedge in a random orientation, for a tilt series from minus to plus `degrees`.

    A missing wedge that rotates with its volume still shows the orientation of the particle, so two views of a
    volume share more than the particle. Removing a random wedge from each hides that. By default, training takes
    `degrees` from the CTFs of the images (see `Recipe.for_tilts`), or 60 if they are unknown.
    """

    dimensions: ClassVar[tuple[int, ...]] = (3,)

    name: Literal["wedge"] = "wedge"
    degrees: float | None = Field(
        None,
        gt=0,
        lt=90,
        description="largest tilt, in either direction; null: that of the CTFs of the images, or 60 if they are "
        "unknown",
    )

    def transform(self, images: Tensor, draws: int) -> Tensor:
        """See View.transform."""
        degrees = USUAL_TILTS if self.degrees is None else self.degrees
        spatial = images.shape[2:]
        axes = [torch.fft.fftfreq(n, device=images.device, dtype=images.dtype) for n in spatial[:-1]]
        axes.append(torch.fft.rfftfreq(spatial[-1], device=images.device, dtype=images.dtype))
        frequencies = torch.stack(torch.meshgrid(axes, indexing="ij")[::-1], dim=-1)  # x first
        rotations = random_rotations(draws, 3, 180, images.device, images.dtype)
        across, beam = (torch.tensordot(rotations[:, axis], frequencies, ([1], [-1])) for axis in (0, 2))
        measured = beam.abs() <= across.abs() * math.tan(math.radians(degrees)) + 1e-9
        spectra = torch.fft.rfftn(images, dim=SPATIAL) * measured[:, None]
        filtered: Tensor = torch.fft.irfftn(spectra, s=spatial, dim=SPATIAL)
        return filtered


VIEWS: dict[str, type[View]] = {
    view.model_fields["name"].default: view
    for view in (
        *(Rotation, Translation, Scale, Contrast, Saturation, Hue, Blur),  # of table 2
        *(Deformation, Thickness, Wedge),
    )
}


def view_of(settings: object) -> View:
    """Build a view from a recipe's entry: a mapping with a name and settings, or a name alone.

    Raises
    ------
    RecipeError
        No view has that name. Invalid settings raise pydantic's ValidationError.
    """
    if isinstance(settings, View):
        return settings
    if isinstance(settings, str):
        settings = {"name": settings}
    if not isinstance(settings, dict) or "name" not in settings:
        raise RecipeError(f"a view is a mapping with a name, such as {{name: rotation}}, not {settings!r}")
    name = str(settings["name"])
    if name not in VIEWS:
        raise RecipeError(f"no view is called {name}; {nearest(name, VIEWS)}")
    return VIEWS[name].model_validate(settings)


def _identities(images: Tensor) -> Tensor:
    dimensions = images.ndim - 2
    identity = torch.eye(dimensions, device=images.device, dtype=images.dtype)
    return identity.expand(len(images), dimensions, dimensions)
