"""How much of an object's viewing direction a linear map of a code predicts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dualcontrast.evaluation.probes import is_test
from dualcontrast.evaluation.results import ObjectViewpointScores, ViewpointScores
from dualcontrast.images.linemod import POSE_COLUMNS
from dualcontrast.runs import SavedCodes

PENALTIES = np.logspace(-3, 3, 13)


def viewpoint_score(codes: SavedCodes) -> ViewpointScores | None:
    """Score how well either code predicts the viewing direction of each object.

    A ridge regression predicts the direction from standardised codes, within each object. It is fitted on the
    training split, with the penalty chosen there by leave-one-out cross-validation. The score is R^2 on the test
    split, of all three coordinates together:

        R^2 = 1 - sum |v - v'|^2 / sum |v - mean v|^2

    with the mean of the training directions, so that always predicting it scores 0. A v' longer than 1, the length
    of a direction, is shortened to 1: otherwise, if a code hardly varies in training, as a probability does, one
    image that differs would outweigh all others. The direction is predicted rather than the whole rotation: it
    says which side of the object is seen, while the in-plane rotation is what the paper's T changes.

    Parameters
    ----------
    codes
        Codes, and the table of their images with the pose as `quat_0` to `quat_3`.

    Returns
    -------
    ViewpointScores or None
        R^2 of each object and its mean over objects, rounded to 4 digits; None where no poses are known.
    """
    table = codes.table
    if not {*POSE_COLUMNS, "content"} <= set(table):
        return None
    directions, test = viewing_directions(table), is_test(table)
    known = np.isfinite(directions).all(axis=1) & table["content"].notna().to_numpy()
    per_object = {}
    for name in sorted(set(table["content"][known]), key=str):
        of_object = known & (table["content"] == name).to_numpy()
        train, tested = np.flatnonzero(of_object & ~test), np.flatnonzero(of_object & test)
        if len(train) < 2 or len(tested) == 0:
            continue
        per_object[str(name)] = ObjectViewpointScores(
            from_transformation=round(_r_squared(codes.transformation, directions, train, tested), 4),
            from_content=round(_r_squared(codes.content, directions, train, tested), 4),
            test_images=len(tested),
        )
    if not per_object:
        return None
    scores = per_object.values()
    return ViewpointScores(
        from_transformation=round(float(np.mean([score.from_transformation for score in scores])), 4),
        from_content=round(float(np.mean([score.from_content for score in scores])), 4),
        per_object=per_object,
    )


def viewing_directions(table: pd.DataFrame) -> np.ndarray:
    """Compute the direction in which the camera looks, in the frame of the object, (N, 3).

    It is the third row of the rotation from object to camera. `quat_0` to `quat_3` are the quaternion of that
    rotation, of any length, real part first.
    """
    quaternions = table[list(POSE_COLUMNS)].to_numpy(np.float64)
    w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    return np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=1)


def describe_viewpoint(score: ViewpointScores) -> list[str]:
    """Describe a viewpoint score in a sentence."""
    return [
        f"A linear map of the transformation code explains {100 * score.from_transformation:.0f} % of the "
        "variance of the viewing direction of an object, one of the content code "
        f"{100 * score.from_content:.0f} % (chance 0 %): the first should be high, the second low."
    ]


def _r_squared(code: np.ndarray, directions: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inputs = code.astype(np.float64)
    model = make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(inputs[train], directions[train])
    predicted = model.predict(inputs[test])
    predicted /= np.linalg.norm(predicted, axis=1, keepdims=True).clip(1)
    error = np.square(predicted - directions[test]).sum()
    spread = np.square(directions[test] - directions[train].mean(axis=0)).sum()
    return float(1 - error / spread)
