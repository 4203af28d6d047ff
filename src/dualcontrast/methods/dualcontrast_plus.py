"""DualContrast plus: content by contrast and clustering of views, transformation centred on the clusters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from dualcontrast.methods.losses import info_nce, mutual_information, squared_error, standardised
from dualcontrast.methods.method import Batch, Codes, Losses, Method, MethodSettings, Pair
from dualcontrast.networks import Decoder, DecoderSettings, EncoderSettings, Gaussian, trunk_of
from dualcontrast.transforms import View

SHRINKAGE = 1e-3  # of the clusters' Gram matrix, so that empty clusters have a centre as well
SHARPNESS = 4.0  # factor on p before the decoder, whose other input z has unit variance
MEMORY = 0.9  # share of the past in running cross-correlations
LONG_MEMORY = 0.99  # the same for the centres that encoding goes by
RANDOM_FEATURES = 256
ADVERSARY_WIDTH = 128


class DualContrastPlusSettings(MethodSettings):
    """Settings of the objective. A weight of zero takes its part away: the ablations."""

    name: str = Field("dualcontrast_plus", description="the method's name in the registry")
    content_size: int = Field(
        20, ge=2, description="number of clusters, K; the content code is the probability of each"
    )
    embedding_size: int = Field(10, ge=2, description="length of the embedding c that clusters are made in")
    contrast: float = Field(0.3, ge=0, description="weight of InfoNCE on the embeddings of two views")
    temperature: float = Field(0.2, gt=0, description="of InfoNCE")
    clustering: float = Field(1.0, ge=0, description="weight of the mutual information of two views' clusters")
    cluster_temperature: float = Field(0.1, gt=0, description="of p = softmax(cos(c, W) / temperature)")
    centred: bool = Field(True, description="take the clusters' centres from z")
    reconstruction: float = Field(40.0, ge=0, description="weight of the mean squared error over pixels")
    gamma_z: float = Field(0.15, ge=0, description="weight of KL(q(z|x) || N(0, I)) within the reconstruction")
    second_moments: float = Field(0.3, ge=0, description="weight of X(p, z z')")
    random_features: float = Field(1.0, ge=0, description="weight of X(p, cos(R z + b))")
    adversary: float = Field(0.1, ge=0, description="weight of what an adversary reads of p in z")
    hybrid_content: float = Field(0.3, ge=0, description="weight of CE(p_i, p(f(dec(p_i, z_j))))")
    hybrid_transformation: float = Field(0.2, ge=0, description="weight of |z(dec(p_i, z_j)) - z_j|^2 / d")


class ClusterCentring(nn.Module):
    """Take from a code what is linear in the clusters' probabilities.

        residual = h - p mu,   mu = (P'P / B + 1e-3 I)^-1 P'H / B

    with P and H a batch's p and h in training, and the running means of both products after it.

    Parameters
    ----------
    clusters, size
        K and d.
    """

    gram: Tensor
    moment: Tensor
    batches: Tensor

    def __init__(self, clusters: int, size: int) -> None:
        super().__init__()
        self.register_buffer("gram", torch.zeros(clusters, clusters))
        self.register_buffer("moment", torch.zeros(clusters, size))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, p: Tensor, h: Tensor) -> Tensor:
        """Return the residual (B, d) of h (B, d), given p (B, K)."""
        with torch.autocast(p.device.type, enabled=False):  # a linear system wants all its digits
            p, h = p.to(self.gram.dtype), h.to(self.gram.dtype)
            gram, moment = self.gram, self.moment
            if self.training:
                gram, moment = p.T @ p / len(p), p.T @ h / len(p)
                self._remember(gram.detach(), moment.detach())
            shrunk = gram + SHRINKAGE * torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
            residual: Tensor = h - p @ torch.linalg.solve(shrunk, moment)
            return residual

    def _remember(self, gram: Tensor, moment: Tensor) -> None:
        self.batches += 1
        share = (1 / self.batches).clamp(min=1 - LONG_MEMORY)  # all of the past at first, then the lately seen
        self.gram.lerp_(gram, share)
        self.moment.lerp_(moment, share)


class DualContrastPlus(Method):
    """Content as clusters of contrasted views; transformation as what is left within a cluster.

    Two encoders: c = f(x) for content, with p = softmax(cos(c, W) / 0.1) over K prototypes W, and q(h|x) for
    transformation, with

        z = h - p mu,   mu = (P'P / B + 1e-3 I)^-1 P'H / B                                             (centring)

    where P and H hold a batch's p and means of h: no linear map of p is left in z. With v and v' two views of x,
    the objective is

        L = 0.3 InfoNCE(f(v), f(v')) - MI(p(v), p(v'))                                                  (content)
          + 40 [ |dec(p, z) - x|^2 + 0.15 KL(q(z|x) || N(0, I)) ] / pixels                       (reconstruction)
          + 0.3 X(p, z_a z_b) + 1.0 X(p, cos(R z + b))                                             (independence)
          + 0.1 relu(H(mean p) - CE(adversary(z), p))                                                 (adversary)
          + 0.3 CE(p_i, p(f(dec(p_i, z_j)))) + 0.2 |z(dec(p_i, z_j)) - z_j|^2 / d                       (hybrids)

    X(u, v) = 2 <M_past, M> / K, with M the cross-correlation of a batch and M_past its running mean, through which
    no gradient flows: its expectation is the squared correlation, where that of a batch's own square would have a
    floor. R and b are random Fourier features. p is a constant in all but the content's own terms, and f is one
    in the hybrids'. The adversary, a small network, learns from constant z to tell p, and is a constant where z
    is to tell it nothing.

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
    """

    Settings: ClassVar[type[MethodSettings]] = DualContrastPlusSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"network": {"encoder": {"norm": "batch"}}},
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
        clusters, size = settings.content_size, settings.transformation_size
        trunk, features = trunk_of(shape, encoder)
        self.content = nn.Sequential(trunk, nn.Linear(features, settings.embedding_size))
        self.prototypes = nn.Parameter(torch.randn(clusters, settings.embedding_size))
        trunk, features = trunk_of(shape, encoder)
        self.transformation = nn.Sequential(trunk, nn.Linear(features, 2 * size))
        self.centring = ClusterCentring(clusters, size) if settings.centred else None
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

    def encode(self, batch: Batch) -> Codes:
        """Return p and the mean of z."""
        p = self.probabilities(self.content(batch.images))
        return Codes(p, self._posterior(batch.images, p).mean)

    def sample(self, batch: Batch) -> Codes:
        """Return p, which is not random, and a draw of z."""
        p = self.probabilities(self.content(batch.images))
        return Codes(p, self._posterior(batch.images, p).sample())

    def decode(self, codes: Codes) -> Tensor:
        """Return dec(p, z)."""
        images: Tensor = self.decoder(SHARPNESS * codes.content, codes.transformation)
        return images

    def probabilities(self, c: Tensor) -> Tensor:
        """Return the probability of each cluster, p, (B, K)."""
        return self._logits(c, self.prototypes).softmax(dim=1)

    def _logits(self, c: Tensor, prototypes: Tensor) -> Tensor:
        """Return cos(c, W) / temperature, (B, K)."""
        cosines = F.normalize(c, dim=1) @ F.normalize(prototypes, dim=1).T
        return cosines / self.settings.cluster_temperature

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Return the objective."""
        settings, x = self.settings, batch.images
        losses = Losses()
        first, second, c = self.content(torch.cat([self.view(x), self.view(x), x])).chunk(3)
        if settings.contrast:
            losses.add("contrast", info_nce(first, second, settings.temperature), settings.contrast)
        if settings.clustering:
            information = mutual_information(self.probabilities(first), self.probabilities(second))
            losses.add("clustering", -information, settings.clustering)

        p = self.probabilities(c).detach()
        posterior = self._posterior(x, p)
        z = posterior.sample()
        pixels = x[0].numel()
        error = squared_error(self.decode(Codes(p, z)), x, "pixel")
        losses.add("reconstruction", error, settings.reconstruction)
        losses.add("kl", posterior.kl().mean() / pixels, settings.reconstruction * settings.gamma_z)
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
        hybrids = self.decode(Codes(p, z_other))
        with _fixed_statistics(self):
            if settings.hybrid_content:
                c = _with_constant_weights(self.content, hybrids)
                error = F.cross_entropy(self._logits(c, self.prototypes.detach()), p)
                losses.add("hybrid_content", error, settings.hybrid_content)
            if settings.hybrid_transformation:
                again = self._posterior(hybrids, p).mean
                error = (again - z_other.detach()).square().mean()
                losses.add("hybrid_transformation", error, settings.hybrid_transformation)

    def _posterior(self, images: Tensor, p: Tensor) -> Gaussian:
        """Return q(z|x): q(h|x) less what p tells of its mean."""
        mean, log_variance = self.transformation(images).chunk(2, dim=1)
        return Gaussian(mean if self.centring is None else self.centring(p, mean), log_variance)

    def pairs(self, batch: Batch) -> list[Pair]:
        """Return two views of an image, and hybrids beside what gave them content and transformation."""
        x = batch.images
        codes = self.encode(batch)
        other = codes.transformation.roll(1, dims=0)
        hybrids = self.decode(Codes(codes.content, other))
        return [
            Pair("positive for content: two views of an image", self.view(x), self.view(x)),
            Pair("hybrids: the content of the image, in the transformation of the one to its left", x, hybrids),
        ]


def _scales(count: int) -> Tensor:
    """Return the scale of each random frequency: one half 0.4, the other 0.8."""
    return torch.where(torch.arange(count) < count // 2, 0.4, 0.8)


def _with_constant_weights(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return a module's output, of which gradients reach the inputs alone."""
    constant = {name: value.detach() for name, value in module.state_dict(keep_vars=True).items()}
    output: Tensor = torch.func.functional_call(module, constant, (inputs,))
    return output


@contextmanager
def _fixed_statistics(module: nn.Module) -> Iterator[None]:
    """Use batch normalisation's running statistics, and leave them as they are."""
    was = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was)
