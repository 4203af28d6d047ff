"""What varies among the pictures of one cluster, learnt by an encoder and a decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dualcontrast.methods.dualcontrast_plus_settings import DualContrastPlusSettings
from dualcontrast.methods.losses import squared_error
from dualcontrast.methods.method import Losses
from dualcontrast.methods.within import centres
from dualcontrast.networks import Decoder, DecoderSettings, EncoderSettings, Gaussian, trunk_of

SHARPNESS = 4.0  # factor on p before the decoder, whose other input z has unit variance


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
        trunk, features = trunk_of(shape, encoder.model_copy(update={"norm": "instance"}))
        self.encoder = nn.Sequential(trunk, nn.Linear(features, 2 * size))
        self.decoder = Decoder(shape, clusters, size, decoder)

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
