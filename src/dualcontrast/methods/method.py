"""The interface that training, scores and figures use for every method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from dualcontrast.errors import MethodError
from dualcontrast.files import JSONObject
from dualcontrast.settings import SettingsDict
from dualcontrast.transforms import View

if TYPE_CHECKING:
    from dualcontrast.images import ImageSet


@dataclass  # not frozen: Fabric rebuilds what passes through forward
class Batch:
    """The images of one step, with metadata where it is known.

    Attributes
    ----------
    images : Tensor
        (B, C, spatial...), in the range of the data.
    index : Tensor
        (B,), the position of each image in its ImageSet.
    ctf : Tensor or None
        (B, spatial...), the contrast transfer function of each image; None if unknown.
    pose : Tensor or None
        (B, 3, 3), the rotation of each image; None if unknown.
    epoch, step : int
        Progress of training; 0 outside it.
    """

    images: Tensor
    index: Tensor
    ctf: Tensor | None = None
    pose: Tensor | None = None
    epoch: int = 0
    step: int = 0

    @classmethod
    def of(cls, images: Tensor) -> Batch:
        """Build a batch of images without metadata."""
        return cls(images, torch.arange(len(images)))

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> Batch:
        """Move the batch to `device`."""
        moved: dict[str, Any] = {
            f.name: value.to(device) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)


class Codes(NamedTuple):
    """The two codes of a batch."""

    content: Tensor  # (B, d_c)
    transformation: Tensor  # (B, d_z)


@dataclass
class Losses:
    """An objective as a weighted sum of named parts.

    Attributes
    ----------
    parts : dict of str to Tensor
        Scalars, before weighting.
    weights : dict of str to float
        The weight of each part in the total.
    """

    parts: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, part: Tensor, weight: float) -> None:
        """Add a part to the objective."""
        self.parts[name] = part
        self.weights[name] = weight

    @property
    def total(self) -> Tensor:
        """The objective: the weighted sum of the parts."""
        return torch.stack([self.weights[name] * part for name, part in self.parts.items()]).sum()


class Pair(NamedTuple):
    """One kind of contrastive pair in a batch, for figures of pairs."""

    name: str
    first: Tensor  # (B, C, spatial...)
    second: Tensor  # (B, C, spatial...)


class MethodSettings(BaseModel):
    """Base class of the settings of a method: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("dualcontrast", description="the method's name, or package.module:Class")
    content_size: int = Field(10, ge=1, description="length of the content code")
    transformation_size: int = Field(10, ge=1, description="length of the transformation code")


class Method(nn.Module):
    """Base class of the methods, which learn a content and a transformation code.

    A subclass builds its networks in `__init__`, and computes its whole objective in `forward`, one call per
    phase. Training on several devices relies on this: gradients are averaged over `forward` alone. It defines
    `encode_and_sample` as well, and either `decode` or `has_decoder = False`. `Recipe.build` calls it with the
    shape of an image (C, spatial...), its settings, a `NetworkSettings` and the views, in this order.

    Attributes
    ----------
    Settings : type
        The settings that a recipe can set, with their defaults.
    presets : dict
        Partial recipes by name. A preset overrides the defaults, and the recipe overrides its preset.
    phases : tuple of str
        The steps of one update, in order, each with its own optimizer.
    views : tuple of View
        T: random transformations that keep the content of an image.
    has_decoder : bool
        Whether `decode` is implemented; transfer and swap scores need it.
    uses_ctf : bool
        Whether it uses `Batch.ctf`; otherwise CTFs are not read.
    stages : tuple of float
        The fraction of training at which each stage ends. Each stage has its own objective and its own lowest
        validation loss. A cosine schedule of the learning rate restarts in each stage; a step schedule counts
        epochs from the start of training.
    """

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    presets: ClassVar[dict[str, SettingsDict]] = {"paper": {}}
    phases: tuple[str, ...] = ("main",)
    views: tuple[View, ...] = ()
    settings: MethodSettings
    has_decoder: bool = True
    uses_ctf: bool = False
    stages: tuple[float, ...] = (1.0,)

    @property
    def transformation_parts(self) -> dict[str, int]:
        """Names and lengths of the parts of the transformation code, in order; empty if it has no parts."""
        return {}

    def batches(self, images: ImageSet, size: int, device: str | torch.device) -> Iterator[Batch]:
        """Read all images in order, `size` at a time, with the metadata that this method uses."""
        for index, pixels in images.batches(size):
            ctf = images.ctf(index) if self.uses_ctf else None
            yield Batch(pixels, torch.from_numpy(index), ctf).to(torch.device(device))

    def begin_stage(self, batches: Callable[[], Iterator[Batch]], epoch: int) -> JSONObject:
        """Prepare a stage; called before the second stage and every later one.

        Parameters
        ----------
        batches
            Iterates over the training images in order; may be called repeatedly.
        epoch
            The first epoch of the stage.

        Returns
        -------
        dict
            Values for the training log.
        """
        return {}

    def finish(self, batches: Callable[[], Iterator[Batch]]) -> None:
        """Finish the method once its weights are final, for example by measuring moments of the codes.

        Parameters
        ----------
        batches
            Iterates over the training images in order; may be called repeatedly.
        """

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """Return the parameters that the optimizer of `phase` updates."""
        return list(self.parameters())

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Compute the whole objective of `phase` on a batch."""
        raise NotImplementedError

    def encode_and_sample(self, batch: Batch) -> tuple[Codes, Codes]:
        """Return the codes of a batch, which are posterior means, and one sample of its latents.

        A deterministic method returns the codes twice.
        """
        raise NotImplementedError

    def encode(self, batch: Batch) -> Codes:
        """Return the codes of a batch."""
        return self.encode_and_sample(batch)[0]

    def decode(self, codes: Codes) -> Tensor:
        """Decode codes to images (B, C, spatial...) in the range of the data.

        Raises
        ------
        MethodError
            The method has no decoder.
        """
        raise MethodError(
            f"{type(self).__name__} has no decoder, so it cannot generate images; choose a method that has one, "
            "such as dualcontrast"
        )

    def view(self, images: Tensor) -> Tensor:
        """Return T(x): apply the views in order."""
        for view in self.views:
            images = view(images)
        return images

    def pairs(self, batch: Batch) -> list[Pair]:
        """Return the contrastive pairs of a batch as images; empty if the method has none."""
        return []
