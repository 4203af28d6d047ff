"""What varies among volumes of one cluster, once they are brought to a common pose: principal components."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from dualcontrast.methods.poses import Poses, PoseSearch
from dualcontrast.networks import Gaussian
from dualcontrast.transforms.fourier import resized

SMALLEST_SIGNAL = 1e-6  # variance of a component that is no more than noise, as a share of the noise


class AlignedVariation(nn.Module):
    """The linear Gaussian model of the volumes of a cluster k in a common pose.

        x = T_R,t (V_k + U_k h) + noise,      h ~ N(0, diag(l - s)),   noise ~ N(0, s),

    whose maximum of likelihood is known (M. Tipping & C. Bishop, J. R. Stat. Soc. B 61, 1999): V_k is the mean of
    the volumes brought back by T^-1, U_k and l are the first eigenvectors and eigenvalues of their covariance, and
    s is the mean of the other eigenvalues. It is also where a linear encoder and decoder would end (J. Lucas et
    al., NeurIPS 2019): q(h|x) is Gaussian, with mean (l - s) / l U_k' (T^-1 x - V_k) and variance s (l - s) / l.

    Poses are searched for (`PoseSearch`), turn by turn with the references, over the epochs; the covariance is
    taken at the end. All of it is seen at no more than 16 voxels a side.

    Parameters
    ----------
    shape
        (1, N, N, N).
    clusters, size
        K, and the number of components.
    """

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

    def forward(self, images: Tensor, k: Tensor, epoch: int) -> Tensor:
        """Return the mean squared difference of volumes to the reference of their cluster, in its pose.

        In training the volumes enter the references of the next epoch.
        """
        with torch.no_grad():
            canonical = self.search(images, k).undone(images)
            if self.training:
                self.search.remember(canonical, k, epoch)
            difference = self.search.searched(canonical) - self.search.references[k]
            return difference.square().mean()

    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take the mean and the components of volumes (B, 1, N, N, N) and their clusters (B,), in the poses found.

        The references stay as they are, so that the poses of these volumes are found again.
        """
        moments: dict[int, _Moments] = {}
        with torch.no_grad():
            for images, k in batches:
                canonical = self.search.searched(self.search(images, k).undone(images)).flatten(1)
                for cluster in k.unique().tolist():
                    own = moments.setdefault(cluster, _Moments(canonical.shape[1], self.search.inside))
                    own.add(canonical[k == cluster])
            for cluster, own in moments.items():
                self._take(cluster, own)

    def _take(self, cluster: int, moments: _Moments) -> None:
        size = self.components.shape[1]
        values, vectors = torch.linalg.eigh(moments.covariance())
        values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
        noise = values[size:].mean().clamp(min=1e-12)
        leading = vectors[:, :size].T
        largest = leading.gather(1, leading.abs().argmax(dim=1, keepdim=True))
        self.volumes[cluster] = moments.mean().reshape_as(self.volumes[cluster])
        self.components[cluster] = 0
        self.components[cluster].flatten(1)[:, self.search.inside] = (leading * largest.sign()).to(self.components)
        self.eigenvalues[cluster] = values[:size].clamp(min=noise * (1 + SMALLEST_SIGNAL))
        self.noise[cluster] = noise

    def posterior(self, images: Tensor, k: Tensor) -> tuple[Gaussian, Poses]:
        """Return q(h|x) of volumes (B, 1, N, N, N) of clusters k (B,), and their poses."""
        poses = self.search(images, k)
        residual = self.search.searched(poses.undone(images))[:, 0] - self.volumes[k]
        projected = torch.einsum("bzyx,bdzyx->bd", residual, self.components[k])
        values, noise = self.eigenvalues[k], self.noise[k][:, None]
        share = (values - noise) / values
        return Gaussian(share * projected, (share * noise).log()), poses

    def covariances(self) -> Tensor:
        """Return the covariance of the means of q(h|x) in every cluster, (K, d, d): diagonal, (l - s)^2 / l."""
        return torch.diag_embed((self.eigenvalues - self.noise[:, None]).square() / self.eigenvalues)

    def decoded(self, k: Tensor, h: Tensor, poses: Poses) -> Tensor:
        """Return T_R,t (V_k + U_k h), (B, 1, N, N, N)."""
        canonical = self.volumes[k] + torch.einsum("bd,bdzyx->bzyx", h, self.components[k])
        return poses.applied(resized(canonical[:, None], self.side))


class _Moments:
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
