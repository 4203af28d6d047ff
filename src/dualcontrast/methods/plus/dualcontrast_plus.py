"""DualContrast plus: content by contrast and clustering of views, transformation as what varies in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualcontrast.devices import seeded
from dualcontrast.errors import MethodError
from dualcontrast.methods.losses import info_nce, mutual_information
from dualcontrast.methods.method import Batch, Codes, Losses, Method, MethodSettings, Pair
from dualcontrast.methods.plus.aligned_variation import AlignedVariation
from dualcontrast.methods.plus.learned_variation import LearnedVariation
from dualcontrast.methods.plus.prototypes import Prototypes
from dualcontrast.methods.plus.settings import DualContrastPlusSettings
from dualcontrast.methods.plus.variation import evaluating, with_constant_weights
from dualcontrast.methods.plus.whitening import WithinClusters
from dualcontrast.networks import DecoderSettings, EncoderSettings, trunk_of
from dualcontrast.transforms import View

ASSIGNMENT_TEMPERATURE = 0.1  # of the cosines that the mutual information is taken of


class DualContrastPlus(Method):
    """Content as clusters of contrasted views; transformation as what varies within a cluster.

    Training has two stages. In the first, an encoder c = f(x) learns from two views v and v' of each image what
    views leave as it is:

        L = 0.3 InfoNCE(f(v), f(v')) - MI(a(v), a(v')),   a = softmax(cos(f, W) / 0.1)                  (content)

    InfoNCE is SimCLR's (T. Chen et al., ICML 2020), and MI the mutual information of cluster assignments of IIC
    (X. Ji et al., ICCV 2019). At the end of the stage, clusters are found in c, as many as are each found
    again in other images and lie farthest apart (`Prototypes`), and f stays as it is: the content code is p, the
    probability of each cluster.

    In the second stage, what varies within a cluster is learnt. For pictures, by an encoder q(h|x) and a decoder
    (`LearnedVariation`):

        z = h - p mu,   mu = (P'P / B + 1e-3 I)^-1 P'H / B                                             (centring)
        L = 80 [ |dec(p, z) - x|^2 + 0.02 KL(q(z|x) || N(0, I)) ] / pixels                       (reconstruction)
          + 0.3 CE(p_i, a(f(dec(p_i, z_j)))) + 1.0 |z(dec(p_i, z_j)) - z_j|^2 / d                       (hybrids)

    where P and H hold a batch's p and means of h: no linear map of p is left in z. The decoder is given 4 p,
    which weighs more beside z. In training p is that of one view of x. In hybrids the clusters' directions
    stand in place of W, and f, and the z_j that is aimed at, are constants.

    With `pose: search`, for volumes under much noise, q and dec are linear in a common pose, where this objective
    has a closed solution: principal components of the aligned volumes of a cluster (`AlignedVariation`). The
    transformation code then has two parts: z, the conformation, which is free of pose, and the pose, R row by row
    and the shift as a share of the box.

    When training ends, moments of h are measured in every cluster, and z, where codes are read, is h moved so that
    its mean and covariance are the same in all of them (`WithinClusters`):

        z = A_k (h - m_k),   k = argmax p                                                              (whitening)

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    settings
        Weights and sizes.
    encoder, decoder
        The networks; both encoders have the same trunk, each its own. Aligned volumes need no decoder network.
    views
        T, applied one after the other.

    Raises
    ------
    RecipeError
        Poses are to be searched for in what is no cubic volume.
    """

    Settings: ClassVar[type[MethodSettings]] = DualContrastPlusSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"network": {"encoder": {"norm": "batch", "hidden": [256]}}},
    }
    settings: DualContrastPlusSettings

    def __init__(
        self,
        shape: Sequence[int],
        settings: DualContrastPlusSettings,
        encoder: EncoderSettings,
        decoder: DecoderSettings,
        views: Sequence[View],
    ) -> None:
        super().__init__()
        self.settings = settings
        self.views = tuple(views)
        self.stages = (settings.content_share, 1.0)
        clusters, size = settings.content_size, settings.transformation_size
        trunk, features = trunk_of(shape, encoder)
        self.content = nn.Sequential(trunk, nn.Linear(features, settings.embedding_size))
        self.assignment = nn.Parameter(torch.randn(clusters, settings.embedding_size))
        self.prototypes = Prototypes(settings.embedding_size, clusters)
        self.within = WithinClusters(clusters, size, settings.whitened)
        self.variation = (
            AlignedVariation(shape, clusters, size)
            if settings.pose == "search"
            else LearnedVariation(shape, settings, encoder, decoder)
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
        """Return dec(p, z), in its pose where that is part of the code."""
        p, k, size = codes.content, codes.content.argmax(dim=1), self.settings.transformation_size
        z, pose = codes.transformation[:, :size], codes.transformation[:, size:]
        h = self.within.inverse(k, z)
        return self.variation.decoded(p, h if self.settings.centred else h + self.within.means[k], pose)

    def _embedding(self, images: Tensor) -> Tensor:
        """Return the sum of f, in unit length, over the same few views of every image, (B, e)."""
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

    def begin_stage(self, batches: Callable[[], Iterator[Batch]], epoch: int) -> dict[str, Any]:
        """Find clusters in the contents of the training images, and the first references of each.

        Returns
        -------
        dict
            The number of `clusters`, the `prediction_strength` of each number that was tried, and the `silhouette`
            of each that is found again.
        """
        with evaluating(self), torch.no_grad():
            codes = self._embeddings(batches)
            tried = self.prototypes.fit(codes, self.settings.clusters)
            self._training_clusters = self.prototypes(codes).argmax(dim=1)
            self.variation.begin(self._with_clusters(batches), epoch)
        return {
            "clusters": int(self.prototypes.used.sum()),
            "prediction_strength": {str(one.clusters): one.prediction_strength for one in tried},
            "silhouette": {str(one.clusters): one.silhouette for one in tried if one.silhouette is not None},
        }

    def finish(self, batches: Callable[[], Iterator[Batch]]) -> None:
        """Measure the moments of h in every cluster."""
        with evaluating(self), torch.no_grad():
            self.within.take(self.variation.moments(self._with_clusters(batches)))

    def _clusters_of(self, batches: Callable[[], Iterator[Batch]]) -> Tensor:
        """Return the clusters of the training images, (N,), which the second stage leaves as they are."""
        if self._training_clusters is None:  # training went on from a checkpoint
            self._training_clusters = self.prototypes(self._embeddings(batches)).argmax(dim=1)
        return self._training_clusters

    def _embeddings(self, batches: Callable[[], Iterator[Batch]]) -> Tensor:
        """Return the embeddings of the training images, (N, e)."""
        return torch.cat([self._embedding(batch.images) for batch in batches()])

    def _with_clusters(self, batches: Callable[[], Iterator[Batch]]) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the batches of training images, and the clusters of each."""
        clusters, start = self._clusters_of(batches), 0
        for batch in batches():
            yield batch, clusters[start : start + len(batch)]
            start += len(batch)

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Return the objective of the stage that training is in.

        That of aligned volumes has no gradient: their model learns from sums over an epoch.
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
        """Return a, the assignments that the mutual information is taken of, (B, K)."""
        return self._cosines(c, F.normalize(self.assignment, dim=1)).softmax(dim=1)

    def _cosines(self, c: Tensor, directions: Tensor) -> Tensor:
        """Return cos(c, W) / 0.1, (B, K)."""
        return F.normalize(c, dim=1) @ directions.T / ASSIGNMENT_TEMPERATURE

    def _content_error(self, images: Tensor, p: Tensor) -> Tensor:
        """Return CE(p, a(f(images))), through which gradients reach the images alone."""
        used = self.prototypes.used
        with evaluating(self.content):
            c = with_constant_weights(self.content, images)
        return F.cross_entropy(self._cosines(c, self.prototypes.directions[used]), p[:, used])

    def pairs(self, batch: Batch) -> list[Pair]:
        """Return two views of an image and, once there are clusters, hybrids beside what gave them content."""
        x = batch.images
        pairs = [Pair("positive for content: two views of an image", self.view(x), self.view(x))]
        if self.prototypes.found:
            codes = self.encode(batch)
            hybrids = self.decode(Codes(codes.content, codes.transformation.roll(1, dims=0)))
            pairs.append(
                Pair("hybrids: the content of the image, in the transformation of the one to its left", x, hybrids)
            )
        return pairs
