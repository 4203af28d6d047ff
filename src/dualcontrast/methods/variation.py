"""What varies among the pictures of one cluster, learnt by an encoder and a decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualcontrast.methods.dualcontrast_plus_settings import DualContrastPlusSettings
from dualcontrast.methods.losses import squared_error, standardised
from dualcontrast.methods.method import Losses
from dualcontrast.methods.within import centres
from dualcontrast.networks import Decoder, DecoderSettings, EncoderSettings, Gaussian, trunk_of

SHARPNESS = 4.0  # factor on p before the decoder, whose other input z has unit variance
MEMORY = 0.9  # share of the past in running cross-correlations
RANDOM_FEATURES = 256
ADVERSARY_WIDTH = 128


class LearnedVariation(nn.Module):
    """An encoder q(h|x) and a decoder of what varies within a cluster; the second objective of DualContrastPlus.

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    settings
        Weights and sizes.
    encoder, decoder
        The networks.
    """

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
    ) -> None:
        super().__init__()
        self.settings = settings
        clusters, size = settings.content_size, settings.transformation_size
        # without batch normalisation: what h is in training it must be afterwards
        trunk, features = trunk_of(shape, encoder.model_copy(update={"norm": settings.transformation_norm}))
        self.encoder = nn.Sequential(trunk, nn.Linear(features, 2 * size))
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

    def posterior(self, x: Tensor) -> Gaussian:
        """Return q(h|x)."""
        return Gaussian(*self.encoder(x).chunk(2, dim=1))

    def decoded(self, p: Tensor, z: Tensor) -> Tensor:
        """Return dec(p, z), in the range of the data."""
        images: Tensor = self.decoder(SHARPNESS * p, z)
        return images

    def losses(self, x: Tensor, p: Tensor, content_error: Callable[[Tensor], Tensor]) -> Losses:
        """Return the objective for images of clusters p (B, K).

        Parameters
        ----------
        content_error
            How far images are from having the content p: a scalar, constant but for them.
        """
        settings, losses = self.settings, Losses()
        posterior, mu = self.posterior(x), p.new_zeros(())
        if settings.centred:
            mu = p @ centres(p, posterior.mean)
            posterior = Gaussian(posterior.mean - mu, posterior.log_variance)
        z = posterior.sample()
        losses.add("reconstruction", squared_error(self.decoded(p, z), x, "pixel"), settings.reconstruction)
        losses.add("kl", posterior.kl().mean() / x[0].numel(), settings.reconstruction * settings.gamma_z)
        self._add_independence(losses, p, z)
        if settings.hybrid_content or settings.hybrid_transformation:
            z_other = z[torch.randperm(len(z), device=z.device)]
            hybrids = self.decoded(p, z_other)
            if settings.hybrid_content:
                losses.add("hybrid_content", content_error(hybrids), settings.hybrid_content)
            if settings.hybrid_transformation:
                with evaluating(self):
                    seen = self.posterior(hybrids).mean - mu
                error = (seen - z_other.detach()).square().mean()
                losses.add("hybrid_transformation", error, settings.hybrid_transformation)
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
            told = F.cross_entropy(with_constant_weights(self.adversary, z), p)
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


def _scales(count: int) -> Tensor:
    """Return the scale of each random frequency: one half 0.4, the other 0.8."""
    return torch.where(torch.arange(count) < count // 2, 0.4, 0.8)


def with_constant_weights(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return a module's output, of which gradients reach the inputs alone."""
    constant = {name: value.detach() for name, value in module.state_dict(keep_vars=True).items()}
    output: Tensor = torch.func.functional_call(module, constant, (inputs,))
    return output


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Go by running statistics, and leave them as they are."""
    was = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was)
