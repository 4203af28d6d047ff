"""Variation within a cluster of pictures, learnt by an encoder and a decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dualcontrast.methods.losses import squared_error
from dualcontrast.methods.method import Batch, Losses
from dualcontrast.methods.plus.settings import DualContrastPlusSettings
from dualcontrast.methods.plus.variation import ContentError, Variation, WithClusters, evaluating
from dualcontrast.methods.plus.whitening import Moments, centres
from dualcontrast.networks import Decoder, Gaussian, NetworkSettings, trunk_of

SHARPNESS = 4.0  # factor on p in the decoder, whose other input z has unit variance


class LearnedVariation(Variation):
    """An encoder q(h|x) and a decoder of the variation within a cluster: the second stage of DualContrastPlus.

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    settings
        Weights and sizes.
    networks
        The networks.
    """

    def __init__(
        self, shape: Sequence[int], settings: DualContrastPlusSettings, networks: NetworkSettings
    ) -> None:
        super().__init__()
        self.settings = settings
        self.clusters, size = settings.content_size, settings.transformation_size
        # without batch normalisation, so that h is the same in training and afterwards
        trunk, features = trunk_of(shape, networks.encoder.model_copy(update={"norm": "instance"}))
        self.encoder = nn.Sequential(trunk, nn.Linear(features, 2 * size))
        self.decoder = Decoder(shape, self.clusters, size, networks.decoder)

    def posterior(self, batch: Batch, k: Tensor) -> tuple[Gaussian, Tensor]:
        """Return q(h|x), which does not depend on the clusters, and empty poses."""
        return self._posterior(batch.images), batch.images.new_zeros(len(batch), 0)

    def decoded(self, p: Tensor, h: Tensor, pose: Tensor) -> Tensor:
        """Return dec(p, h), in the range of the data."""
        return self._decoded(p, h)

    def losses(self, batch: Batch, p: Tensor, content_error: ContentError) -> Losses:
        """See Variation."""
        x, settings, losses = batch.images, self.settings, Losses()
        posterior, mu = self._posterior(x), p.new_zeros(())
        if settings.centred:
            mu = p @ centres(p, posterior.mean)
            posterior = Gaussian(posterior.mean - mu, posterior.log_variance)
        z = posterior.sample()
        losses.add("reconstruction", squared_error(self._decoded(p, z), x, "pixel"), settings.reconstruction)
        losses.add("kl", posterior.kl().mean() / x[0].numel(), settings.reconstruction * settings.gamma_z)
        if settings.hybrid_content or settings.hybrid_transformation:
            z_other = z[torch.randperm(len(z), device=z.device)]
            hybrids = self._decoded(p, z_other)
            if settings.hybrid_content:
                losses.add("hybrid_content", content_error(hybrids, p), settings.hybrid_content)
            if settings.hybrid_transformation:
                with evaluating(self):
                    seen = self._posterior(hybrids).mean - mu
                error = (seen - z_other.detach()).square().mean()
                losses.add("hybrid_transformation", error, settings.hybrid_transformation)
        return losses

    def moments(self, batches: WithClusters) -> Moments:
        """Return the moments of the means of q(h|x)."""
        clusters, means = zip(*((k, self._posterior(batch.images).mean) for batch, k in batches), strict=True)
        return Moments.of(torch.cat(clusters), torch.cat(means), self.clusters)

    def _posterior(self, x: Tensor) -> Gaussian:
        return Gaussian(*self.encoder(x).chunk(2, dim=1))

    def _decoded(self, p: Tensor, h: Tensor) -> Tensor:
        images: Tensor = self.decoder(SHARPNESS * p, h)
        return images
