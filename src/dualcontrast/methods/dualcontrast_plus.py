"""DualContrast plus: content by contrast and clustering of views, transformation as what varies in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from dualcontrast.devices import seeded
from dualcontrast.errors import MethodError
from dualcontrast.methods.losses import info_nce, mutual_information, squared_error, standardised
from dualcontrast.methods.method import Batch, Codes, Losses, Method, MethodSettings, Pair
from dualcontrast.methods.poses import Poses, PoseSearch
from dualcontrast.methods.prototypes import Prototypes
from dualcontrast.methods.within import WithinClusters
from dualcontrast.networks import Decoder, DecoderSettings, EncoderSettings, Gaussian, trunk_of
from dualcontrast.transforms import View

ASSIGNMENT_TEMPERATURE = 0.1  # of the cosines that the mutual information is taken of
SHARPNESS = 4.0  # factor on p before the decoder, whose other input z has unit variance
MEMORY = 0.9  # share of the past in running cross-correlations
RANDOM_FEATURES = 256
ADVERSARY_WIDTH = 128
POSE_SIZE = 12


class DualContrastPlusSettings(MethodSettings):
    """Settings of the objective. A weight of zero takes its part away: the ablations."""

    name: str = Field("dualcontrast_plus", description="the method's name in the registry")
    content_size: int = Field(
        20, ge=2, description="K, the most clusters there can be; the content code is the probability of each"
    )
    clusters: int | Literal["auto"] = Field(
        "auto", description="how many there are, at most content_size; auto: the number that is found again best"
    )
    embedding_size: int = Field(16, ge=2, description="length of the embedding c that clusters are found in")
    content_share: float = Field(0.5, gt=0, lt=1, description="share of training that content is learnt in")
    contrast: float = Field(0.3, ge=0, description="weight of InfoNCE on the embeddings of two views")
    temperature: float = Field(0.2, gt=0, description="of InfoNCE")
    clustering: float = Field(1.0, ge=0, description="weight of the mutual information of two views' assignments")
    encoding_views: int = Field(8, ge=1, description="views that c is the mean of where codes are read")
    transformation_norm: Literal["instance", "layer"] = Field(
        "instance", description="normalisation in the encoder of z, in place of the encoder's own"
    )
    pose: Literal["none", "search"] = Field(
        "none", description="search: volumes are brought to a common pose, which joins the transformation code"
    )
    centred: bool = Field(True, description="take the clusters' centres from z")
    whitened: bool = Field(True, description="give z the same covariance in every cluster")
    reconstruction: float = Field(80.0, ge=0, description="weight of the mean squared error over pixels")
    gamma_z: float = Field(0.04, ge=0, description="weight of KL(q(z|x) || N(0, I)) within the reconstruction")
    second_moments: float = Field(0.6, ge=0, description="weight of X(p, z z')")
    random_features: float = Field(2.0, ge=0, description="weight of X(p, cos(R z + b))")
    adversary: float = Field(0.2, ge=0, description="weight of what an adversary reads of p in z")
    hybrid_content: float = Field(0.3, ge=0, description="weight of CE(p_i, a(f(dec(p_i, z_j))))")
    hybrid_transformation: float = Field(1.0, ge=0, description="weight of |z(dec(p_i, z_j)) - z_j|^2 / d")

    @model_validator(mode="after")
    def _contrast_or_clustering(self) -> DualContrastPlusSettings:
        if not (self.contrast or self.clustering):
            raise ValueError("contrast and clustering are both 0, so nothing would learn the content")
        return self


class DualContrastPlus(Method):
    """Content as clusters of contrasted views; transformation as what varies within a cluster.

    Training has two stages. In the first, an encoder c = f(x) learns from two views v and v' of each image what
    views leave as it is:

        L = 0.3 InfoNCE(f(v), f(v')) - MI(a(v), a(v')),   a = softmax(cos(f, W) / 0.1)                  (content)

    At its end, clusters are found in c, as many as are found again in other images (`Prototypes`), and f stays as
    it is: the content code is p, the probability of each cluster. In the second stage, q(h|x) and a decoder learn
    what varies within a cluster,

        z = h - p mu,   mu = (P'P / B + 1e-3 I)^-1 P'H / B                                             (centring)
        L = 80 [ |dec(p, z) - x|^2 + 0.04 KL(q(z|x) || N(0, I)) ] / pixels                       (reconstruction)
          + 0.6 X(p, z_a z_b) + 2.0 X(p, cos(R z + b))                                             (independence)
          + 0.2 relu(H(mean p) - CE(adversary(z), p))                                                 (adversary)
          + 0.3 CE(p_i, a(f(dec(p_i, z_j)))) + 1.0 |z(dec(p_i, z_j)) - z_j|^2 / d                       (hybrids)

    where P and H hold a batch's p and means of h: no linear map of p is left in z. Where codes are read, z is
    whitened in each cluster, S_k^-1/2 (h - m_k), and so its moments are the same in all of them; the decoder
    undoes that (`WithinClusters`).

    X(u, v) = 2 <M_past, M> / K, with M the cross-correlation of a batch and M_past its running mean, through which
    no gradient flows: its expectation is the squared correlation, where that of a batch's own square would have a
    floor. R and b are random Fourier features. The adversary, a small network, learns from constant z to tell p,
    and is a constant where z is to tell it nothing.

    With `pose: search`, for volumes, x is T_R,t of a canonical volume of its cluster, R and t are searched for
    (`PoseSearch`), and q sees T_R,t^-1 x: dec(p, z) becomes T_R,t dec(p, z). The transformation code then has two
    parts, z, the conformation, which is free of pose, and the pose: R row by row, and t as a share of the box.

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    settings
        Weights and sizes.
    encoder, decoder
        The networks; both encoders have the same trunk, each its own.
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
    frequencies: Tensor
    feature_phases: Tensor
    past_second_moments: Tensor
    past_random_features: Tensor

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
        self.search = PoseSearch(shape, clusters) if settings.pose == "search" else None
        # without batch normalisation: the moments of h must be the same in training and after it
        trunk, features = trunk_of(shape, encoder.model_copy(update={"norm": settings.transformation_norm}))
        self.transformation = nn.Sequential(trunk, nn.Linear(features, 2 * size))
        self.within = WithinClusters(clusters, size, settings.whitened)
        self.decoder = Decoder(shape, clusters, size, decoder)
        self.register_buffer("frequencies", torch.randn(size, RANDOM_FEATURES) * _scales(RANDOM_FEATURES))
        self.register_buffer("feature_phases", 2 * torch.pi * torch.rand(RANDOM_FEATURES))
        squares = size * (size + 1) // 2
        self.register_buffer("past_second_moments", torch.zeros(clusters, squares))
        self.register_buffer("past_random_features", torch.zeros(clusters, RANDOM_FEATURES))
        if settings.adversary:
            self.adversary = nn.Sequential(
                *(nn.Linear(size, ADVERSARY_WIDTH), nn.ReLU()),
                *(nn.Linear(ADVERSARY_WIDTH, ADVERSARY_WIDTH), nn.ReLU()),
                nn.Linear(ADVERSARY_WIDTH, clusters),
            )

    @property
    def transformation_parts(self) -> dict[str, int]:
        """See Method."""
        size = self.settings.transformation_size
        return {} if self.search is None else {"conformation": size, "pose": POSE_SIZE}

    # ---- codes

    def encode(self, batch: Batch) -> Codes:
        """Return p and the mean of z, with the pose where it is searched for."""
        return self.encode_and_sample(batch)[0]

    def sample(self, batch: Batch) -> Codes:
        """Return p, which is not random, and a draw of z."""
        return self.encode_and_sample(batch)[1]

    def encode_and_sample(self, batch: Batch) -> tuple[Codes, Codes]:
        """See Method."""
        if not self.prototypes.found:
            raise MethodError("training ended before any clusters were found; go on with --resume")
        p = self.prototypes(self._embedding(batch.images))
        canonical, poses = self._canonical(batch.images, p)
        posterior = self._posterior(canonical, p)
        pose = p[:, :0] if poses is None else poses.as_code()
        mean, draw = (
            Codes(p, torch.cat([self.within.whiten(p, z), pose], dim=1))
            for z in (posterior.mean, posterior.sample())
        )
        return mean, draw

    def decode(self, codes: Codes) -> Tensor:
        """Return dec(p, z), in its pose where that is part of the code."""
        z = codes.transformation[:, : self.settings.transformation_size]
        canonical = self._decoded(codes.content, self.within.colour(codes.content, z))
        if self.search is None:
            return canonical
        return Poses.of_code(codes.transformation[:, -POSE_SIZE:]).applied(canonical)

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

    def _canonical(self, images: Tensor, p: Tensor) -> tuple[Tensor, Poses | None]:
        """Return the images in the pose of their cluster's reference, and the poses they had."""
        if self.search is None:
            return images, None
        with torch.no_grad():
            poses = self.search(images, p.argmax(dim=1))
            return poses.undone(images), poses

    def _posterior(self, canonical: Tensor, p: Tensor) -> Gaussian:
        """Return q(z|x): q(h|x) less what p tells of its mean."""
        posterior = Gaussian(*self.transformation(canonical).chunk(2, dim=1))
        if not self.settings.centred:
            return posterior
        return Gaussian(self.within.residual(p, posterior.mean), posterior.log_variance)

    def _decoded(self, p: Tensor, z: Tensor) -> Tensor:
        images: Tensor = self.decoder(SHARPNESS * p, z)
        return images

    # ---- training

    def begin_stage(self, batches: Callable[[], Iterator[Batch]], epoch: int) -> dict[str, Any]:
        """Find clusters in the contents of the training images, and the first references of each.

        Returns
        -------
        dict
            The number of `clusters`, and the `stability` of each number that was tried.
        """
        with _evaluating(self), torch.no_grad():
            codes = torch.cat([self._embedding(batch.images) for batch in batches()])
            tried = self.prototypes.fit(codes, self.settings.clusters)
            if self.search is not None:
                k = self.prototypes(codes).argmax(dim=1)
                start = 0
                for batch in batches():
                    self.search.begin(batch.images, k[start : start + len(batch)])
                    start += len(batch)
                self.search.begun(epoch)
        stability = {str(one.clusters): one.ari for one in tried}
        return {"clusters": int(self.prototypes.used.sum()), "stability": stability}

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Return the objective of the stage that training is in."""
        if self.prototypes.found:
            return self._transformation_objective(batch)
        return self._content_objective(batch.images)

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

    def _transformation_objective(self, batch: Batch) -> Losses:
        settings, x, losses = self.settings, batch.images, Losses()
        with _evaluating(self.content), torch.no_grad():
            p = self.prototypes(self.content(self.view(x)))
        canonical, poses = self._canonical(x, p)
        if self.search is not None and self.training:
            self.search.remember(canonical, p.argmax(dim=1), batch.epoch)
        posterior = self._posterior(canonical, p)
        z = posterior.sample()
        decoded = self._decoded(p, z)
        error = squared_error(decoded if poses is None else poses.applied(decoded), x, "pixel")
        losses.add("reconstruction", error, settings.reconstruction)
        losses.add("kl", posterior.kl().mean() / x[0].numel(), settings.reconstruction * settings.gamma_z)
        self._add_independence(losses, p, z)
        self._add_hybrids(losses, p, z)
        return losses

    def _add_independence(self, losses: Losses, p: Tensor, z: Tensor) -> None:
        """Add what z tells of p beyond its linear part."""
        settings = self.settings
        if settings.second_moments:
            rows, columns = torch.triu_indices(z.shape[1], z.shape[1], device=z.device)
            penalty = self._cross_correlation(p, z[:, rows] * z[:, columns], self.past_second_moments)
            losses.add("second_moments", penalty, settings.second_moments)
        if settings.random_features:
            features = torch.cos(z @ self.frequencies + self.feature_phases)
            penalty = self._cross_correlation(p, features, self.past_random_features)
            losses.add("random_features", penalty, settings.random_features)
        if settings.adversary:
            losses.add("adversary_error", F.cross_entropy(self.adversary(z.detach()), p), 1.0)
            told = F.cross_entropy(_with_constant_weights(self.adversary, z), p)
            mean = p.mean(dim=0)
            entropy = -(mean * (mean + 1e-8).log()).sum()
            losses.add("adversary", F.relu(entropy - told), settings.adversary)

    def _cross_correlation(self, p: Tensor, features: Tensor, past: Tensor) -> Tensor:
        """Return X(p, features)."""
        with torch.autocast(p.device.type, enabled=False):
            now = standardised(p.to(past.dtype)).T @ standardised(features.to(past.dtype)) / len(p)
        penalty = 2 * (past.clone() * now).sum() / len(now)
        if self.training:
            past.mul_(MEMORY).add_(now.detach(), alpha=1 - MEMORY)
        return penalty

    def _add_hybrids(self, losses: Losses, p: Tensor, z: Tensor) -> None:
        """Add what is seen in images with the content of one image and the transformation of another."""
        settings = self.settings
        if not (settings.hybrid_content or settings.hybrid_transformation):
            return
        z_other = z[torch.randperm(len(z), device=z.device)]
        hybrids = self._decoded(p, z_other)
        with _evaluating(self):
            if settings.hybrid_content:
                c = _with_constant_weights(self.content, hybrids)
                used = self.prototypes.used
                error = F.cross_entropy(self._cosines(c, self.prototypes.directions[used]), p[:, used])
                losses.add("hybrid_content", error, settings.hybrid_content)
            if settings.hybrid_transformation:
                error = (self._posterior(hybrids, p).mean - z_other.detach()).square().mean()
                losses.add("hybrid_transformation", error, settings.hybrid_transformation)

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


def _scales(count: int) -> Tensor:
    """Return the scale of each random frequency: one half 0.4, the other 0.8."""
    return torch.where(torch.arange(count) < count // 2, 0.4, 0.8)


def _with_constant_weights(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return a module's output, of which gradients reach the inputs alone."""
    constant = {name: value.detach() for name, value in module.state_dict(keep_vars=True).items()}
    output: Tensor = torch.func.functional_call(module, constant, (inputs,))
    return output


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Go by running statistics, and leave them as they are."""
    was = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was)
