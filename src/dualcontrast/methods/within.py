"""What a code says within a cluster: its residual, and the residual in a form that is the same in all clusters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHRINKAGE = 1e-3  # of the clusters' Gram matrix, so that empty clusters have a centre as well
MEMORY = 0.99  # share of the past in running moments
SMALLEST_VARIANCE = 1e-4  # of a direction, as a share of the widest one's


class WithinClusters(nn.Module):
    """The residual of a code h, given the probabilities p of its cluster.

    In training it is

        z = h - p mu,   mu = (P'P / B + 1e-3 I)^-1 P'H / B                                             (centring)

    with P and H a batch's p and h: no linear map of p is left in z. Afterwards, where codes are read, the moments
    of h in each cluster are those of the images lately trained on, m_k and S_k, and

        z = S_k^-1/2 (h - m_k),   k = argmax p                                                        (whitening)

    has the same mean and covariance in every cluster. Without whitening S_k is 1.

    Parameters
    ----------
    clusters, size
        K and d.
    whitened
        Whether codes that are read are whitened.
    """

    weight: Tensor
    first: Tensor
    second: Tensor
    batches: Tensor

    def __init__(self, clusters: int, size: int, whitened: bool) -> None:
        super().__init__()
        self.whitened = whitened
        self.register_buffer("weight", torch.zeros(clusters))
        self.register_buffer("first", torch.zeros(clusters, size))
        self.register_buffer("second", torch.zeros(clusters, size, size))
        self.register_buffer("batches", torch.zeros(()))

    def residual(self, p: Tensor, h: Tensor) -> Tensor:
        """Return h (B, d) less what p (B, K) tells of its mean; in training, its moments are remembered."""
        with torch.autocast(p.device.type, enabled=False):  # a linear system wants all its digits
            p, h = p.to(self.first.dtype), h.to(self.first.dtype)
            if not self.training:
                return h - self._means()[p.argmax(dim=1)]
            self._remember(p.detach(), h.detach())
            gram, moment = p.T @ p / len(p), p.T @ h / len(p)
            shrunk = gram + SHRINKAGE * torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
            centred: Tensor = h - p @ torch.linalg.solve(shrunk, moment)
            return centred

    def whiten(self, p: Tensor, residual: Tensor) -> Tensor:
        """Return S_k^-1/2 times a residual (B, d)."""
        return self._mapped(p, residual, -0.5)

    def colour(self, p: Tensor, z: Tensor) -> Tensor:
        """Return S_k^1/2 times a whitened residual (B, d): what `whiten` undoes."""
        return self._mapped(p, z, 0.5)

    def _mapped(self, p: Tensor, residual: Tensor, power: float) -> Tensor:
        if not self.whitened:
            return residual
        values, vectors = torch.linalg.eigh(self._covariances())
        values = values.clamp(min=SMALLEST_VARIANCE * values.amax(dim=1, keepdim=True)).clamp(min=1e-12)
        roots = (vectors * values[:, None] ** power) @ vectors.mT
        empty = self.weight <= 0
        roots[empty] = torch.eye(roots.shape[-1], device=roots.device, dtype=roots.dtype)
        mapped: Tensor = (roots[p.argmax(dim=1)] @ residual.to(roots.dtype)[..., None])[..., 0]
        return mapped

    def _means(self) -> Tensor:
        """Return m_k, (K, d)."""
        return self.first / self.weight.clamp(min=1e-12)[:, None]

    def _covariances(self) -> Tensor:
        """Return S_k, (K, d, d)."""
        means = self._means()
        return self.second / self.weight.clamp(min=1e-12)[:, None, None] - means[:, :, None] * means[:, None]

    def _remember(self, p: Tensor, h: Tensor) -> None:
        self.batches += 1
        share = (1 / self.batches).clamp(min=1 - MEMORY)  # all of the past at first, then the lately seen
        self.weight.lerp_(p.mean(dim=0), share)
        self.first.lerp_(p.T @ h / len(p), share)
        self.second.lerp_(torch.einsum("bk,bi,bj->kij", p, h, h) / len(p), share)
