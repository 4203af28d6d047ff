"""Swap score: what a classifier of real images sees in hybrids, decoded from the codes of two images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from dualcontrast.errors import SourceError
from dualcontrast.evaluation.classifier import trained_classifier
from dualcontrast.evaluation.probes import is_test
from dualcontrast.images import ImageSet
from dualcontrast.methods import Batch, Codes, Method
from dualcontrast.progress import Progress, silent
from dualcontrast.runs.encoding import inference

BATCH = 100
CANDIDATES = 100
CLASSIFIER_IMAGES = 20_000
CLASSIFIER_STEPS = 600


def swap_score(
    method: Method,
    images: ImageSet,
    *,
    seed: int = 0,
    hybrids: int = 2000,
    device: str | torch.device = "cpu",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Score hybrids decode(c_i, z_j) of random test images i and j of different classes.

    A small convolutional classifier, trained on at most 20,000 real training images, tells the class of each
    hybrid. Decoded pictures are seen as they are; `classifier_reconstructed` tells what that costs.

    A decoded volume comes without the noise of those that classifier and encoder know, so that noise is added
    before either sees it: white and Gaussian, with the variance of the residual x - decode(c, z) over the test
    images scored. This takes no labels, but counts as noise what the decoder misses of the signal as well, and
    knows nothing of a missing wedge.

    Parameters
    ----------
    method
        A trained method; it is left on `device`, in the mode it came in.
    images
        Images with the columns `split` and `content`. Where none are for testing, those for training serve
        for both, and the result's `split` says so.
    seed
        Of the classifier and of the choice of images.
    hybrids
        How many to make, at least two; fewer where there are fewer test images.
    device
        Where to compute.
    progress
        Called after every batch.

    Returns
    -------
    dict
        Shares and ratios are rounded to four digits.

        - `content_kept`, `content_of_z_source`: share of hybrids classified as the class of i, of j. A
          decoder that ignores z keeps the content too: see `transformation_effect`.
        - `transformation_kept`: share of hybrids whose transformation code, encoded anew, has z_j as its
          nearest (Euclidean) among the codes of 100 images, j one of them. A tie counts in part, so that a
          constant code scores `transformation_kept_chance`.
        - `transformation_effect`: the mean squared difference of decode(c_i, z_j) and decode(c_i, z_i),
          divided by that of decode(c_j, z_j) and decode(c_i, z_i): 0 for a decoder that ignores z, 1 for one
          that ignores c. No noise is added for it.
        - `classifier_real`, `classifier_reconstructed`: the classifier's accuracy on the images i, and on
          their reconstructions decode(c_i, z_i).
        - `noise_added`: the standard deviation, in the range of the data, of the noise added to decoded
          volumes, to four significant digits; 0.0 for pictures.
        - `hybrids`, `classes`, `split`, `seed`: what was scored.

    Raises
    ------
    MethodError
        The method has no decoder.
    SourceError
        The labels do not tell two classes, among training images as well as among test images.
    """
    require_decoder(method)
    labels = _labels(images)
    if not labels.suffice():
        raise SourceError(
            f"{images.source}: a swap score needs content labels of at least two classes, among training and "
            "among test images; give a source that has them"
        )
    rng = np.random.default_rng(seed)
    places = rng.permutation(labels.training)[:CLASSIFIER_IMAGES]
    classifier = trained_classifier(
        images, labels.classes, places, steps=CLASSIFIER_STEPS, rng=rng, device=device, progress=progress
    )
    pool = _pool(labels, max(hybrids, 2), rng)
    classes = labels.classes[pool]
    other = _of_another_class(classes, rng)
    with inference(method, device, seed):
        seen, noise = _judged(method, classifier, images.select(pool), other, device=device, progress=progress)
    chance = 1 / min(CANDIDATES, len(pool))
    apart = seen["apart"].mean()
    scores = {
        "content_kept": (seen["hybrid"] == classes).mean(),
        "content_of_z_source": (seen["hybrid"] == classes[other]).mean(),
        "transformation_kept": seen["nearest"].mean(),
        "transformation_kept_chance": chance,
        "transformation_effect": seen["changed"].mean() / apart if apart > 0 else 0.0,
        "classifier_real": (seen["real"] == classes).mean(),
        "classifier_reconstructed": (seen["reconstructed"] == classes).mean(),
    }
    return {
        **{name: round(float(score), 4) for name, score in scores.items()},
        "noise_added": float(f"{noise:.4g}"),
        "hybrids": len(pool),
        "classes": labels.count,
        "split": labels.split,
        "seed": seed,
    }


def describe_swap(swap: dict[str, Any]) -> list[str]:
    """Return a swap score in sentences for somebody who reads one for the first time."""
    kept, other = 100 * swap["content_kept"], 100 * swap["content_of_z_source"]
    real, again = 100 * swap["classifier_real"], 100 * swap["classifier_reconstructed"]
    moved, chance = 100 * swap["transformation_kept"], 100 * swap["transformation_kept_chance"]
    added = swap.get("noise_added")
    noise = f" with noise of standard deviation {added:.3g} added" if added else ""
    return [
        f"Of {swap['hybrids']:,} hybrids of two test images, {kept:.1f} % keep the content of the image that gave "
        f"it, and {other:.1f} % show that of the other: all and none would be best.",
        f"(The classifier that judges is right on {real:.1f} % of real images and {again:.1f} % of "
        f"reconstructions{noise}.)",
        f"{moved:.1f} % keep the transformation of the image that gave it (chance {chance:.1f} %); the "
        f"transformation code makes {100 * swap['transformation_effect']:.0f} % of the difference between two "
        "images.",
    ]


def can_swap(images: ImageSet) -> bool:
    """Tell whether the labels of images suffice for a swap score."""
    return _labels(images).suffice()


def require_decoder(method: Method) -> None:
    """Raise the MethodError of a method that has no decoder, before any work is done in vain."""
    if not method.has_decoder:
        method.decode(Codes(torch.empty(0, 0), torch.empty(0, 0)))


@dataclass(frozen=True)
class _Labels:
    """Classes by number, and the places of labelled images that train and test the classifier."""

    classes: np.ndarray  # (N,), -1 where the class is not known, or not among the training images
    count: int
    training: np.ndarray
    test: np.ndarray
    split: str  # that the test images are of

    def suffice(self) -> bool:
        return all(len(np.unique(self.classes[places])) > 1 for places in (self.training, self.test))


def _labels(images: ImageSet) -> _Labels:
    content = images.table.get("content", pd.Series(np.nan, index=images.table.index))
    test = is_test(images.table)
    names = pd.Index(content[~test].dropna().unique())
    classes = names.get_indexer(pd.Index(content))
    trains, tests = np.flatnonzero(~test & (classes >= 0)), np.flatnonzero(test & (classes >= 0))
    if not test.any():
        return _Labels(classes, len(names), trains, trains, "train")
    return _Labels(classes, len(names), trains, tests, "test")


def _pool(labels: _Labels, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw test images in random order; however few, they are not all of one class."""
    order = rng.permutation(labels.test)
    _, one_of_each = np.unique(labels.classes[order], return_index=True)
    pool = np.concatenate([order[one_of_each], np.delete(order, one_of_each)])[:size]
    return rng.permutation(pool)


def _of_another_class(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw for each image the place of one of another class, all such with equal chance, (N,)."""
    order = np.argsort(classes)
    first = np.searchsorted(classes[order], classes, side="left")
    end = np.searchsorted(classes[order], classes, side="right")
    others = len(classes) - (end - first)
    # In a ring sorted by class, the images of other classes stand right after those of one's own.
    return np.asarray(order[(end + rng.integers(others)) % len(classes)])


def _judged(
    method: Method,
    classifier: nn.Module,
    images: ImageSet,
    other: np.ndarray,
    *,
    device: str | torch.device,
    progress: Progress,
) -> tuple[dict[str, np.ndarray], float]:
    """Decode each image i with its own z and with the z of image other[i], and look at the results.

    Returns
    -------
    seen : dict
        Of each i, (N,): the class seen in the `real` image, in its reconstruction (`reconstructed`) and in
        the `hybrid`; `nearest`, the credit of a hybrid whose z is nearest to that of other[i]; `changed` and
        `apart`, mean squared differences of the reconstruction to the hybrid, and to the reconstruction of
        other[i].
    noise : float
        Standard deviation of the noise added to decoded volumes; 0 for pictures.
    """
    (c, z), real, noise = _observed(method, classifier, images, device, progress)
    sources = torch.from_numpy(other).to(device)
    ring = torch.arange(min(CANDIDATES, len(images)), device=device)
    judged = []
    for start in range(0, len(images), BATCH):
        i = torch.arange(start, min(start + BATCH, len(images)), device=device)
        j = sources[i]
        reconstructions = method.decode(Codes(c[i], z[i]))
        hybrids = method.decode(Codes(c[i], z[j]))
        noisy = _with_noise(hybrids, noise)
        candidates = z[(j[:, None] + ring) % len(images)]  # images are in random order: j, and those after it
        judged.append(
            {
                "reconstructed": classifier(_with_noise(reconstructions, noise)).argmax(dim=1),
                "hybrid": classifier(noisy).argmax(dim=1),
                "nearest": _first_is_nearest(method.encode(Batch(noisy, i)).transformation, candidates),
                "changed": _squared_difference(hybrids, reconstructions),
                "apart": _squared_difference(method.decode(Codes(c[j], z[j])), reconstructions),
            }
        )
        progress("swapping codes", int(i[-1]) + 1, len(images))
    seen = {name: torch.cat([part[name] for part in judged]) for name in judged[0]}
    return {name: column.cpu().numpy() for name, column in {"real": real, **seen}.items()}, noise


def _observed(
    method: Method, classifier: nn.Module, images: ImageSet, device: str | torch.device, progress: Progress
) -> tuple[Codes, Tensor, float]:
    """Return the codes of images, the classes seen in them (N,), and the noise that decoded ones lack.

    Over all values of all images, the variance of the residual is the mean of its variances within images and
    the variance of its means. Pictures are taken to have no noise.
    """
    codes, real, residuals = [], [], []
    for batch in method.batches(images, BATCH, device):
        codes.append(method.encode(batch))
        real.append(classifier(batch.images).argmax(dim=1))
        if len(images.shape) == 4:
            residual = (batch.images - method.decode(codes[-1])).flatten(1)
            residuals.append(torch.stack(torch.var_mean(residual, dim=1, correction=0)).cpu())
        progress("encoding for the swap score", int(batch.index[-1]) + 1, len(images))
    noise = 0.0
    if residuals:
        variances, means = torch.cat(residuals, dim=1).double()
        noise = float((variances.mean() + means.var(correction=0)).sqrt())
    return Codes(*map(torch.cat, zip(*codes, strict=True))), torch.cat(real), noise


def _with_noise(images: Tensor, noise: float) -> Tensor:
    """Add white Gaussian noise of that standard deviation, if any."""
    return images + noise * torch.randn_like(images) if noise > 0 else images


def _first_is_nearest(codes: Tensor, candidates: Tensor) -> Tensor:
    """Tell where a code (B, d) is nearest to the first of its candidates (B, K, d): 1, or 1/n in an n-fold tie."""
    distances = (codes[:, None] - candidates).square().sum(dim=2)
    nearest = (distances == distances.amin(dim=1, keepdim=True)).to(torch.float64)
    return nearest[:, 0] / nearest.sum(dim=1)


def _squared_difference(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).square().flatten(1).mean(dim=1)
