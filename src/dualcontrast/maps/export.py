"""Export: the user's own rows with codes and clusters added, as STAR files for RELION or as tables."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from dualcontrast.analysis.clusters import Clusters, read_clusters
from dualcontrast.cryoet.particles import as_relion31, read_particles
from dualcontrast.cryoet.star import Block, read_blocks, write_particles
from dualcontrast.errors import RunError, SourceError
from dualcontrast.files import replace_folder, staging_folder, write_text
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder, SavedCodes
from dualcontrast.runs.encoding import codes_of
from dualcontrast.runs.source import Source, attached

CLASS, GIVEN_CLASS = "rlnClassNumber", "dualcontrastGivenClassNumber"
PARTICLE_NAME = "rlnTomoParticleName"


@dataclass(frozen=True)
class Export:
    """An export.

    Attributes
    ----------
    files : list of pathlib.Path
        The file of all particles first, then those of the classes.
    indices : list of pathlib.Path
        Of each class, the file of its row numbers.
    rows, left_out : int
        Rows written, and rows of the source, or of the joined file, left out because they have no cluster.
    not_joined : int
        Particles with a cluster that are missing from the joined file.
    starts_from : pathlib.Path or None
        The folder that paths in the STAR file start from, where known.
    """

    files: list[Path]
    indices: list[Path]
    rows: int
    left_out: int
    not_joined: int
    starts_from: Path | None


class _Rows(NamedTuple):
    """Rows to write, their positions in the user's own file, from 0, and the other blocks of that file."""

    table: pd.DataFrame
    places: np.ndarray
    left_out: int
    not_joined: int = 0
    starts_from: Path | None = None
    optics: pd.DataFrame | None = None
    others: dict[str, Block] | None = None  # of a STAR file; None for a table


def export(
    run: RunFolder,
    *,
    clusters: str = "main",
    per_class: bool = False,
    join: str | Path | None = None,
    datadir: str | Path | None = None,
    overwrite: bool = False,
    device: str | torch.device = "cpu",
    progress: Progress = silent,
) -> Export:
    """Write the user's rows, in their order and with all their columns, with codes and clusters added.

    The folder export/NAME holds particles.star, or particles.csv where the source is no STAR file. The columns
    are dualcontrastContent1 and so on, dualcontrastTransformation1 and so on, dualcontrastContentCluster,
    dualcontrastContentProbability, and the same of the transformation; rlnClassNumber becomes the content
    cluster, and an earlier class number is kept as dualcontrastGivenClassNumber.

    Parameters
    ----------
    run
        A trained run whose images were sorted into clusters.
    clusters
        The name of the clusters.
    per_class
        Write a file of each content cluster as well, class001.star and so on, and of each transformation cluster
        within it, class001_transformation1.star and so on, where it has several; and beside each, class001.txt
        and so on, the places of its rows in the file that they come from, a line each, from 0.
    join
        A STAR file of the same particles, such as RELION 5's of 2D stacks, whose rows are written in place of the
        source's: those of the same rlnTomoParticleName.
    datadir
        Where the run's images are now, if they were moved.
    overwrite
        Replace what is in the folder.
    device
        Where images are encoded, if the run has no codes yet.
    progress
        Receives the images encoded.

    Raises
    ------
    RunError
        The run has no such clusters, or the folder is not empty.
    SourceError
        The source is missing or has changed, or the file to join does not fit.
    """
    found = read_clusters(run, clusters)
    source = attached(run, datadir)
    codes = codes_of(run, found.weights, device=device, progress=progress)
    folder = run.export_folder(clusters)
    existing = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if existing and not overwrite:
        raise RunError(f"{folder}: already holds {existing[0]}; replace it with `overwrite=True`, or move it away")
    added = _added(found, codes)
    rows = _rows_of(source, added, codes) if join is None else _joined(source, added, join)
    shutil.rmtree(staging_folder(folder), ignore_errors=True)  # of a call that was killed
    files, indices = [_write(staging_folder(folder) / "particles", rows, rows.table)], []
    for name, chosen in _classes(rows.table, found) if per_class else ():
        files.append(_write(staging_folder(folder) / name, rows, rows.table[chosen]))
        indices.append(files[-1].with_suffix(".txt"))
        write_text(indices[-1], "".join(f"{place}\n" for place in rows.places[chosen]))
    replace_folder(folder)
    files, indices = ([folder / path.name for path in paths] for paths in (files, indices))
    return Export(files, indices, len(rows.table), rows.left_out, rows.not_joined, rows.starts_from)


def _added(clusters: Clusters, codes: SavedCodes) -> pd.DataFrame:
    """Build the columns to add, indexed by row of the source."""
    places = pd.Series(np.arange(len(codes.table)), index=codes.table["row"])
    chosen = places[clusters.table["row"]].to_numpy()
    columns: dict[str, object] = {}
    for what, vectors in (("Content", codes.content), ("Transformation", codes.transformation)):
        columns |= {
            f"dualcontrast{what}{number + 1}": vectors[chosen, number] for number in range(vectors.shape[1])
        }
    for what in ("content", "transformation"):
        for kind in ("cluster", "probability"):
            name = f"dualcontrast{what.capitalize()}{kind.capitalize()}"
            columns[name] = clusters.table[f"{what}_{kind}"].to_numpy()
    added: pd.DataFrame = pd.DataFrame(columns, index=clusters.table["row"].to_numpy()).sort_index()
    return added


def _rows_of(source: Source, added: pd.DataFrame, codes: SavedCodes) -> _Rows:
    """Select the source's rows that have a cluster."""
    if not source.is_star:
        table = codes.table.set_index("row", drop=False).loc[added.index].reset_index(drop=True)
        return _Rows(_with(table, added), added.index.to_numpy(), len(source.images) - len(table))
    particles = read_particles(source.path)
    table, optics = as_relion31(particles, source.box)
    rows = _with_class(_with(table.iloc[added.index].reset_index(drop=True), added))
    starts_from = Path(source.options["datadir"])
    return _Rows(rows, added.index.to_numpy(), len(table) - len(rows), 0, starts_from, optics, particles.others)


def _joined(source: Source, added: pd.DataFrame, join: str | Path) -> _Rows:
    """Select the rows of another STAR file that list the same particles."""
    if not source.is_star:
        raise SourceError(f"{source.path}: not a STAR file, so nothing can be joined to it; leave out `join`")
    table, others = read_blocks(join)
    own = _by_name(read_particles(source.path).table, source.path).iloc[added.index]
    theirs = _by_name(table, join)
    matched = np.flatnonzero(theirs.isin(own))
    if not len(matched):
        raise SourceError(
            f"{join}: no {PARTICLE_NAME} in it is in {source.path}, such as {own.iloc[0]}; join the STAR file "
            "of the same particles"
        )
    places = pd.Series(np.arange(len(own)), index=own)[theirs.iloc[matched]].to_numpy()
    chosen = table.iloc[matched].reset_index(drop=True)
    optics = others.pop("optics", None)
    if isinstance(optics, dict):
        optics = pd.DataFrame([optics])
    rows = _with_class(_with(chosen, added.iloc[places]))
    return _Rows(rows, matched, len(table) - len(rows), len(own) - len(rows), None, optics, others)


def _by_name(table: pd.DataFrame, path: str | Path) -> pd.Series:
    """Return the names of particles, and check that they are unique."""
    if PARTICLE_NAME not in table:
        raise SourceError(
            f"{path}: its particles have no {PARTICLE_NAME}, by which rows are joined; add that column"
        )
    names = table[PARTICLE_NAME].astype(str)
    twice = names[names.duplicated()]
    if len(twice):
        raise SourceError(
            f"{path}: row {twice.index[0] + 1} has the {PARTICLE_NAME} {twice.iloc[0]} of an earlier row; give "
            "each particle its own"
        )
    return names


def _with(table: pd.DataFrame, added: pd.DataFrame) -> pd.DataFrame:
    """Add columns to a table; they replace columns of the same names."""
    kept = table.drop(columns=[name for name in added if name in table])
    joined: pd.DataFrame = pd.concat([kept, added.reset_index(drop=True)], axis=1)
    return joined


def _with_class(table: pd.DataFrame) -> pd.DataFrame:
    """Set the class of particles to their content cluster."""
    clusters = table["dualcontrastContentCluster"]
    if CLASS in table and GIVEN_CLASS not in table:  # an export of an export keeps the first class number
        table = table.assign(**{GIVEN_CLASS: table[CLASS]})
    classed: pd.DataFrame = table.assign(**{CLASS: clusters})
    return classed


def _classes(table: pd.DataFrame, clusters: Clusters) -> list[tuple[str, np.ndarray]]:
    """List the name and row mask of each content cluster, and of its transformation clusters if it has several."""
    classes = []
    of, within = (table[f"dualcontrast{code}Cluster"].to_numpy() for code in ("Content", "Transformation"))
    for number in np.unique(of):
        own = of == number
        classes.append((f"class{number:03d}", own))
        parts = np.unique(within[own] if len(clusters.sizes[int(number)]) > 1 else [])
        classes += [(f"class{number:03d}_transformation{part}", own & (within == part)) for part in parts]
    return classes


def _write(path: Path, rows: _Rows, table: pd.DataFrame) -> Path:
    if rows.others is None:
        write_text(path.with_suffix(".csv"), table.to_csv(index=False))
        return path.with_suffix(".csv")
    write_particles(path.with_suffix(".star"), table, rows.optics, rows.others)
    return path.with_suffix(".star")
