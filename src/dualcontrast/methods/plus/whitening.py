"""Whitening of codes within clusters: the same mean and covariance in all of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

SHRINKAGE = 1e-3  # of the clusters' Gram matrix, so that empty clusters have a centre too
SMALLEST_VARIANCE = 1e-6  # along any direction, as a fraction of the largest


def centres(p: Tensor, h: Tensor) -> Tensor:
    """Estimate mu, the centres of the clusters in a batch (K, d), by ridge regression of h on p.

        mu = (P'P / B + 1e-3 I)^-1 P'H / B

    Parameters
    ----------
    p, h
        Probabilities of the clusters (B, K) and codes (B, d). h - p mu contains no linear function of p.
    """
    with torch.autocast(p.device.type, enabled=False):  # a linear system needs full precision
        dtype = torch.promote_types(h.dtype, torch.float32)
        p, h = p.to(dtype), h.to(dtype)
        gram, moment = p.T @ p / len(p), p.T @ h / len(p)
        shrunk = gram + SHRINKAGE * torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
        solved: Tensor = torch.linalg.solve(shrunk, moment)
        return solved


class Moments(NamedTuple):
    """Counts (K,), means (K, d) and covariances (K, d, d) of codes in every cluster, in double precision."""

    counts: Tensor
    means: Tensor
    covariances: Tensor

    @classmethod
    def of(cls, k: Tensor, h: Tensor, clusters: int) -> Moments:
        """Measure the moments of codes h (N, d) in clusters k (N,), numbered below `clusters`."""
        size = h.shape[1]
        counts = torch.bincount(k, minlength=clusters)
        means, covariances = h.new_zeros(clusters, size).double(), h.new_zeros(clusters, size, size).double()
        for cluster in counts.nonzero()[:, 0].tolist():
            codes = h[k == cluster].double()
            means[cluster] = codes.mean(dim=0)
            covariances[cluster] = torch.cov(codes.T, correction=0).reshape(size, size)
        return cls(counts, means, covariances)


class WithinClusters(nn.Module):
    """Map codes h of cluster k to z = A_k (h - m_k), with mean 0 and the same covariance S in every cluster.

    m_k and S_k are the moments of h in cluster k, and S is the mean of S_k over images. Among the linear maps with
    this property,

        A_k = S^1/2 (S^1/2 S_k S^1/2)^-1/2 S^1/2

    moves codes least: the optimal transport between two Gaussians (I. Olkin & F. Pukelsheim, Linear Algebra
    Appl. 48, 1982). A direction of negligible variance is not amplified.

    Parameters
    ----------
    clusters, size
        K and d.
    whitened
        Whether to equalise covariances; otherwise A_k is the identity.
    """

    means: Tensor
    maps: Tensor
    inverses: Tensor

    def __init__(self, clusters: int, size: int, whitened: bool = True) -> None:
        super().__init__()
        self.whitened = whitened
        self.register_buffer("means", torch.zeros(clusters, size))
        self.register_buffer("maps", torch.eye(size).repeat(clusters, 1, 1))
        self.register_buffer("inverses", torch.eye(size).repeat(clusters, 1, 1))

    def take(self, moments: Moments) -> None:
        """Set the maps from the moments of h; a cluster of too few codes keeps its covariance."""
        counts, means, covariances = (part.to(self.means.device) for part in moments)
        covariances = covariances.double()
        self.means.copy_(means)
        root = power(torch.einsum("k,kij->ij", counts.double() / counts.sum(), covariances), 0.5)
        for cluster in (counts > self.means.shape[1]).nonzero()[:, 0].tolist() if self.whitened else ():
            inner = power(root @ covariances[cluster] @ root, -0.5)
            self.maps[cluster] = root @ inner @ root
            self.inverses[cluster] = torch.linalg.inv(root @ inner @ root)

    def forward(self, k: Tensor, h: Tensor) -> Tensor:
        """Map codes h (B, d) of clusters k (B,) to z."""
        return _applied(self.maps[k], h.to(self.means.dtype) - self.means[k])

    def inverse(self, k: Tensor, z: Tensor) -> Tensor:
        """Map z (B, d) of clusters k (B,) back to h - m_k."""
        return _applied(self.inverses[k], z)


def _applied(maps: Tensor, codes: Tensor) -> Tensor:
    mapped: Tensor = (maps @ codes.to(maps.dtype)[..., None])[..., 0]
    return mapped


def power(covariance: Tensor, exponent: float) -> Tensor:
    """Raise a covariance (d, d) to a power, with its eigenvalues bounded from below."""
    values, vectors = torch.linalg.eigh(covariance)
    smallest = SMALLEST_VARIANCE * values[-1]
    raised: Tensor = (vectors * values.clamp(min=smallest.clamp(min=1e-12)) ** exponent) @ vectors.T
    return raised
