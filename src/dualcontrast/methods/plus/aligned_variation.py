"""What varies among volumes of one cluster, once they are brought to a common pose: principal components."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor

from dualcontrast.methods.method import Batch, Losses
from dualcontrast.methods.plus.pose_search import PoseSearch
from dualcontrast.methods.plus.variation import ContentError, Variation, WithClusters
from dualcontrast.methods.plus.whitening import Moments
from dualcontrast.networks import Gaussian
from dualcontrast.poses import POSE_SIZE, Poses
from dualcontrast.transforms.fourier import SPATIAL, resized

UNMEASURED = 1e-4  # of the largest value of a CTF
SMALLEST_SIGNAL = 1e-6  # variance of a component that is no more than noise, as a share of the noise


class AlignedVariation(Variation):
    """The linear Gaussian model of the volumes of a cluster k in a common pose.

        x = T_R,t (V_k + U_k h) + noise,      h ~ N(0, diag(l - s)),   noise ~ N(0, s),

    whose maximum of likelihood is known (M. Tipping & C. Bishop, J. R. Stat. Soc. B 61, 1999): V_k is the mean of
    the volumes brought back by T^-1, U_k and l are the first eigenvectors and eigenvalues of their covariance, and
    s is the mean of the other eigenvalues. It is also where a linear encoder and decoder would end (J. Lucas et
    al., NeurIPS 2019): q(h|x) is Gaussian, with mean (l - s) / l U_k' (T^-1 x - V_k) and variance s (l - s) / l.

    Poses are searched for (`PoseSearch`), turn by turn with the references, over the epochs; the covariance is
    taken at the end. All of it is seen at no more than 16 voxels a side.

    Frequencies that were not measured, such as those of the missing wedge, would differ from V_k most of all. So
    volumes differ from M V_k, where M, turned by T^-1, tells what was measured: T^-1 M x - M V_k (J. Heumann,
    A. Hoenger & D. Mastronarde, J. Struct. Biol. 175, 2011).

    Parameters
    ----------
    shape
        (1, N, N, N).
    clusters, size
        K, and the number of components.
    """

    pose_size = POSE_SIZE
    volumes: Tensor
    components: Tensor
    eigenvalues: Tensor
    noise: Tensor

    def __init__(self, shape: Sequence[int], clusters: int, size: int) -> None:
        super().__init__()
        self.search = PoseSearch(shape, clusters)
        self.side = shape[-1]
        box = self.search.box
        self.register_buffer("volumes", torch.zeros(clusters, box, box, box))
        self.register_buffer("components", torch.zeros(clusters, size, box, box, box))
        self.register_buffer("eigenvalues", torch.ones(clusters, size))
        self.register_buffer("noise", torch.ones(clusters))

    def begin(self, batches: WithClusters, epoch: int) -> None:
        """Make the first references."""
        for batch, k in batches:
            self.search.collect(batch.images, k, _measured(batch))
        self.search.initialise(epoch)

    def losses(self, batch: Batch, p: Tensor, content_error: ContentError) -> Losses:
        """Return the mean squared difference of volumes to the reference of their cluster, in its pose.

        It has no gradient. In training the volumes enter the references of the next epoch.
        """
        k, losses = p.argmax(dim=1), Losses()
        with torch.no_grad():
            aligned = self.search.align(batch.images, k, _measured(batch))
            if self.training:
                self.search.accumulate(aligned, k, batch.epoch)
            losses.add("reference", aligned.residual(self.search.references[k]).square().mean(), 1.0)
        return losses

    def moments(self, batches: WithClusters) -> Moments:
        """Fit the components, and return the moments that they state: means of 0, covariances (l - s)^2 / l.

        The references stay as they are, so that the poses of these volumes are found again.
        """
        sums: dict[int, _Sums] = {}
        counts = torch.zeros(len(self.noise), dtype=torch.long)
        for batch, k in batches:
            aligned = self.search.align(batch.images, k, _measured(batch))
            differences = aligned.residual(self.search.references[k]).flatten(1)
            counts += torch.bincount(k, minlength=len(counts)).cpu()
            for cluster in k.unique().tolist():
                own = sums.setdefault(cluster, _Sums(differences.shape[1], self.search.ball.inside))
                own.add(differences[k == cluster])
        for cluster, own in sums.items():
            self._take(cluster, own)
        variances = (self.eigenvalues - self.noise[:, None]).square() / self.eigenvalues
        return Moments(counts, torch.zeros_like(self.eigenvalues), torch.diag_embed(variances))

    def _take(self, cluster: int, sums: _Sums) -> None:
        size = self.components.shape[1]
        covariance = sums.covariance()
        values, leading = _leading(covariance, size)
        noise = ((covariance.trace() - values.sum()) / (len(covariance) - size)).clamp(min=1e-12)
        largest = leading.gather(1, leading.abs().argmax(dim=1, keepdim=True))
        self.volumes[cluster] = self.search.references[cluster, 0] + sums.mean().reshape(
            self.volumes[cluster].shape
        )
        self.components[cluster] = 0
        leading = (leading * largest.sign()).to(self.components)
        self.components[cluster].flatten(1)[:, self.search.ball.inside] = leading
        self.eigenvalues[cluster] = values.clamp(min=noise * (1 + SMALLEST_SIGNAL))
        self.noise[cluster] = noise

    def posterior(self, batch: Batch, k: Tensor) -> tuple[Gaussian, Tensor]:
        """Return q(h|x) of volumes (B, 1, N, N, N) of clusters k (B,), and their poses as numbers, (B, 12)."""
        aligned = self.search.align(batch.images, k, _measured(batch))
        residual = aligned.residual(self.volumes[k][:, None])[:, 0]
        projected = torch.einsum("bzyx,bdzyx->bd", residual, self.components[k])
        values, noise = self.eigenvalues[k], self.noise[k][:, None]
        share = (values - noise) / values
        return Gaussian(share * projected, (share * noise).log()), aligned.poses.to_code(self.side)

    def decoded(self, p: Tensor, h: Tensor, pose: Tensor) -> Tensor:
        """Return T_R,t (V_k + U_k h), (B, 1, N, N, N)."""
        k = p.argmax(dim=1)
        canonical = self.volumes[k] + torch.einsum("bd,bdzyx->bzyx", h, self.components[k])
        return Poses.from_code(pose, self.side).apply(resized(canonical[:, None], self.side))


def _measured(batch: Batch) -> Tensor | None:
    """Tell which frequencies the CTFs of a batch leave, (B, N, N, N), 0 or 1; None where they leave all."""
    if batch.ctf is None:
        return None
    measured = batch.ctf.abs() > UNMEASURED * batch.ctf.abs().amax(dim=SPATIAL, keepdim=True)
    return None if measured.all() else measured.to(batch.ctf)


def _leading(covariance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues, (count,), in falling order, and their eigenvectors, (count, n).

    The others, thousands, would take several times as long to find.
    """
    size = len(covariance)
    values, vectors = eigh(covariance.cpu().numpy(), subset_by_index=(size - count, size - 1))
    falling = torch.from_numpy(np.vstack([values, vectors])[:, ::-1].copy()).to(covariance)
    return falling[0], falling[1:].T


class _Sums:
    """Sums over flattened volumes: of all voxels, and of the products of those inside."""

    def __init__(self, voxels: int, inside: Tensor) -> None:
        self.inside = inside
        self.count = 0
        self.first = torch.zeros(voxels, dtype=torch.float64, device=inside.device)
        self.second = torch.zeros(len(inside), len(inside), dtype=torch.float64, device=inside.device)

    def add(self, volumes: Tensor) -> None:
        self.count += len(volumes)
        self.first += volumes.sum(dim=0)
        within = volumes[:, self.inside]
        self.second += within.T @ within

    def mean(self) -> Tensor:
        return self.first / self.count

    def covariance(self) -> Tensor:
        mean = self.mean()[self.inside]
        return self.second / self.count - torch.outer(mean, mean)
