"""How far codes stay where they are when T is applied to the images."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from dualcontrast.evaluation.probes import is_test
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
) -> dict[str, float]:
    """Measure how far codes stay where they are when T is applied: condition 1 of the paper's section 3.1.

    A high cosine means nothing where all codes point one way, so that of random pairs stands beside it.

    Parameters
    ----------
    method
        A trained method; T is its `view`.
    images
        Two at least, as `images_to_judge` chooses them.
    seed
        Of T and of the random pairs.
    batch_size
        Images encoded at a time.
    device
        Where to encode.

    Returns
    -------
    dict
        `content`, the mean cosine of c(x) and c(T(x)); `content_chance`, that of c(x) and c(x') with x'
        another image; the same for `transformation`. Rounded to 4 digits.
    """
    of_images: list[Codes] = []
    of_views: list[Codes] = []
    with inference(method, device, seed):
        for batch in method.batches(images, batch_size, device):
            of_images.append(method.encode(batch))
            of_views.append(method.encode(Batch(method.view(batch.images), batch.index)))
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(images)))
    figures: dict[str, float] = {}
    for name in Codes._fields:
        codes = torch.cat([getattr(part, name) for part in of_images]).cpu()
        views = torch.cat([getattr(part, name) for part in of_views]).cpu()
        figures[name] = _mean_cosine(codes, views)
        figures[f"{name}_chance"] = _mean_cosine(codes[order], codes[order.roll(1)])
    return figures


def images_to_judge(images: ImageSet, seed: int = 0) -> ImageSet:
    """Return up to 2,000 of the test images; of all images where fewer than two are for testing."""
    test = np.flatnonzero(is_test(images.table))
    return limited(images.select(test) if len(test) >= 2 else images, AT_MOST, seed)


def _mean_cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    return round(float(F.cosine_similarity(first, second, dim=1).mean()), 4)
