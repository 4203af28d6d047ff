"""The sections of a report in order."""

from __future__ import annotations

from collections.abc import Callable

from dualcontrast.report import (
    averages,
    clusters,
    embeddings,
    grid,
    next_steps,
    overview,
    provenance,
    scores,
    training,
)
from dualcontrast.report.material import Material
from dualcontrast.report.section import Section

SECTIONS: tuple[Callable[[Material], Section | None], ...] = (
    overview.section,
    scores.section,
    embeddings.section,
    grid.section,
    clusters.section,
    averages.section,
    next_steps.section,
    training.section,
    provenance.section,
)
