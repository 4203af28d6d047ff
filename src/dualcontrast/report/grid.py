"""The grid of transfers: every content in every transformation."""

from __future__ import annotations

import numpy as np

from dualcontrast.analysis.transfer import grid_of
from dualcontrast.errors import MethodError
from dualcontrast.evaluation.probes import is_test
from dualcontrast.evaluation.swap import describe_swap, require_decoder
from dualcontrast.figures.drawing import with_sources
from dualcontrast.figures.show import spread
from dualcontrast.report.material import Material
from dualcontrast.report.pictures import mosaic
from dualcontrast.report.section import Missing, Section

COUNT = 10


def section(material: Material) -> Section:
    """Return the grid, decoded anew."""
    anchor, title = "transfer", "Transfer"
    if isinstance(material.images, Missing):
        lack = Missing(
            "Hybrids are decoded from images, which cannot be read now; say where they are by --datadir."
        )
        return Section(anchor, title, missing=(lack,))
    method = material.run.load_method(material.weights)
    try:
        require_decoder(method)
    except MethodError as error:
        return Section(anchor, title, missing=(Missing(f"{error}."),))
    left, top = _sources(material)
    made = grid_of(method, material.images, left, top, seed=material.seed, device=material.device)
    picture = mosaic(with_sources(*made))
    context = {
        "picture": picture,
        "rows": len(left),
        "columns": len(top),
        "side": max(material.shape[-2:]),
        "volumes": material.are_volumes,
        "things": material.things,
        "told": describe_swap(material.swap)[0] if material.swap else "",
    }
    return Section(anchor, title, "transfer.html", context)


def _sources(material: Material) -> tuple[np.ndarray, np.ndarray]:
    """Choose test images, or any where there are none, that give content, and others that give transformation.

    Both are spread evenly over what is known of the images.
    """
    table = material.codes.table
    test = np.flatnonzero(is_test(table))
    places = test if len(test) > 1 else np.arange(len(table))
    chosen = places[spread(table.iloc[places], 2 * COUNT, material.seed)]
    return chosen[::2], chosen[1::2]
