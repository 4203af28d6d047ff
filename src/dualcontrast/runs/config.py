"""The configuration of a run, config.yaml: its recipe, its data and what made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dualcontrast.errors import RunError
from dualcontrast.files import write_text
from dualcontrast.images import ImageSet
from dualcontrast.settings import SettingsDict, SettingsMapping

FORMAT = 1


@dataclass(frozen=True)
class DataDescription:
    """The images that a run was trained on.

    Attributes
    ----------
    source : str or None
        Path of the source, absolute, or a name such as `mnist`; None for images in memory.
    options : dict
        Options of the reader of the source, as of `open_images`.
    digest, names : str
        Digests of the images and of their names; runs of an earlier version have no `names`.
    images : int
        Number of images, within the limit of the recipe.
    shape : tuple of int
        Shape of one image, (C, spatial...).
    pixel_size : float or None
        In Angstrom.
    """

    source: str | None
    options: dict[str, Any]
    digest: str
    names: str | None
    images: int | None
    shape: tuple[int, ...]
    pixel_size: float | None

    @classmethod
    def of(
        cls, prepared: ImageSet, source: str | None = None, options: Mapping[str, object] | None = None
    ) -> DataDescription:
        """Describe the images that a run works on, as `prepared_images` returns them."""
        return cls(
            source,
            dict(options or {}),
            prepared.digest(),
            prepared.names_digest(),
            len(prepared),
            tuple(prepared.shape),
            prepared.pixel_size,
        )

    def matches(self, prepared: ImageSet) -> bool:
        """Tell whether these are the images that were described."""
        return prepared.digest() == self.digest and self.names in (None, prepared.names_digest())


@dataclass(frozen=True)
class RunConfig:
    """The contents of config.yaml, enough to train a run again.

    Attributes
    ----------
    recipe : dict
        The recipe in full, as `recipe_of` takes it.
    data : DataDescription
        The images.
    made_by : dict
        The command, versions, device and number of threads.
    """

    recipe: SettingsDict
    data: DataDescription
    made_by: dict[str, str | int]

    def to_yaml(self) -> str:
        """Convert to the text of config.yaml."""
        stored = {
            "format": FORMAT,
            "recipe": self.recipe,
            "data": {**vars(self.data), "shape": list(self.data.shape)},
            "made_by": self.made_by,
        }
        return yaml.safe_dump(stored, sort_keys=False, allow_unicode=True)

    def write(self, path: Path) -> None:
        """Write config.yaml."""
        write_text(path, self.to_yaml())

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """Read config.yaml.

        Raises
        ------
        RunError
            It is missing, damaged, or was written by a newer version.
        """
        try:
            stored = yaml.safe_load(path.read_text(encoding="utf-8"))
            version = int(stored["format"])
            config = _from_stored(stored) if version <= FORMAT else None
        except FileNotFoundError:
            raise RunError(f"{path.parent}: not a run folder, since it has no config.yaml") from None
        except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, ValueError):
            raise RunError(f"{path}: damaged; train the run again, or put back a copy") from None
        if config is None:
            raise RunError(
                f"{path}: the run was made by a newer version (format {version}, this one reads {FORMAT}); update "
                "dualcontrast"
            )
        return config


def _from_stored(stored: SettingsMapping) -> RunConfig:
    data = stored["data"]
    described = DataDescription(
        source=data["source"],
        options=dict(data["options"]),
        digest=data["digest"],
        names=data.get("names"),
        images=data.get("images"),
        shape=tuple(int(size) for size in data["shape"]),
        pixel_size=data.get("pixel_size"),
    )
    return RunConfig(dict(stored["recipe"]), described, dict(stored.get("made_by") or {}))
