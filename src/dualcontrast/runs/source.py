"""Where a run's images are now: where they were, or where they were moved to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualcontrast.errors import RunError, SourceError
from dualcontrast.images import ImageSet, open_images
from dualcontrast.runs.folder import RunFolder


@dataclass(frozen=True)
class Source:
    """The whole source that a run's images were taken from.

    Attributes
    ----------
    path : str
        Where it is.
    options : dict
        With what options it is opened, as the run's own images were.
    images : ImageSet
        All its images, row after row.
    """

    path: str
    options: dict[str, Any]
    images: ImageSet

    @property
    def is_star(self) -> bool:
        """Whether it is a STAR file of subtomograms."""
        return Path(self.path).suffix == ".star"

    @property
    def box(self) -> int:
        """Voxels a side of the volumes as they are stored."""
        return self.images.shape[-1] * int(self.options.get("bin", 1))


def attached(run: RunFolder, datadir: str | Path | None = None) -> Source:
    """Find the source of a run's images, and make sure that they are those it was trained on.

    Parameters
    ----------
    datadir
        Where they are now, if they were moved: the folder of the source, or that in which the paths of a STAR
        file start, with the STAR file in it or as far below it as it was.

    Raises
    ------
    RunError
        The images were arrays in memory, or have changed since training.
    SourceError
        The source is neither where it was nor in `datadir`, or cannot be read.
    """
    data = run.config()["data"]
    recorded, options = data["source"], dict(data["options"])
    if recorded is None:
        raise RunError(
            f"{run.path}: trained on images in memory, which have no rows to go back to; train on a file"
        )
    looked = [Path(recorded)]
    if datadir is not None:
        before, now = options.get("datadir"), Path(datadir).resolve()
        looked = _places(recorded, before, now)
        if before is not None:
            options["datadir"] = str(now)
        if Path(options.get("mask", "")).is_absolute():
            options["mask"] = str(_first_there(_places(options["mask"], before, now)))
    path = _first_there(looked)
    if path.is_absolute() and not path.exists():  # a name such as mnist is no path
        raise SourceError(
            f"{run.path}: its images are no longer there, looked for at {' and '.join(map(str, looked))}; put "
            "them back, or give their folder as `datadir`"
        )
    images = open_images(str(path), **options)
    run.attach(images)
    return Source(str(path), options, images)


def _places(recorded: str, before: str | None, now: Path) -> list[Path]:
    """Return where a file may be: where it was, as deep within the folder that was moved, or right in it."""
    path = Path(recorded)
    within = [now / path.relative_to(before)] if before is not None and path.is_relative_to(before) else []
    return list(dict.fromkeys([path, *within, now / path.name]))


def _first_there(places: list[Path]) -> Path:
    return next((place for place in places if place.exists()), places[0])
