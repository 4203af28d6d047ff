"""Codes within clusters in a form whose whole distribution, not only its moments, is the same in all clusters."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dualcontrast.devices import seeded
from dualcontrast.methods.within import power

ROUNDS = 24
KNOTS = 32  # of a monotone map, at most
CODES_A_KNOT = 50
FEWEST_KNOTS = 4


class Gaussianisation(nn.Module):
    """Codes z of cluster k, each cluster with its own invertible map to one Gaussian, N(0, S).

    In the coordinates u = S^-1/2 z, turned by one random rotation R_t after the other, every coordinate is brought
    to a standard Gaussian by the monotone map between their quantiles:

        u <- R_t' g_kt(R_t u),      g_kt = Phi^-1 F_kt, coordinate by coordinate,

    with F_kt the distribution of the cluster's codes there. It converges to a Gaussian for any rotations
    (V. Laparra et al., IEEE Trans. Neural Netw. 22, 2011). F_kt is known at no more than 32 quantiles, one for at
    least 50 codes; between them g is linear, and beyond them of slope 1. Clusters of less than 200 codes stay as
    they are.

    Parameters
    ----------
    clusters, size
        K and d.
    """

    rotations: Tensor
    root: Tensor
    inverse_root: Tensor
    knots: Tensor
    quantiles: Tensor

    def __init__(self, clusters: int, size: int) -> None:
        super().__init__()
        with seeded(0, torch.device("cpu")):
            rotations, _ = torch.linalg.qr(torch.randn(ROUNDS, size, size))
        self.register_buffer("rotations", rotations.contiguous())
        self.register_buffer("root", torch.eye(size))
        self.register_buffer("inverse_root", torch.eye(size))
        self.register_buffer("knots", torch.zeros(clusters, dtype=torch.long))
        self.register_buffer("quantiles", torch.zeros(clusters, ROUNDS, size, KNOTS))

    def fit(self, k: Tensor, z: Tensor) -> None:
        """Take the distribution of codes z (N, d), of mean 0, of clusters k (N,)."""
        z = z.to(self.root)
        covariance = z.double().T @ z.double() / len(z)
        self.root.copy_(power(covariance, 0.5))
        self.inverse_root.copy_(power(covariance, -0.5))
        self.knots.zero_()
        for cluster in k.unique().tolist():
            u = z[k == cluster] @ self.inverse_root
            knots = min(KNOTS, len(u) // CODES_A_KNOT)
            if knots < FEWEST_KNOTS:
                continue
            shares = _shares(knots).to(u)
            for turned, own in zip(self.rotations, self.quantiles[cluster], strict=True):
                along = u @ turned.T
                own[:, :knots] = torch.quantile(along, shares, dim=0).T
                u = _monotone(along, own[:, :knots], _gaussian(knots).to(own)) @ turned
            self.knots[cluster] = knots

    def forward(self, k: Tensor, z: Tensor) -> Tensor:
        """Return the Gaussian codes of z (B, d) of clusters k (B,)."""
        return self._mapped(k, z, inverse=False)

    def inverse(self, k: Tensor, codes: Tensor) -> Tensor:
        """Return z of Gaussian codes (B, d) in clusters k (B,)."""
        return self._mapped(k, codes, inverse=True)

    def _mapped(self, k: Tensor, codes: Tensor, inverse: bool) -> Tensor:
        mapped = codes.to(self.root).clone()
        for cluster in k[self.knots[k] > 0].unique().tolist():
            own, knots = k == cluster, int(self.knots[cluster])
            u, gaussian = mapped[own] @ self.inverse_root, _gaussian(knots).to(mapped)
            for step in reversed(range(ROUNDS)) if inverse else range(ROUNDS):
                turned, quantiles = self.rotations[step], self.quantiles[cluster, step, :, :knots]
                ends = (gaussian, quantiles) if inverse else (quantiles, gaussian)
                u = _monotone(u @ turned.T, *ends) @ turned
            mapped[own] = u @ self.root
        return mapped


def _shares(knots: int) -> Tensor:
    """Return the shares of codes below each knot, (Q,)."""
    return (torch.arange(knots, dtype=torch.float64) + 0.5) / knots


def _gaussian(knots: int) -> Tensor:
    """Return the quantiles of a standard Gaussian at the knots, (1, Q)."""
    return math.sqrt(2) * torch.erfinv(2 * _shares(knots) - 1)[None]


def _monotone(values: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Map each column of values (B, d) by the line through knots (d or 1, Q), with slope 1 beyond them."""
    rows = values.T.contiguous()
    source, target = (knots.expand(len(rows), -1).contiguous() for knots in (source, target))
    above = torch.searchsorted(source, rows).clamp(1, source.shape[1] - 1)
    left, right = source.gather(1, above - 1), source.gather(1, above)
    low, high = target.gather(1, above - 1), target.gather(1, above)
    between = low + (rows - left) / (right - left).clamp(min=1e-9) * (high - low)
    before, behind = target[:, :1] + rows - source[:, :1], target[:, -1:] + rows - source[:, -1:]
    mapped = torch.where(rows < source[:, :1], before, torch.where(rows > source[:, -1:], behind, between))
    return mapped.T
