"""The grid of transfers: every content in every transformation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualcontrast.analysis.transfer import grid_of
from dualcontrast.errors import MethodError
from dualcontrast.evaluation.probes import is_test
from dualcontrast.evaluation.swap import describe_swap, require_decoder
from dualcontrast.figures.drawing import with_sources
from dualcontrast.figures.sampling import balanced_sample
from dualcontrast.report.material import Material
from dualcontrast.report.pictures import mosaic
from dualcontrast.report.section import Section, Unavailable

COUNT = 10


@dataclass(frozen=True)
class Content:
    """What the section shows.

    Attributes
    ----------
    picture : str
        The grid as a data URI.
    rows, columns : int
        Its number of contents and of transformations.
    side : int
        The longer side of an image in pixels.
    volumes : bool
        Whether the images are volumes.
    swap : str
        The swap score in words, if there is one.
    """

    picture: str
    rows: int
    columns: int
    side: int
    volumes: bool
    swap: str


def section(material: Material) -> Section:
    """Decode and show the grid."""
    anchor, title = "transfer", "Transfer"
    if isinstance(material.images, Unavailable):
        reason = "Hybrids are decoded from images, which cannot be read; give their folder with --datadir."
        return Section(anchor, title, missing=(Unavailable(reason),))
    options = material.options
    method = material.run.load_method(options.weights)
    try:
        require_decoder(method)
    except MethodError as error:
        return Section(anchor, title, missing=(Unavailable(f"{error}."),))
    left, top = _sources(material)
    decoded = grid_of(method, material.images, left, top, seed=options.seed, device=options.device)
    content = Content(
        picture=mosaic(with_sources(*decoded)),
        rows=len(left),
        columns=len(top),
        side=max(material.shape[-2:]),
        volumes=material.are_volumes,
        swap=describe_swap(material.swap)[0] if material.swap else "",
    )
    return Section(anchor, title, "transfer.html", content)


def _sources(material: Material) -> tuple[np.ndarray, np.ndarray]:
    """Choose test images that give content, and others that give transformation, balanced over the labels.

    Without test images, any image may be chosen.
    """
    table = material.codes.table
    test = np.flatnonzero(is_test(table))
    eligible = test if len(test) > 1 else np.arange(len(table))
    chosen = eligible[balanced_sample(table.iloc[eligible], 2 * COUNT, material.options.seed)]
    return chosen[::2], chosen[1::2]
