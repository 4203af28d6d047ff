"""The report of a run: one HTML page of its results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from dualcontrast.analysis.clusters import DEFAULT
from dualcontrast.analysis.embedding import check_layout
from dualcontrast.files import write_text
from dualcontrast.progress import Progress, silent
from dualcontrast.report.material import HOW, LIMIT, SEED, ReportOptions, gather
from dualcontrast.report.overview import findings
from dualcontrast.report.page import page
from dualcontrast.report.sections import SECTIONS
from dualcontrast.runs import RunFolder


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes
    ----------
    path : pathlib.Path
        The page.
    size : int
        Its size in bytes.
    left_out : dict of str to str
        What is missing, by section, and the command that creates it.
    """

    path: Path
    size: int
    left_out: dict[str, str]

    def describe(self) -> list[str]:
        """Describe what is missing, one line per section."""
        return [f"Left out of {title}: {sentence}" for title, sentence in self.left_out.items()]


def report(
    run: RunFolder,
    *,
    clusters: str = DEFAULT,
    how: str = HOW,
    limit: int = LIMIT,
    weights: str = "best",
    datadir: str | Path | None = None,
    seed: int = SEED,
    device: str | torch.device = "cpu",
    progress: Progress = silent,
) -> Report:
    """Write the report of a run, RUN/report.html, in place of an earlier one.

    It shows the codes, scores, clusters, averages, log and configuration in the run folder. For anything missing,
    it gives the command that creates it. The page is self-contained and needs no network.

    Parameters
    ----------
    run
        A run whose images are encoded.
    clusters
        The name of the clusters. Those called main may be missing.
    how
        How codes are laid out in the plane: umap, tsne or pca. The layout is stored beside the codes.
    limit
        Largest number of images to lay out, drawn at random.
    weights
        Which of the run's weights; the page of weights other than the best is called report-NAME.html.
    datadir
        The present folder of the run's images, if they were moved. Without the images, the page has no pictures.
    seed
        Seed of the images drawn and of the layout.
    device
        Where to decode hybrids.
    progress
        Called while thumbnails, layouts and averages are drawn.

    Raises
    ------
    RunError
        The images are not encoded, or the codes are older than the weights; there are no clusters of that name; or
        the run is damaged, or was made by a newer version.
    SourceError
        The images are not in `datadir`.
    """
    check_layout(how)
    options = ReportOptions(
        weights=weights,
        clusters=clusters,
        how=how,
        limit=limit,
        seed=seed,
        datadir=datadir,
        device=device,
        progress=progress,
    )
    material = gather(run, options)
    sections = [section for create in SECTIONS if (section := create(material)) is not None]
    subtitle = f"{material.recipe.method.name} on {len(material):,} {material.things} of {material.size}"
    text = page(run.path.resolve().name, subtitle, findings(material), sections, material.thumbnails.sheet)
    path = run.report_path(weights)
    write_text(path, text)
    left_out = {section.title: " ".join(map(str, section.missing)) for section in sections if section.missing}
    return Report(path, path.stat().st_size, left_out)
