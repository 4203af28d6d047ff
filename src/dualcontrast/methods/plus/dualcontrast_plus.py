"""DualContrast plus: content by contrast and clustering of views, transformation as variation in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualcontrast.devices import seeded
from dualcontrast.errors import MethodError
from dualcontrast.files import JSONObject
from dualcontrast.methods.losses import info_nce, mutual_information
from dualcontrast.methods.method import Batch, Codes, Losses, Method, MethodSettings, Pair
from dualcontrast.methods.plus.aligned_variation import AlignedVariation
from dualcontrast.methods.plus.learned_variation import LearnedVariation
from dualcontrast.methods.plus.prototypes import Prototypes
from dualcontrast.methods.plus.settings import DualContrastPlusSettings
from dualcontrast.methods.plus.variation import evaluating, with_constant_weights
from dualcontrast.methods.plus.whitening import WithinClusters
from dualcontrast.networks import NetworkSettings, trunk_of
from dualcontrast.settings import SettingsDict
from dualcontrast.transforms import View

ASSIGNMENT_TEMPERATURE = 0.1  # of the cosines in the mutual information


class DualContrastPlus(Method):
    """Content as clusters of contrasted views; transformation as the variation within a cluster.

    Training has two stages. In the first, an encoder c = f(x) learns from two views v and v' of each image what
    views leave unchanged:

        L = 0.3 InfoNCE(f(v), f(v')) - MI(a(v), a(v')),   a = softmax(cos(f, W) / 0.1)                  (content)

    InfoNCE is SimCLR's (T. Chen et al., ICML 2020), and MI the mutual information of cluster assignments of IIC
    (X. Ji et al., ICCV 2019). At the end of the stage, f is frozen and c is clustered; the number of clusters is
    the one that is reproducible and best separated (`Prototypes`). The content code is p, the probability of each
    cluster.

    The second stage learns the variation within a cluster. For pictures, it trains an encoder q(h|x) and a decoder
    (`LearnedVariation`):

        z = h - p mu,   mu = (P'P / B + 1e-3 I)^-1 P'H / B                                             (centring)
        L = 80 [ |dec(p, z) - x|^2 + 0.02 KL(q(z|x) || N(0, I)) ] / pixels                       (reconstruction)
          + 0.3 CE(p_i, a(f(dec(p_i, z_j)))) + 1.0 |z(dec(p_i, z_j)) - z_j|^2 / d                       (hybrids)

    where P and H hold p and the means of h of a batch, so that z contains no linear function of p. The decoder
    takes 4 p, which gives p more weight beside z. In training p is that of one view of x. In the terms of hybrids
    the clusters' directions replace W, and f and the target z_j are constants.

    With `pose: search`, for very noisy volumes, q and dec are linear in a common pose, and this objective has a
    closed-form solution: the principal components of the aligned volumes of a cluster (`AlignedVariation`). The
    transformation code then has two parts: the conformation z, which does not depend on pose, and the pose, R row
    by row and the shift as a fraction of the box.

    When training ends, the moments of h are measured in every cluster. Codes are then read as h mapped to the same
    mean and covariance in all clusters (`WithinClusters`):

        z = A_k (h - m_k),   k = argmax p                                                              (whitening)

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    settings
        Weights and sizes.
    networks
        The networks. Both encoders have the same architecture. Aligned volumes need no decoder network.
    views
        T, applied one after the other.

    Raises
    ------
    RecipeError
        `pose: search` and the images are not cubic volumes.
    """

    Settings: ClassVar[type[MethodSettings]] = DualContrastPlusSettings
    presets: ClassVar[dict[str, SettingsDict]] = {
        "paper": {"network": {"encoder": {"norm": "batch", "hidden": [256]}}},
    }
    settings: DualContrastPlusSettings

    def __init__(
        self,
        shape: Sequence[int],
        settings: DualContrastPlusSettings,
        networks: NetworkSettings,
        views: Sequence[View],
    ) -> None:
        super().__init__()
        self.settings = settings
        self.views = tuple(views)
        self.stages = (settings.content_share, 1.0)
        clusters, size = settings.content_size, settings.transformation_size
        trunk, features = trunk_of(shape, networks.encoder)
        self.content = nn.Sequential(trunk, nn.Linear(features, settings.embedding_size))
        self.assignment = nn.Parameter(torch.randn(clusters, settings.embedding_size))
        self.prototypes = Prototypes(settings.embedding_size, clusters)
        self.within = WithinClusters(clusters, size, settings.whitened)
        self.variation = (
            AlignedVariation(shape, clusters, size)
            if settings.pose == "search"
            else LearnedVariation(shape, settings, networks)
        )
        self._training_clusters: Tensor | None = None

    @property
    def uses_ctf(self) -> bool:  # type: ignore[override]
        """See Method."""
        return self.settings.pose == "search"

    @property
    def transformation_parts(self) -> dict[str, int]:
        """See Method."""
        size = self.settings.transformation_size
        return {"conformation": size, "pose": self.variation.pose_size} if self.variation.pose_size else {}

    # ---- codes

    def encode_and_sample(self, batch: Batch) -> tuple[Codes, Codes]:
        """See Method."""
        if not self.prototypes.found:
            raise MethodError(
                "training ended before any clusters were found; continue it with "
                "`dualcontrast.train(images, out=..., resume=True)`"
            )
        p = self.prototypes(self._embedding(batch.images))
        k = p.argmax(dim=1)
        posterior, pose = self.variation.posterior(batch, k)
        mean, draw = (self.within(k, h) for h in (posterior.mean, posterior.sample()))
        return Codes(p, torch.cat([mean, pose], dim=1)), Codes(p, torch.cat([draw, pose], dim=1))

    def decode(self, codes: Codes) -> Tensor:
        """Return dec(p, z), in its pose if that is part of the code."""
        p, k, size = codes.content, codes.content.argmax(dim=1), self.settings.transformation_size
        z, pose = codes.transformation[:, :size], codes.transformation[:, size:]
        h = self.within.inverse(k, z)
        return self.variation.decoded(p, h if self.settings.centred else h + self.within.means[k], pose)

    def _embedding(self, images: Tensor) -> Tensor:
        """Sum f, normalised to unit length, over the same few views of every image, (B, e)."""
        total: Tensor | float = 0.0
        with seeded(0, images.device):
            for _ in range(self.settings.encoding_views):
                viewed = images
                for view in self.views:
                    viewed = view.transform(viewed, draws=1)
                total = total + F.normalize(self.content(viewed), dim=1)
        assert isinstance(total, Tensor)
        return total

    # ---- training

    def begin_stage(self, batches: Callable[[], Iterator[Batch]], epoch: int) -> JSONObject:
        """Cluster the embeddings of the training images, and initialise the model of each cluster.

        Returns
        -------
        dict
            The number of `clusters`, the `prediction_strength` of each number that was compared, and the
            `silhouette` of each that is reproducible.
        """
        with evaluating(self), torch.no_grad():
            codes = self._embeddings(batches)
            counts = self.prototypes.fit(codes, self.settings.clusters)
            self._training_clusters = self.prototypes(codes).argmax(dim=1)
            self.variation.begin(self._with_clusters(batches), epoch)
        return {
            "clusters": int(self.prototypes.used.sum()),
            "prediction_strength": {str(count.clusters): count.prediction_strength for count in counts},
            "silhouette": {
                str(count.clusters): count.silhouette for count in counts if count.silhouette is not None
            },
        }

    def finish(self, batches: Callable[[], Iterator[Batch]]) -> None:
        """Measure the moments of h in every cluster."""
        with evaluating(self), torch.no_grad():
            self.within.take(self.variation.moments(self._with_clusters(batches)))

    def _clusters_of(self, batches: Callable[[], Iterator[Batch]]) -> Tensor:
        """Return the clusters of the training images, (N,), which are fixed in the second stage."""
        if self._training_clusters is None:  # training resumed from a checkpoint
            self._training_clusters = self.prototypes(self._embeddings(batches)).argmax(dim=1)
        return self._training_clusters

    def _embeddings(self, batches: Callable[[], Iterator[Batch]]) -> Tensor:
        """Return the embeddings of the training images, (N, e)."""
        return torch.cat([self._embedding(batch.images) for batch in batches()])

    def _with_clusters(self, batches: Callable[[], Iterator[Batch]]) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the batches of training images, with the clusters of their images."""
        clusters, start = self._clusters_of(batches), 0
        for batch in batches():
            yield batch, clusters[start : start + len(batch)]
            start += len(batch)

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Compute the objective of the current stage.

        For aligned volumes it has no gradient: their model is updated from sums over an epoch.
        """
        x = batch.images
        if not self.prototypes.found:
            return self._content_objective(x)
        with evaluating(self.content), torch.no_grad():
            p = self.prototypes(self.content(self.view(x)))
        return self.variation.losses(batch, p, self._content_error)

    def _content_objective(self, x: Tensor) -> Losses:
        settings, losses = self.settings, Losses()
        first, second = self.content(torch.cat([self.view(x), self.view(x)])).chunk(2)
        if settings.contrast:
            losses.add("contrast", info_nce(first, second, settings.temperature), settings.contrast)
        if settings.clustering:
            information = mutual_information(self._assigned(first), self._assigned(second))
            losses.add("clustering", -information, settings.clustering)
        return losses

    def _assigned(self, c: Tensor) -> Tensor:
        """Return a, the soft assignments in the mutual information, (B, K)."""
        return self._cosines(c, F.normalize(self.assignment, dim=1)).softmax(dim=1)

    def _cosines(self, c: Tensor, directions: Tensor) -> Tensor:
        """Return cos(c, W) / 0.1, (B, K)."""
        return F.normalize(c, dim=1) @ directions.T / ASSIGNMENT_TEMPERATURE

    def _content_error(self, images: Tensor, p: Tensor) -> Tensor:
        """Return CE(p, a(f(images))), with gradients to the images alone."""
        used = self.prototypes.used
        with evaluating(self.content):
            c = with_constant_weights(self.content, images)
        return F.cross_entropy(self._cosines(c, self.prototypes.directions[used]), p[:, used])

    def pairs(self, batch: Batch) -> list[Pair]:
        """Return pairs of views and, after the first stage, hybrids with the images of their content."""
        x = batch.images
        pairs = [Pair("positive for content: two views of an image", self.view(x), self.view(x))]
        if self.prototypes.found:
            codes = self.encode(batch)
            hybrids = self.decode(Codes(codes.content, codes.transformation.roll(1, dims=0)))
            pairs.append(
                Pair("hybrids: the content of the image, in the transformation of the one to its left", x, hybrids)
            )
        return pairs
