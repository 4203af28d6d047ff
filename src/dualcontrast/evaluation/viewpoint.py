"""How much of the direction that an object is seen from a linear map of a code tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dualcontrast.evaluation.probes import is_test
from dualcontrast.images.linemod import POSE_COLUMNS
from dualcontrast.runs import SavedCodes

PENALTIES = np.logspace(-3, 3, 13)


def viewpoint_score(codes: SavedCodes) -> dict[str, Any] | None:
    """Score how well either code tells the viewing direction of each object.

    Ridge regression of the direction on standardised codes, within each object, fitted on the training split, the
    penalty chosen there by leaving one out; R^2 on the test split, of all three coordinates together:

        R^2 = 1 - sum |v - v'|^2 / sum |v - mean v|^2

    with the mean of the training directions, so that 0 is what always answering it achieves. A v' longer than 1,
    the length of a direction, is cut to 1: else a code that hardly varies in training, as a probability does,
    would let one image that differs outweigh all others. The direction is told rather than the whole rotation,
    since the rest of it, the turn of the picture in its plane, is what the paper's T makes; the direction is
    which side of the object is seen.

    Parameters
    ----------
    codes
        Codes, and the table of their images with the pose as `quat_0` to `quat_3`.

    Returns
    -------
    dict or None
        `from_transformation` and `from_content`, the means over objects, `chance`, and `per_object`: by name, the
        same two and `test_images`. Rounded to 4 digits. None where no poses are known.
    """
    table = codes.table
    if not {*POSE_COLUMNS, "content"} <= set(table):
        return None
    directions, test = viewing_directions(table), is_test(table)
    known = np.isfinite(directions).all(axis=1) & table["content"].notna().to_numpy()
    per_object = {}
    for name in sorted(set(table["content"][known]), key=str):
        own = known & (table["content"] == name).to_numpy()
        train, tested = np.flatnonzero(own & ~test), np.flatnonzero(own & test)
        if len(train) < 2 or len(tested) == 0:
            continue
        per_object[str(name)] = {
            "from_transformation": round(_r_squared(codes.transformation, directions, train, tested), 4),
            "from_content": round(_r_squared(codes.content, directions, train, tested), 4),
            "test_images": len(tested),
        }
    if not per_object:
        return None
    means = {
        key: round(float(np.mean([score[key] for score in per_object.values()])), 4)
        for key in ("from_transformation", "from_content")
    }
    return {**means, "chance": 0, "per_object": per_object}


def viewing_directions(table: pd.DataFrame) -> np.ndarray:
    """Return the direction that the camera looks along, in the frame of the object, (N, 3).

    It is the third row of the rotation from object to camera, which `quat_0` to `quat_3` give as a quaternion, its
    real part first, of any length.
    """
    quaternions = table[list(POSE_COLUMNS)].to_numpy(np.float64)
    w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    return np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=1)


def describe_viewpoint(score: dict[str, Any]) -> list[str]:
    """Return a viewpoint score in a sentence."""
    return [
        f"A linear map of the transformation code tells {100 * score['from_transformation']:.0f} % of the "
        f"variance of the viewing direction within an object, one of the content code "
        f"{100 * score['from_content']:.0f} % (chance 0 %): the first should be high, the second low."
    ]


def _r_squared(code: np.ndarray, directions: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inputs = code.astype(np.float64)
    model = make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(inputs[train], directions[train])
    told = model.predict(inputs[test])
    told /= np.linalg.norm(told, axis=1, keepdims=True).clip(1)
    error = np.square(told - directions[test]).sum()
    spread = np.square(directions[test] - directions[train].mean(axis=0)).sum()
    return float(1 - error / spread)
