"""A trained run, and everything that can be made from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dualcontrast.api.codes import EncodedRun
from dualcontrast.devices import find_device
from dualcontrast.progress import Progress, silent

if TYPE_CHECKING:
    from dualcontrast.analysis.clusters import Clusters, Number
    from dualcontrast.maps.average import Averages
    from dualcontrast.maps.cluster_average import Program
    from dualcontrast.maps.export import Export
    from dualcontrast.maps.refinement import Search
    from dualcontrast.report.report import Report


class Run(EncodedRun):
    """A trained run in its folder. `load` opens one, `train` makes one.

    Results are returned and also written into the run folder. In all methods, `weights` is "best" (lowest
    validation loss), "last" or "epoch-N"; `device` is auto, cpu, cuda or cuda:1; `datadir` is the folder of the
    images if they were moved after training; and `progress` is called as work advances.

    Parameters
    ----------
    path
        The run folder.
    """

    def __repr__(self) -> str:
        try:
            return f"<Run {self.path}: {self._summary()}>"
        except Exception:  # a repr never fails, whatever is damaged
            return f"<Run {self.path}: no run, or a damaged one>"

    def _summary(self) -> str:
        recipe, data, log = self.recipe(), self.config().data, self.read_log()
        method, count = recipe.method, "" if data.images is None else f"{data.images:,} "
        parts = [
            f"{method.name} on {data.source or 'images in memory'}",
            f"{count}images of shape {data.shape}",
            f"{log[-1]['epoch'] if log else 0} epochs",
            f"content size {method.content_size}",
            f"transformation size {method.transformation_size}",
        ]
        return ", ".join(parts)

    def cluster(
        self,
        *,
        content: Number = "auto",
        transformation: Number = "auto",
        within: str | int | None = None,
        name: str | None = None,
        weights: str = "best",
        seed: int = 0,
        datadir: str | Path | None = None,
        device: str = "auto",
        progress: Progress = silent,
    ) -> Clusters:
        """Cluster the images by their content codes, and each cluster by its transformation codes.

        Parameters
        ----------
        content, transformation
            Number of clusters, or "auto".
        within
            A content cluster, as NUMBER or NAME:NUMBER, to split further; NUMBER alone is one of `main`.
        name
            Name of the clusters; if None, `main`, or NAME-NUMBER within another cluster.
        weights
            "best", "last" or "epoch-N".
        seed
            Seed of the mixtures.
        datadir
            Folder of the images if they were moved.
        device
            auto, cpu, cuda or cuda:1.
        progress
            Called with the number of images encoded and of clusters made.

        Returns
        -------
        Clusters
            The clusters, also in clusters/NAME.csv.

        Raises
        ------
        RunError
            There are fewer images than clusters, or there is no such cluster to split.
        SourceError
            The run's images are missing.

        Examples
        --------
        >>> clusters = run.cluster(content=3, transformation=1)
        >>> clusters.name
        'main'
        """
        from dualcontrast.analysis.clustering import cluster

        return cluster(
            self,
            content=content,
            transformation=transformation,
            within=within,
            name=name,
            weights=weights,
            seed=seed,
            datadir=datadir,
            device=find_device(device),
            progress=progress,
        )

    def average(
        self,
        *,
        clusters: str = "main",
        by: Program = "auto",
        align: bool = False,
        search: Search | None = None,
        datadir: str | Path | None = None,
        overwrite: bool = False,
        progress: Progress = silent,
    ) -> Averages:
        """Average the subtomograms of every cluster, unbinned and unmasked.

        Parameters
        ----------
        clusters
            Name of the clusters.
        by
            relion, builtin or auto, which is RELION if it is installed and suits the particles.
        align
            Search poses even if the STAR file has them.
        search
            Settings of the pose search, with its angular step in degrees.
        datadir
            Folder of the images if they were moved.
        overwrite
            Replace averages that were made in another way.
        progress
            Called with the number of clusters and of iterations.

        Returns
        -------
        Averages
            Maps with their half-maps and Fourier shell correlations, in averages/NAME; resolutions in Angstrom.

        Raises
        ------
        RunError
            The images are pictures, there are no such clusters, or other averages would be overwritten.
        SourceError
            The run's images are missing or have changed.

        Examples
        --------
        >>> averages = run.average()  # doctest: +SKIP
        >>> averages.folder  # doctest: +SKIP
        PosixPath('runs/a/averages/main')
        """
        from dualcontrast.maps.average import average

        return average(
            self,
            clusters=clusters,
            by=by,
            align=align,
            search=search,
            datadir=datadir,
            overwrite=overwrite,
            progress=progress,
        )

    def export(
        self,
        *,
        clusters: str = "main",
        per_class: bool = False,
        join: str | Path | None = None,
        datadir: str | Path | None = None,
        overwrite: bool = False,
        device: str = "auto",
        progress: Progress = silent,
    ) -> Export:
        """Write the rows of the source, with codes and clusters, as a STAR file or a table.

        Parameters
        ----------
        clusters
            Name of the clusters.
        per_class
            Also write a file for each cluster.
        join
            A STAR file of the same particles whose rows are written instead of the source's.
        datadir
            Folder of the images if they were moved.
        overwrite
            Replace an earlier export.
        device
            auto, cpu, cuda or cuda:1.
        progress
            Called with the number of images encoded.

        Returns
        -------
        Export
            The files, in export/NAME.

        Raises
        ------
        RunError
            There are no such clusters, or an earlier export would be overwritten.
        SourceError
            The source is missing or has changed, or the rows of `join` do not match.

        Examples
        --------
        >>> export = run.export(overwrite=True)
        >>> export.files[0].name
        'particles.csv'
        """
        from dualcontrast.maps.export import export

        return export(
            self,
            clusters=clusters,
            per_class=per_class,
            join=join,
            datadir=datadir,
            overwrite=overwrite,
            device=find_device(device),
            progress=progress,
        )

    def report(
        self,
        *,
        clusters: str = "main",
        how: str = "umap",
        limit: int = 20_000,
        weights: str = "best",
        datadir: str | Path | None = None,
        seed: int = 0,
        device: str = "auto",
        progress: Progress = silent,
    ) -> Report:
        """Write report.html, one page with everything that was made from the run.

        Parameters
        ----------
        clusters
            Name of the clusters.
        how
            Layout of the codes: umap, tsne or pca.
        limit
            Largest number of images in the layout, drawn at random.
        weights
            "best", "last" or "epoch-N".
        datadir
            Folder of the images if they were moved.
        seed
            Seed of the draw of images and of the layout.
        device
            auto, cpu, cuda or cuda:1.
        progress
            Called with the number of pictures, layouts and averages.

        Returns
        -------
        Report
            The page, and what it lacks.

        Raises
        ------
        RunError
            The images are not encoded, or there are no such clusters.
        SourceError
            There are no such images in `datadir`.

        Examples
        --------
        >>> run.report(how="pca").path.name
        'report.html'
        """
        from dualcontrast.report.report import report

        return report(
            self,
            clusters=clusters,
            how=how,
            limit=limit,
            weights=weights,
            datadir=datadir,
            seed=seed,
            device=find_device(device),
            progress=progress,
        )


def load(path: str | Path) -> Run:
    """Open a trained run.

    Parameters
    ----------
    path
        The run folder.

    Raises
    ------
    RunError
        There is no run in the folder, or it has no weights.

    Examples
    --------
    >>> run = dualcontrast.load("runs/a")  # doctest: +SKIP
    """
    return Run.open(path)
