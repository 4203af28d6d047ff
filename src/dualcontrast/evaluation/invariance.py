"""How little codes change when T is applied to the images."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from dualcontrast.evaluation.probes import is_test
from dualcontrast.evaluation.results import InvarianceScores
from dualcontrast.images import ImageSet, limited
from dualcontrast.methods import Batch, Codes, Method
from dualcontrast.runs.encoding import inference

AT_MOST = 2000


def invariance(
    method: Method,
    images: ImageSet,
    *,
    seed: int = 0,
    batch_size: int = 500,
    device: str | torch.device = "cpu",
) -> InvarianceScores:
    """Measure how little codes change when T is applied: condition 1 of the paper's section 3.1.

    A high cosine means nothing if all codes point in one direction, so random pairs are scored as well.

    Parameters
    ----------
    method
        A trained method; T is its `view`.
    images
        At least two, from `invariance_images`.
    seed
        Seed of T and of the random pairs.
    batch_size
        Images encoded at a time.
    device
        Where to encode.

    Returns
    -------
    InvarianceScores
        The mean cosine of c(x) and c(T(x)), that of c(x) and c(x') with x' another image, and the same of the
        transformation codes. Rounded to 4 digits.
    """
    of_images: list[Codes] = []
    of_views: list[Codes] = []
    with inference(method, device, seed):
        for batch in method.batches(images, batch_size, device):
            of_images.append(method.encode(batch))
            of_views.append(method.encode(Batch(method.view(batch.images), batch.index)))
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(images)))
    cosines: dict[str, float] = {}
    for name in Codes._fields:
        codes = torch.cat([getattr(part, name) for part in of_images]).cpu()
        views = torch.cat([getattr(part, name) for part in of_views]).cpu()
        cosines[name] = _mean_cosine(codes, views)
        cosines[f"{name}_chance"] = _mean_cosine(codes[order], codes[order.roll(1)])
    return InvarianceScores(**cosines)


def invariance_images(images: ImageSet, seed: int = 0) -> ImageSet:
    """Choose up to 2,000 test images; of all images if there are fewer than two test images."""
    test = np.flatnonzero(is_test(images.table))
    return limited(images.select(test) if len(test) >= 2 else images, AT_MOST, seed)


def _mean_cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    return round(float(F.cosine_similarity(first, second, dim=1).mean()), 4)
