"""The interface of every method: what training, scores and figures ask of a row of the paper's Table 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from dualcontrast.errors import MethodError
from dualcontrast.transforms import View

if TYPE_CHECKING:
    from dualcontrast.images import ImageSet


@dataclass  # not frozen: Fabric rebuilds what passes through forward
class Batch:
    """Images of one step, and what is known of them.

    Attributes
    ----------
    images : Tensor
        (B, C, spatial...), in the range of the data.
    index : Tensor
        (B,), each image's place in its ImageSet.
    ctf : Tensor or None
        (B, spatial...), each image's transfer function, where it is known.
    pose : Tensor or None
        (B, 3, 3), each image's rotation, where it is known.
    epoch, step : int
        Where training stands; 0 outside it.
    """

    images: Tensor
    index: Tensor
    ctf: Tensor | None = None
    pose: Tensor | None = None
    epoch: int = 0
    step: int = 0

    @classmethod
    def of(cls, images: Tensor) -> Batch:
        """Make a batch of images of which nothing else is known."""
        return cls(images, torch.arange(len(images)))

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on `device`."""
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
    """An objective in its named parts.

    Attributes
    ----------
    parts : dict of str to Tensor
        Scalars, each before its weight.
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
    """One kind of contrastive pair that a method makes of a batch, for the figures of pairs."""

    name: str
    first: Tensor  # (B, C, spatial...)
    second: Tensor  # (B, C, spatial...)


class MethodSettings(BaseModel):
    """Base of the settings of a method: an unknown key is an error, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("dualcontrast", description="the method's name in the registry")
    content_size: int = Field(10, ge=1, description="length of the content code")
    transformation_size: int = Field(10, ge=1, description="length of the transformation code")


class Method(nn.Module):
    """A way to learn a content and a transformation code; a row of the paper's Table 1.

    A subclass holds its networks, and states its whole objective in `forward`, one call a phase: training then
    works the same on one device and on many, where only `forward` is seen by gradient averaging.

    Attributes
    ----------
    Settings : type
        The settings that a recipe can give, with their defaults.
    presets : dict
        By name, parts of a recipe that replace the defaults below what the recipe itself states.
    phases : tuple of str
        Steps an update consists of, in order, each with an optimizer of its own.
    views : tuple of View
        T: what turns an image into another of the same content.
    has_decoder : bool
        Whether `decode` makes images; transfer and swap scores need it.
    uses_ctf : bool
        Whether it looks at `Batch.ctf`; else nobody reads CTFs for it.
    stages : tuple of float
        Shares of the training at which a stage ends; in each the objective is another, and the lowest validation
        loss is sought anew. Of the schedules of the learning rate, a cosine falls anew in each, while steps count
        epochs from the start of training.
    """

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {}}
    phases: tuple[str, ...] = ("main",)
    views: tuple[View, ...] = ()
    settings: MethodSettings
    has_decoder: bool = True
    uses_ctf: bool = False
    stages: tuple[float, ...] = (1.0,)

    @property
    def transformation_parts(self) -> dict[str, int]:
        """The parts of the transformation code by name, in order, and their lengths; empty where it is one."""
        return {}

    def batches(self, images: ImageSet, size: int, device: str | torch.device) -> Iterator[Batch]:
        """Read images from first to last, `size` at a time, and what this method wants to know of them."""
        for index, pixels in images.batches(size):
            ctf = images.ctf(index) if self.uses_ctf else None
            yield Batch(pixels, torch.from_numpy(index), ctf).to(torch.device(device))

    def begin_stage(self, batches: Callable[[], Iterator[Batch]], epoch: int) -> dict[str, Any]:
        """Do what must be done before the second stage, and before every later one.

        Parameters
        ----------
        batches
            Gives the training images, in their order, once for each call.
        epoch
            The first epoch of the stage.

        Returns
        -------
        dict
            What the log should tell.
        """
        return {}

    def finish(self, batches: Callable[[], Iterator[Batch]]) -> None:
        """Do what the codes need once the weights are final, such as measure their moments.

        Parameters
        ----------
        batches
            Gives the training images, in their order, once for each call.
        """

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """Return the parameters that the optimizer of `phase` moves."""
        return list(self.parameters())

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Return the whole objective of `phase` for a batch."""
        raise NotImplementedError

    def encode_and_sample(self, batch: Batch) -> tuple[Codes, Codes]:
        """Return the codes of a batch, the posterior means, and one draw of its latents.

        Where nothing is random, the draw is the codes.
        """
        raise NotImplementedError

    def encode(self, batch: Batch) -> Codes:
        """Return the codes of a batch."""
        return self.encode_and_sample(batch)[0]

    def decode(self, codes: Codes) -> Tensor:
        """Return images (B, C, spatial...) in the range of the data.

        Raises
        ------
        MethodError
            The method has no decoder.
        """
        raise MethodError(
            f"{type(self).__name__} has no decoder and makes no images; choose a method that has one, "
            "such as dualcontrast"
        )

    def view(self, images: Tensor) -> Tensor:
        """Return T(x), the method's views one after the other."""
        for view in self.views:
            images = view(images)
        return images

    def pairs(self, batch: Batch) -> list[Pair]:
        """Return the contrastive pairs made of a batch, as pictures; none where a method makes none."""
        return []
