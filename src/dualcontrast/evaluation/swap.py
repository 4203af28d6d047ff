"""Swap score: how a classifier of real images classifies hybrids, decoded from the codes of two images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from dualcontrast.errors import SourceError
from dualcontrast.evaluation.classifier import trained_classifier
from dualcontrast.evaluation.probes import is_test
from dualcontrast.evaluation.results import SwapScores
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
) -> SwapScores:
    """Score hybrids decode(c_i, z_j) of random test images i and j of different classes.

    A small convolutional classifier, trained on at most 20,000 real training images, classifies each hybrid.
    Decoded pictures are classified as they are; `classifier_reconstructed` shows what that costs.

    A decoded volume lacks the noise that classifier and encoder were trained with, so noise is added first: white
    and Gaussian, with the variance of the residual x - decode(c, z) over the test images scored. This needs no
    labels, but it also counts signal that the decoder misses as noise, and does not model a missing wedge.

    Parameters
    ----------
    method
        A trained method; it is left on `device`, in the mode it had.
    images
        Images with the columns `split` and `content`. Without test images, the training images are used for both,
        and the result's `split` says so.
    seed
        Seed of the classifier and of the choice of images.
    hybrids
        Number of hybrids, at least two; fewer if there are fewer test images.
    device
        Where to compute.
    progress
        Called after every batch.

    Returns
    -------
    SwapScores
        Shares and ratios are rounded to four digits.

    Raises
    ------
    MethodError
        The method has no decoder.
    SourceError
        The training or the test images have content labels of fewer than two classes.
    """
    require_decoder(method)
    labels = _labels(images)
    if not labels.suffice():
        raise SourceError(
            f"{images.source}: a swap score needs content labels of at least two classes, among training and "
            "among test images; give a source that has them"
        )
    rng = np.random.default_rng(seed)
    training = rng.permutation(labels.training)[:CLASSIFIER_IMAGES]
    classifier = trained_classifier(
        images, labels.classes, training, steps=CLASSIFIER_STEPS, rng=rng, device=device, progress=progress
    )
    pool = _pool(labels, max(hybrids, 2), rng)
    classes = labels.classes[pool]
    other = _partners(classes, rng)
    with inference(method, device, seed):
        classified = _decode_and_classify(
            method, classifier, images.select(pool), other, device=device, progress=progress
        )
    distance = classified.distance.mean()
    return SwapScores(
        content_kept=_share(classified.hybrid_class == classes),
        content_of_z_source=_share(classified.hybrid_class == classes[other]),
        transformation_kept=_share(classified.nearest),
        transformation_kept_chance=round(1 / min(CANDIDATES, len(pool)), 4),
        transformation_effect=round(float(classified.change.mean() / distance), 4) if distance > 0 else 0.0,
        classifier_real=_share(classified.real_class == classes),
        classifier_reconstructed=_share(classified.reconstructed_class == classes),
        noise_added=float(f"{classified.noise:.4g}"),
        hybrids=len(pool),
        classes=labels.count,
        split=labels.split,
        seed=seed,
    )


def describe_swap(swap: SwapScores) -> list[str]:
    """Describe a swap score in sentences, for first-time readers."""
    kept, other = 100 * swap.content_kept, 100 * swap.content_of_z_source
    real, reconstructed = 100 * swap.classifier_real, 100 * swap.classifier_reconstructed
    transferred, chance = 100 * swap.transformation_kept, 100 * swap.transformation_kept_chance
    noise = f" with noise of standard deviation {swap.noise_added:.3g} added" if swap.noise_added else ""
    return [
        f"Of {swap.hybrids:,} hybrids of two test images, {kept:.1f} % show the content of their content image, "
        f"and {other:.1f} % that of their transformation image: ideally all and none.",
        f"(The classifier is right on {real:.1f} % of real images and {reconstructed:.1f} % of "
        f"reconstructions{noise}.)",
        f"{transferred:.1f} % keep the transformation of their transformation image (chance {chance:.1f} %); the "
        f"transformation code makes {100 * swap.transformation_effect:.0f} % of the difference between two "
        "images.",
    ]


def can_swap(images: ImageSet) -> bool:
    """Tell whether the labels of images suffice for a swap score."""
    return _labels(images).suffice()


def require_decoder(method: Method) -> None:
    """Raise the method's own MethodError if it has no decoder, before any work is done."""
    if not method.has_decoder:
        method.decode(Codes(torch.empty(0, 0), torch.empty(0, 0)))


@dataclass(frozen=True)
class _Labels:
    """Classes by number, and the indices of labelled images that train and test the classifier."""

    classes: np.ndarray  # (N,), -1 if the class is unknown, or not among the training images
    count: int
    training: np.ndarray
    test: np.ndarray
    split: str  # of the test images

    def suffice(self) -> bool:
        return all(len(np.unique(self.classes[index])) > 1 for index in (self.training, self.test))


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
    """Draw test images in random order, of at least two classes however few they are."""
    order = rng.permutation(labels.test)
    _, one_of_each = np.unique(labels.classes[order], return_index=True)
    pool = np.concatenate([order[one_of_each], np.delete(order, one_of_each)])[:size]
    return rng.permutation(pool)


def _partners(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw for each image the index of one of another class, all such with equal probability, (N,)."""
    order = np.argsort(classes)
    first = np.searchsorted(classes[order], classes, side="left")
    end = np.searchsorted(classes[order], classes, side="right")
    others = len(classes) - (end - first)
    # In a ring sorted by class, the images of other classes follow those of the image's own class.
    return np.asarray(order[(end + rng.integers(others)) % len(classes)])


@dataclass(frozen=True)
class _Classified:
    """Results for each image i, (N,), with image j = other[i] as the source of the transformation."""

    real_class: np.ndarray
    reconstructed_class: np.ndarray
    hybrid_class: np.ndarray
    nearest: np.ndarray  # 1 if the hybrid's z is nearest to that of j, 1/n in an n-fold tie, else 0
    change: np.ndarray  # mean squared difference of the hybrid to the reconstruction of i
    distance: np.ndarray  # mean squared difference of the reconstructions of i and j
    noise: float  # standard deviation of the noise added to decoded volumes; 0 for pictures


def _decode_and_classify(
    method: Method,
    classifier: nn.Module,
    images: ImageSet,
    other: np.ndarray,
    *,
    device: str | torch.device,
    progress: Progress,
) -> _Classified:
    """Decode each image i with its own z and with the z of image other[i], and classify the results."""
    (c, z), real_class, noise = _encode_and_classify(method, classifier, images, device, progress)
    sources = torch.from_numpy(other).to(device)
    ring = torch.arange(min(CANDIDATES, len(images)), device=device)
    batches = []
    for start in range(0, len(images), BATCH):
        i = torch.arange(start, min(start + BATCH, len(images)), device=device)
        j = sources[i]
        reconstructions = method.decode(Codes(c[i], z[i]))
        hybrids = method.decode(Codes(c[i], z[j]))
        noisy = _with_noise(hybrids, noise)
        candidates = z[(j[:, None] + ring) % len(images)]  # images are in random order: j, and those after it
        batches.append(
            {
                "reconstructed_class": classifier(_with_noise(reconstructions, noise)).argmax(dim=1),
                "hybrid_class": classifier(noisy).argmax(dim=1),
                "nearest": _first_is_nearest(method.encode(Batch(noisy, i)).transformation, candidates),
                "change": _squared_difference(hybrids, reconstructions),
                "distance": _squared_difference(method.decode(Codes(c[j], z[j])), reconstructions),
            }
        )
        progress("swapping codes", int(i[-1]) + 1, len(images))
    columns = {name: torch.cat([batch[name] for batch in batches]).cpu().numpy() for name in batches[0]}
    return _Classified(real_class=real_class.cpu().numpy(), noise=noise, **columns)


def _encode_and_classify(
    method: Method, classifier: nn.Module, images: ImageSet, device: str | torch.device, progress: Progress
) -> tuple[Codes, Tensor, float]:
    """Encode images, classify them (N,), and estimate the standard deviation of the noise that decoding removes.

    The variance of the residual over all values of all images is the mean of its variances within images plus the
    variance of its means. Pictures are assumed to have no noise.
    """
    codes, classes, residuals = [], [], []
    for batch in method.batches(images, BATCH, device):
        codes.append(method.encode(batch))
        classes.append(classifier(batch.images).argmax(dim=1))
        if len(images.shape) == 4:
            residual = (batch.images - method.decode(codes[-1])).flatten(1)
            residuals.append(torch.stack(torch.var_mean(residual, dim=1, correction=0)).cpu())
        progress("encoding for the swap score", int(batch.index[-1]) + 1, len(images))
    noise = 0.0
    if residuals:
        variances, means = torch.cat(residuals, dim=1).double()
        noise = float((variances.mean() + means.var(correction=0)).sqrt())
    return Codes(*map(torch.cat, zip(*codes, strict=True))), torch.cat(classes), noise


def _with_noise(images: Tensor, noise: float) -> Tensor:
    """Add white Gaussian noise of a standard deviation, if any."""
    return images + noise * torch.randn_like(images) if noise > 0 else images


def _first_is_nearest(codes: Tensor, candidates: Tensor) -> Tensor:
    """Score codes (B, d) whose nearest of K candidates (B, K, d) is the first: 1, or 1/n in an n-fold tie."""
    distances = (codes[:, None] - candidates).square().sum(dim=2)
    nearest = (distances == distances.amin(dim=1, keepdim=True)).to(torch.float64)
    return nearest[:, 0] / nearest.sum(dim=1)


def _share(hits: np.ndarray) -> float:
    return round(float(hits.mean()), 4)


def _squared_difference(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).square().flatten(1).mean(dim=1)
