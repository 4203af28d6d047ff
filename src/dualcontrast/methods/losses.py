"""Terms of the objectives, one function per equation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_similarity_loss(first: Tensor, second: Tensor) -> Tensor:
    """L_sim of DualContrast: the mean absolute cosine similarity, mean_i |cos(a_i, b_i)|.

    Parameters
    ----------
    first, second
        Codes (B, d); row i of one and row i of the other are a negative pair.

    Returns
    -------
    Tensor
        A scalar in [0, 1].
    """
    return F.cosine_similarity(first, second, dim=1).abs().mean()


def cosine_distance_loss(first: Tensor, second: Tensor) -> Tensor:
    """L_dist of DualContrast: the mean absolute cosine distance, mean_i |1 - cos(a_i, b_i)|.

    Parameters
    ----------
    first, second
        Codes (B, d); row i of one and row i of the other are a positive pair.

    Returns
    -------
    Tensor
        A scalar in [0, 2].
    """
    return (1 - F.cosine_similarity(first, second, dim=1)).abs().mean()


def line_distance_loss(first: Tensor, second: Tensor) -> Tensor:
    """L_dist as the authors' script computes it: mean_i (1 - |cos(a_i, b_i)|).

    It is the distance between lines rather than directions: an opposite code counts as equal.

    Returns
    -------
    Tensor
        A scalar in [0, 1].
    """
    return (1 - F.cosine_similarity(first, second, dim=1).abs()).mean()


def info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """InfoNCE over a batch of pairs (NT-Xent of SimCLR: T. Chen et al., ICML 2020, equation 1).

    Each of the 2B codes is classified by cosine similarity: which of the other 2B - 1 is its partner?
    mean_i -log( exp(cos(a_i, b_i) / t) / sum_k exp(cos(a_i, k) / t) ).

    Parameters
    ----------
    first, second
        Codes (B, d); row i of one and row i of the other are a positive pair; all other pairs are negative.
    temperature
        t.

    Returns
    -------
    Tensor
        A scalar; log(2B - 1) for codes without information.
    """
    codes = F.normalize(torch.cat([first, second]), dim=1)
    similarities = codes @ codes.T / temperature
    similarities.fill_diagonal_(float("-inf"))
    partner = torch.arange(len(codes), device=codes.device).roll(len(first))
    return F.cross_entropy(similarities, partner)


def cross_correlation_loss(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean squared correlation between the components of two codes.

    Parameters
    ----------
    first, second
        Codes (B, d_1) and (B, d_2) of the same images.

    Returns
    -------
    Tensor
        A scalar in [0, 1]; about 1 / B for independent codes.
    """
    correlations = standardised(first).T @ standardised(second) / len(first)
    return correlations.square().mean()


def mutual_information(first: Tensor, second: Tensor) -> Tensor:
    """Return the mutual information of cluster assignments of two views (X. Ji et al., IIC, ICCV 2019, eq. 3).

    With P the symmetrised mean of p_i q_i' over the batch: sum_ab P_ab log( P_ab / (P_a P_b) ).

    Parameters
    ----------
    first, second
        p and q, (B, K): probabilities of K clusters for two views of the same images.

    Returns
    -------
    Tensor
        A scalar in [0, log K].
    """
    joint = first.T @ second / len(first)
    joint = (0.5 * (joint + joint.T)).clamp(min=1e-8)
    rows, columns = joint.sum(dim=1, keepdim=True), joint.sum(dim=0, keepdim=True)
    return (joint * (joint.log() - rows.log() - columns.log())).sum()


def standardised(codes: Tensor) -> Tensor:
    """Standardise codes (B, d) to mean 0 and variance 1 over the batch."""
    deviation, mean = torch.std_mean(codes, dim=0, correction=0)
    return (codes - mean) / (deviation + 1e-6)


def squared_error(reconstructions: Tensor, images: Tensor, per: str) -> Tensor:
    """L_rec: the squared error of reconstructions.

    Parameters
    ----------
    reconstructions, images
        (B, C, spatial...).
    per
        "image": half the sum over an image's pixels, which is the negative log-likelihood of a Gaussian of
        unit variance up to a constant. "pixel": the mean over all pixels.

    Returns
    -------
    Tensor
        A scalar, the mean over the batch.
    """
    if per == "pixel":
        return F.mse_loss(reconstructions, images)
    return 0.5 * F.mse_loss(reconstructions, images, reduction="sum") / len(images)
