"""Two-latent VAE: a variational autoencoder with a content and a transformation latent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from dualcontrast.methods.losses import squared_error
from dualcontrast.methods.method import Batch, Codes, Losses, Method, MethodSettings
from dualcontrast.networks import Decoder, Encoder, Gaussian, NetworkSettings
from dualcontrast.settings import SettingsDict
from dualcontrast.transforms import View


class TwoLatentVAESettings(MethodSettings):
    """Settings of L_vae; the defaults follow the paper's text."""

    name: str = Field("two_latent_vae", description="the method's name")
    gamma_c: float = Field(0.01, ge=0, description="weight of KL(q(c|x) || N(0, I)), equation 2")
    gamma_z: float = Field(0.01, ge=0, description="weight of KL(q(z|x) || N(0, I)), equation 2")
    reconstruction_per: Literal["image", "pixel"] = Field(
        "image",
        description="image: the Gaussian negative log-likelihood summed over an image (the text's likelihood); "
        "pixel: the mean squared error over pixels, and both KL terms divided by the number of pixels (the "
        "authors' script)",
    )
    reconstruction_weight: float = Field(1.0, ge=0, description="factor on L_rec; the script has 3 on volumes")
    kl_as_log_std: bool = Field(
        False,
        description="compute the KL as if the encoder's log-variance were a log standard deviation, while "
        "sampling uses it as a log-variance, as in the authors' script",
    )
    vae_on_views: bool = Field(True, description="L_vae for both x and T(x) (section 3.5), or for x alone")


# Where the authors' published script departs from the text, as far as the VAE is concerned.
AUTHORS_CODE: SettingsDict = {
    "method": {"reconstruction_per": "pixel", "kl_as_log_std": True},
    "views": [{"name": "rotation", "degrees": 90, "per": "batch", "interpolation": "nearest"}],
    "network": {"decoder": {"share_code_layer": True}},
}


class TwoLatentVAE(Method):
    """A VAE with two latents: c for content and z for transformation.

    The objective (M. R. Uddin and M. Xu, DualContrast: equation 2, and the row "VAE with 2 latent space" of its
    Table 1) is

        L_vae(x) = L_rec(x, dec(c, z)) + gamma_c KL(q(c|x) || N(0, I)) + gamma_z KL(q(z|x) || N(0, I))

    with c and z sampled from their posteriors, summed over x and its view T(x), as the paper does for DualContrast
    (section 3.5). Where the authors' script departs from the text, a setting chooses.

    Parameters
    ----------
    shape
        (C, spatial...) of an image.
    settings
        Weights, and the choices in which the paper and the authors' script differ.
    networks
        The networks.
    views
        T, applied one after the other.
    """

    Settings: ClassVar[type[MethodSettings]] = TwoLatentVAESettings
    presets: ClassVar[dict[str, SettingsDict]] = {"paper": {}, "authors-code": AUTHORS_CODE}
    settings: TwoLatentVAESettings

    def __init__(
        self,
        shape: Sequence[int],
        settings: TwoLatentVAESettings,
        networks: NetworkSettings,
        views: Sequence[View],
    ) -> None:
        super().__init__()
        self.settings = settings
        self.views = tuple(views)
        sizes = (settings.content_size, settings.transformation_size)
        self.encoder = Encoder(shape, *sizes, networks.encoder)
        self.decoder = Decoder(shape, *sizes, networks.decoder)

    def encode_and_sample(self, batch: Batch) -> tuple[Codes, Codes]:
        """See Method."""
        content, transformation = self.encoder(batch.images)
        return Codes(content.mean, transformation.mean), Codes(content.sample(), transformation.sample())

    def decode(self, codes: Codes) -> Tensor:
        """Return dec(c, z)."""
        images: Tensor = self.decoder(codes.content, codes.transformation)
        return images

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Compute L_vae(x) + L_vae(T(x))."""
        images = batch.images
        if self.settings.vae_on_views:
            images = torch.cat([images, self.view(images)])
        return self.vae_losses(images, *self.encoder(images))

    def vae_losses(self, images: Tensor, content: Gaussian, transformation: Gaussian) -> Losses:
        """Compute L_vae of images from their posteriors.

        Where `images` holds x and then T(x), the objective is their sum: the parts are means over all images, and
        weights are multiplied by the number of copies of each x.
        """
        settings = self.settings
        reconstructions = self.decode(Codes(content.sample(), transformation.sample()))
        kl = Gaussian.kl_as_log_std if settings.kl_as_log_std else Gaussian.kl
        pixels = images[0].numel() if settings.reconstruction_per == "pixel" else 1
        copies = 2.0 if settings.vae_on_views else 1.0
        error = squared_error(reconstructions, images, settings.reconstruction_per)
        losses = Losses()
        losses.add("reconstruction", error, copies * settings.reconstruction_weight)
        losses.add("kl_content", kl(content).mean() / pixels, copies * settings.gamma_c)
        losses.add("kl_transformation", kl(transformation).mean() / pixels, copies * settings.gamma_z)
        return losses
