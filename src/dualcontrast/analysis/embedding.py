"""Embedding: a code of a run's images, laid out in the plane."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import pandas as pd
import torch

from dualcontrast.errors import RunError, nearest
from dualcontrast.evaluation.probes import is_test
from dualcontrast.figures.drawing import draw_embedding
from dualcontrast.files import write_text
from dualcontrast.methods import Codes
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder
from dualcontrast.runs.encoding import codes_of

FEWEST = 5
NOISE = 1e-5  # of the start of UMAP, as a share of its width
NAMES = {"umap": "UMAP", "tsne": "t-SNE", "pca": "PCA"}


def embed(
    run: RunFolder,
    *,
    code: Literal["content", "transformation"] = "content",
    by: Literal["content", "transformation"] = "content",
    only: str | None = None,
    how: Literal["umap", "tsne", "pca"] = "umap",
    limit: int = 5000,
    weights: str = "best",
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress = silent,
) -> np.ndarray:
    """Lay out a code of a run's test images in the plane, and draw it, coloured by a label where it is known.

    Writes figures/embedding_CODE_HOW.png (embedding_CODE_HOW_ONLY_by_BY.png where these are stated), and beside it
    a CSV of the same name with the row of the source, x, y and the labels that are known.

    Parameters
    ----------
    run
        A trained run. Where it has no test images, all are taken.
    code
        Which code.
    by
        The label that colours tell: of content, or of transformation, such as conformations.
    only
        Take the images of this content alone.
    how
        umap, tsne or pca.
    limit
        At most so many images, drawn at random.
    weights
        Which of the run's weights.
    seed
        Of the images drawn and of the layout.
    device
        Where images are encoded, if the run has no codes yet.
    progress
        Told of the images encoded.

    Returns
    -------
    numpy.ndarray
        (N, 2), float64.

    Raises
    ------
    RunError
        No such code, label, content or layout, too few images, or too short a code; or as `codes_of` does.
    SourceError
        As `codes_of` does.
    """
    if code not in Codes._fields:
        raise RunError(f"no code is called {code}; {nearest(code, Codes._fields)}")
    if by not in Codes._fields:
        raise RunError(f"no label is called {by}; {nearest(by, Codes._fields)}")
    check_layout(how)
    codes = codes_of(run, weights, device=device, progress=progress)
    chosen = _chosen(codes.table, _of_content(run, codes.table, only), limit, seed)
    points = laid_out(run, code, getattr(codes, code)[chosen], how, seed, progress)
    table = codes.table.iloc[chosen].reset_index(drop=True)
    path = run.figure_path(figure_name(code, by, only, how), weights)
    title = f"{NAMES[how]} of the {code} codes of {len(points):,} images"
    if only is not None:
        title += f" of {only}"
    if by in table:
        title += f", coloured by {by}"
    draw_embedding(points, table.get(by), path, title)
    known = table[[name for name in ("row", *Codes._fields) if name in table]]
    known.insert(1, "x", points[:, 0])
    known.insert(2, "y", points[:, 1])
    write_text(path.with_suffix(".csv"), known.to_csv(index=False))
    return points


def check_layout(how: str) -> None:
    """Refuse the name of a layout that there is not."""
    if how not in LAYOUTS:
        raise RunError(f"no layout is called {how}; {nearest(how, LAYOUTS)}")


def laid_out(
    run: RunFolder, code: str, vectors: np.ndarray, how: str, seed: int, progress: Progress = silent
) -> np.ndarray:
    """Lay out codes in the plane.

    Parameters
    ----------
    run, code
        Whose codes they are, and which.
    vectors
        (N, d).
    how
        umap, tsne or pca.
    seed
        Of the layout.
    progress
        Told that it begins, and that it is over.

    Returns
    -------
    numpy.ndarray
        (N, 2), float64.

    Raises
    ------
    RunError
        They are too few, too short, or all equal.
    """
    if len(vectors) < FEWEST:
        raise RunError(f"{run.path}: {len(vectors)} images are too few to lay out; it takes at least {FEWEST}")
    if vectors.shape[1] < 2:
        raise RunError(
            f"{run.path}: a {code} code of one number cannot be laid out in a plane; train a longer one"
        )
    if (vectors == vectors[0]).all():  # scikit-learn's t-SNE would crash the process
        raise RunError(f"{run.path}: the {code} codes are all equal, there is nothing to lay out; train again")
    progress(f"laying out by {NAMES[how]}", 0, None)  # neither library tells how far it is
    points = LAYOUTS[how](vectors.astype(np.float64), seed).astype(np.float64)
    progress(f"laying out by {NAMES[how]}", 1, 1)
    return points


def figure_name(code: str, by: str, only: str | None, how: str) -> str:
    """Return the name of an embedding's figure; what is not stated has no part in it."""
    kind = "" if only is None else f"_{re.sub(r'[^A-Za-z0-9.-]+', '-', only)}"
    return f"embedding_{code}_{how}{kind}" + ("" if by == "content" else f"_by_{by}")


def read_layout(run: RunFolder, code: str, by: str, only: str | None, how: str) -> pd.DataFrame | None:
    """Return the points that `embed` drew, with their rows and known labels; None where it has not."""
    path = run.figure_path(figure_name(code, by, only, how)).with_suffix(".csv")
    return pd.read_csv(path, keep_default_na=False, na_values=[""]) if path.is_file() else None


def _of_content(run: RunFolder, table: pd.DataFrame, only: str | None) -> np.ndarray:
    """Return which images are of a content, (N,); all where none is named."""
    if only is None:
        return np.ones(len(table), bool)
    if "content" not in table:
        raise RunError(f"{run.path}: no content labels are known, so no content can be chosen; leave out `only`")
    names = table["content"].astype(str)
    if only not in set(names):
        raise RunError(f"{run.path}: no image is of content {only}; {nearest(only, set(names))}")
    return np.asarray(names == only)


def _chosen(table: pd.DataFrame, own: np.ndarray, limit: int, seed: int) -> np.ndarray:
    """Return the places of at most `limit` test images, or of any where none are for testing."""
    test = is_test(table) & own
    places = np.flatnonzero(test if test.any() else own)
    return np.sort(np.random.default_rng(seed).permutation(places)[:limit])


def _umap(vectors: np.ndarray, seed: int) -> np.ndarray:
    # It begins with principal components: its own start, by eigenvectors, is another at each call where codes fall
    # into groups that have no neighbours in common. No two points may begin at the same place.
    start = _pca(vectors, seed)
    start += np.random.default_rng(seed).normal(scale=NOISE * np.ptp(start), size=start.shape)
    with warnings.catch_warnings(), _threads_kept():
        # umap and numba remark on missing parts, and few points on sparse graphs
        warnings.simplefilter("ignore")
        from umap import UMAP

        layout = UMAP(n_neighbors=min(15, len(vectors) - 1), init=start, n_jobs=1, random_state=seed)
        return np.asarray(layout.fit_transform(vectors))


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Keep the number of OpenMP's threads, which numba sets to that of processors, for all of the process."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _tsne(vectors: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    return np.asarray(TSNE(perplexity=perplexity, random_state=seed).fit_transform(vectors))


def _pca(vectors: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.decomposition import PCA

    return np.asarray(PCA(2, random_state=seed).fit_transform(vectors))


LAYOUTS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"umap": _umap, "tsne": _tsne, "pca": _pca}
