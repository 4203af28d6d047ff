"""Choice of the images that represent a set."""

from __future__ import annotations

import numpy as np
import pandas as pd

LABELS = ["content", "transformation"]


def balanced_sample(table: pd.DataFrame, count: int, seed: int) -> np.ndarray:
    """Choose images at random, balanced over contents and over the transformations of each.

    Contents take turns. Each gives an image of its first transformation, then of its second, and so on; after the
    last, it begins again with the first.

    Parameters
    ----------
    table
        The table of an image set; `content` and `transformation` count where they are known.
    count
        Number of images.
    seed
        Seed of the random order.

    Returns
    -------
    numpy.ndarray
        Positions in the table, at most `count`, ordered by label and then by position.
    """
    known = table.reindex(columns=LABELS).reset_index(drop=True)
    shuffled = known.iloc[np.random.default_rng(seed).permutation(len(known))]
    for labels in (LABELS, ["content"]):
        turn = shuffled.groupby(labels, dropna=False).cumcount()
        shuffled = shuffled.iloc[turn.argsort(kind="stable")]
    chosen = known.loc[shuffled.index[:count].sort_values()]
    return np.asarray(chosen.sort_values(LABELS).index)
