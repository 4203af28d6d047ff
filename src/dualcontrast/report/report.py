"""The report of a run: one HTML page of all that was drawn from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from dualcontrast.analysis.clusters import DEFAULT
from dualcontrast.analysis.embedding import check_layout
from dualcontrast.files import write_text
from dualcontrast.progress import Progress, silent
from dualcontrast.report.material import HOW, LIMIT, SEED, gather
from dualcontrast.report.overview import findings
from dualcontrast.report.page import page
from dualcontrast.report.sections import SECTIONS
from dualcontrast.runs import RunFolder


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes
    ----------
    path : pathlib.Path
        The page.
    size : int
        In bytes.
    left_out : dict of str to str
        By section, what is missing, and what makes it.
    """

    path: Path
    size: int
    left_out: dict[str, str]

    def describe(self) -> list[str]:
        """Return one line for each section that something is missing of."""
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
    """Write one HTML page of a run, in place of an earlier one: RUN/report.html.

    It shows what lies in the run folder: codes, scores, clusters, averages, log and configuration. Where something
    is not there, it says what makes it. The page is whole in itself, and asks nothing of the network.

    Parameters
    ----------
    run
        A run whose images are encoded.
    clusters
        The name of the clusters. Those called main need not be there.
    how
        How codes are laid out in the plane: umap, tsne or pca. The layout is kept beside the codes.
    limit
        At most so many images are laid out, drawn at random.
    weights
        Which of the run's weights; the page of others than the best is called report-NAME.html.
    datadir
        Where the run's images are now, if they were moved. Where they are not found, the page has no pictures.
    seed
        Of the images drawn and of the layout.
    device
        Where hybrids are decoded.
    progress
        Told of pictures, layouts and averages.

    Raises
    ------
    RunError
        The images are not encoded, or the codes are older than the weights; there are no clusters of that name;
        the run is damaged, or of a newer version.
    SourceError
        There are no such images in `datadir`.
    """
    check_layout(how)
    material = gather(
        run,
        weights=weights,
        clusters=clusters,
        how=how,
        limit=limit,
        seed=seed,
        datadir=datadir,
        device=device,
        progress=progress,
    )
    sections = [made for make in SECTIONS if (made := make(material)) is not None]
    subtitle = f"{material.recipe.method.name} on {len(material):,} {material.things} of {material.size}"
    text = page(run.path.resolve().name, subtitle, findings(material), sections, material.sheet)
    path = run.report_path(weights)
    write_text(path, text)
    left_out = {made.title: " ".join(map(str, made.missing)) for made in sections if made.missing}
    return Report(path, path.stat().st_size, left_out)
