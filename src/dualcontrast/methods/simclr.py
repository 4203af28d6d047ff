"""SimCLR for separating content from transformation, with and without a decoder (von Kuegelgen et al.)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dualcontrast.methods.losses import cosine_similarity_loss, info_nce
from dualcontrast.methods.method import Batch, Codes, Losses, Method, MethodSettings, Pair
from dualcontrast.methods.two_latent_vae import TwoLatentVAE, TwoLatentVAESettings
from dualcontrast.networks import Encoder, NetworkSettings
from dualcontrast.transforms import View


class SimCLRSettings(MethodSettings):
    """Settings of the contrastive terms."""

    name: str = Field("simclr", description="the method's name")
    temperature: float = Field(0.5, gt=0, description="of InfoNCE; SimCLR has 0.5 on small pictures (CIFAR-10)")
    transformation_negative: float = Field(
        1.0, ge=0, description="weight of L_sim(z, z_neg); at 0, no term trains z directly"
    )


class SimCLRGenerativeSettings(SimCLRSettings, TwoLatentVAESettings):
    """Settings of the contrastive terms and of L_vae."""

    name: str = Field("simclr_generative", description="the method's name")


class SimCLR(Method):
    """Content is what two views of an image share; without a decoder.

    The objective of the row "SimCLR (Discriminative)" of the paper's Table 1 is

        L = InfoNCE(c, c_pos) + L_sim(z, z_neg)

    with c, c_pos and z, z_neg the codes of x and of its view T(x), and all other images of the batch as negatives
    of c (T. Chen et al., ICML 2020). J. von Kuegelgen et al., NeurIPS 2021, prove that InfoNCE on views isolates
    what views leave unchanged.

    The paper does not state how z is trained; it says that this scheme "only creates positive pairs w.r.t.
    content and negative pair w.r.t. style with data augmentation". So x and T(x) are a negative pair for z, with
    the term that DualContrast uses for it (section 3.5), and z has no positive pair.

    Differences from SimCLR: x itself is one of the two views, and there is no projection head, since the codes
    themselves are evaluated. The encoder is that of all other methods. The decoder's settings are not used.

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    settings
        Temperature and weight.
    networks
        The encoder; the decoder is not built.
    views
        T, applied one after the other.
    """

    Settings: ClassVar[type[MethodSettings]] = SimCLRSettings
    settings: SimCLRSettings
    has_decoder = False

    def __init__(
        self, shape: Sequence[int], settings: SimCLRSettings, networks: NetworkSettings, views: Sequence[View]
    ) -> None:
        super().__init__()
        self.settings = settings
        self.views = tuple(views)
        self.encoder = Encoder(shape, settings.content_size, settings.transformation_size, networks.encoder)

    def encode_and_sample(self, batch: Batch) -> tuple[Codes, Codes]:
        """See Method; codes are deterministic, and the variance heads stay unused."""
        content, transformation = self.encoder(batch.images)
        codes = Codes(content.mean, transformation.mean)
        return codes, codes

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Compute InfoNCE(c, c_pos) + L_sim(z, z_neg)."""
        content, transformation = self.encoder(torch.cat([batch.images, self.view(batch.images)]))
        losses = Losses()
        _add_contrast(losses, content.mean, transformation.mean, self.settings)
        return losses

    def pairs(self, batch: Batch) -> list[Pair]:
        """Return the pairs that the objective contrasts."""
        return _pairs(batch.images, self.view(batch.images))


class SimCLRGenerative(TwoLatentVAE):
    """SimCLR within a two-latent VAE: the same contrastive terms, and both codes together reconstruct the image.

    The objective of the row "SimCLR (Generative)" of the paper's Table 1 is

        L = L_vae(x) + L_vae(T(x)) + InfoNCE(c, c_pos) + L_sim(z, z_neg)

    with L_vae of the two-latent VAE and the contrastive terms of `SimCLR`, on posterior means (T. Chen et al.,
    ICML 2020, and J. von Kuegelgen et al., NeurIPS 2021). It differs from DualContrast in two ways: InfoNCE
    replaces L_con(c), and z has no positive pairs. The paper does not state how decoder and contrast were
    combined: here they are summed, with equal weight.

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    settings
        Those of the two-latent VAE and of `SimCLR`.
    networks
        The networks.
    views
        T, applied one after the other.
    """

    Settings: ClassVar[type[MethodSettings]] = SimCLRGenerativeSettings
    presets = Method.presets
    settings: SimCLRGenerativeSettings

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Compute L_vae + InfoNCE(c, c_pos) + L_sim(z, z_neg)."""
        both = torch.cat([batch.images, self.view(batch.images)])
        content, transformation = self.encoder(both)
        reconstructed = len(both) if self.settings.vae_on_views else len(batch)
        losses = self.vae_losses(both[:reconstructed], content[:reconstructed], transformation[:reconstructed])
        _add_contrast(losses, content.mean, transformation.mean, self.settings)
        return losses

    def pairs(self, batch: Batch) -> list[Pair]:
        """Return the pairs that the objective contrasts."""
        return _pairs(batch.images, self.view(batch.images))


def _add_contrast(losses: Losses, content: Tensor, transformation: Tensor, settings: SimCLRSettings) -> None:
    """Add the contrastive terms of codes (2B, d), those of x before those of T(x)."""
    c, c_pos = content.chunk(2)
    z, z_neg = transformation.chunk(2)
    losses.add("content_infonce", info_nce(c, c_pos, settings.temperature), 1.0)
    losses.add("transformation_negative", cosine_similarity_loss(z, z_neg), settings.transformation_negative)


def _pairs(images: Tensor, views: Tensor) -> list[Pair]:
    return [
        Pair("positive for content, negative for transformation: x and T(x)", images, views),
        Pair("negative for content: x and another image", images, images.roll(1, dims=0)),
    ]
