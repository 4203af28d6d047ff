"""Find the images of a run, also after they were moved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualcontrast.errors import RunError, SourceError
from dualcontrast.images import ImageSet, open_images
from dualcontrast.runs.folder import RunFolder


@dataclass(frozen=True)
class Source:
    """The source of a run's images.

    Attributes
    ----------
    path : str
        Its path.
    options : dict
        Options of its reader, as in training.
    images : ImageSet
        All its images, in the order of its rows.
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
        """Side of the volumes in their files, in voxels."""
        return self.images.shape[-1] * int(self.options.get("bin", 1))


def attached(run: RunFolder, datadir: str | Path | None = None) -> Source:
    """Find the source of a run's images, and check that it was trained on them.

    Parameters
    ----------
    datadir
        The folder of the source, if it was moved; or the folder that the paths of a STAR file are relative to,
        with the STAR file in it or at the same relative path as before.

    Raises
    ------
    RunError
        The images were arrays in memory, or have changed since training.
    SourceError
        The source is neither at its old path nor in `datadir`, or cannot be read.
    """
    data = run.config().data
    recorded, options = data.source, data.options
    if recorded is None:
        raise RunError(
            f"{run.path}: trained on images in memory, which have no rows to go back to; train on a file"
        )
    candidates = [Path(recorded)]
    if datadir is not None:
        before, now = options.get("datadir"), Path(datadir).resolve()
        candidates = _candidates(recorded, before, now)
        if before is not None:
            options["datadir"] = str(now)
        if Path(options.get("mask", "")).is_absolute():
            options["mask"] = str(_first_existing(_candidates(options["mask"], before, now)))
    path = _first_existing(candidates)
    if path.is_absolute() and not path.exists():  # a name such as mnist is no path
        raise SourceError(
            f"{run.path}: its images are no longer there, looked for at {' and '.join(map(str, candidates))}; put "
            "them back, or give their folder as `datadir`"
        )
    images = open_images(str(path), **options)
    run.attach(images)
    return Source(str(path), options, images)


def _candidates(recorded: str, before: str | None, now: Path) -> list[Path]:
    """List where a file may be: at its old path, at its relative path in the moved folder, or directly in that."""
    path = Path(recorded)
    moved = [now / path.relative_to(before)] if before is not None and path.is_relative_to(before) else []
    return list(dict.fromkeys([path, *moved, now / path.name]))


def _first_existing(paths: list[Path]) -> Path:
    """Return the first path that exists; the first of all if none does."""
    return next((path for path in paths if path.exists()), paths[0])
