"""DualContrast: a two-latent VAE whose codes are disentangled by contrastive pairs (Uddin & Xu)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dualcontrast.methods.losses import (
    cosine_distance_loss,
    cosine_similarity_loss,
    cross_correlation_loss,
    info_nce,
    line_distance_loss,
)
from dualcontrast.methods.method import Batch, Codes, Losses, MethodSettings, Pair
from dualcontrast.methods.two_latent_vae import AUTHORS_CODE, TwoLatentVAE, TwoLatentVAESettings
from dualcontrast.networks import NetworkSettings
from dualcontrast.settings import SettingsDict
from dualcontrast.transforms import View

DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine_distance_loss,
    "line": line_distance_loss,
}


class DualContrastSettings(TwoLatentVAESettings):
    """Settings of the objective; the defaults follow the paper's text and its equation 3.

    A weight of zero removes a kind of pair, as in the paper's ablations, and skips its computation.
    """

    name: str = Field("dualcontrast", description="the method's name")
    content_positive: float = Field(1.0, ge=0, description="weight of L_dist(c, c_pos), section 3.4")
    content_negative: float = Field(1.0, ge=0, description="weight of L_sim(c, c_neg), section 3.4")
    transformation_positive: float = Field(1.0, ge=0, description="weight of L_dist(z_pos1, z_pos2), 3.5")
    transformation_negative: float = Field(1.0, ge=0, description="weight of L_sim(z, z_neg), section 3.5")
    content_infonce: float = Field(
        0.0,
        ge=0,
        description="weight of InfoNCE on (c, c_pos), with all other images of the batch as negatives: a stronger "
        "L_con(c); not in the paper",
    )
    temperature: float = Field(0.2, gt=0, description="of InfoNCE")
    cross_correlation: float = Field(
        0.0, ge=0, description="weight of the mean squared correlation between c and z; not in the paper"
    )
    contrast_per: Literal["pair", "element"] = Field(
        "pair",
        description="pair: contrastive terms are means over pairs (the text); element: means over all elements "
        "of the codes, so also divided by the length of the code (the authors' script)",
    )
    distance: Literal["cosine", "line"] = Field(
        "cosine", description="cosine: |1 - cos| (the text); line: 1 - |cos| (the authors' script)"
    )
    positive_latents: Literal["independent", "shared"] = Field(
        "independent",
        description="z1 and z2 of the positive pair for z both drawn from N(0, I) (the text), or one draw "
        "shared by both (the authors' script)",
    )
    separate_positive_step: bool = Field(
        False,
        description="false: one objective, equation 3. true: L_dist(z_pos1, z_pos2) has its own step and "
        "optimizer, after the main step, and updates the encoder alone through the encoding of decoded images "
        "(the authors' script)",
    )


class DualContrast(TwoLatentVAE):
    """Content and transformation codes, disentangled by pairs from views and from the latent space.

    Equation 3 of M. R. Uddin and M. Xu, DualContrast, called "the paper" throughout this package:

        L = L_vae + L_con(c) + L_con(z)
        L_con(c) = L_dist(c, c_pos) + L_sim(c, c_neg)
        L_con(z) = L_dist(z_pos1, z_pos2) + L_sim(z, z_neg)

    c, c_pos and c_neg are the content codes of x, of its view T(x), and of another image of the batch; z_neg is
    the transformation code of T(x). z_pos1 and z_pos2 are the transformation codes of dec(c1, z1) and
    dec(c2, z2), with c1 and c2 from two random images and z1, z2 from N(0, I). Codes in the contrastive terms
    are posterior means; the paper does not say whether they are means or samples. L_vae is that of the
    two-latent VAE, on x and T(x). Where the authors' published script departs from the paper's text, settings
    choose between the two; the preset `authors-code` follows the script.

    The preset `infonce`, for noisy volumes, uses InfoNCE as L_con(c) and batch normalisation in the encoder.
    It decorrelates c and z instead of using positive pairs for z, whose loss is near zero from the start.
    """

    Settings: ClassVar[type[MethodSettings]] = DualContrastSettings
    presets: ClassVar[dict[str, SettingsDict]] = {
        "paper": {},
        "authors-code": {
            **AUTHORS_CODE,
            "method": {
                **AUTHORS_CODE["method"],
                "contrast_per": "element",
                "distance": "line",
                "positive_latents": "shared",
                "separate_positive_step": True,
            },
        },
        "infonce": {
            "method": {
                "content_size": 16,
                "transformation_size": 16,
                "content_positive": 0.0,
                "content_negative": 0.0,
                "content_infonce": 1.0,
                "transformation_positive": 0.0,
                "cross_correlation": 30.0,
                "reconstruction_per": "pixel",
                "reconstruction_weight": 40.0,
                "gamma_c": 1.0,
                "gamma_z": 1.0,
            },
            "network": {"encoder": {"norm": "batch"}},
        },
    }
    settings: DualContrastSettings

    def __init__(
        self,
        shape: Sequence[int],
        settings: DualContrastSettings,
        networks: NetworkSettings,
        views: Sequence[View],
    ) -> None:
        super().__init__(shape, settings, networks, views)
        if settings.separate_positive_step and settings.transformation_positive:
            self.phases = ("main", "positive")

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """Return all parameters, or those of the encoder for the separate step of the authors' script."""
        return list(self.encoder.parameters()) if phase == "positive" else list(self.parameters())

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        """Compute equation 3; with a separate step, all but the positive pairs for z, or these alone."""
        if phase == "positive":
            return self._positive_step(batch)
        settings = self.settings
        images = batch.images
        contrasted = settings.content_positive or settings.content_infonce or settings.transformation_negative
        viewed = settings.vae_on_views or contrasted
        both = torch.cat([images, self.view(images)]) if viewed else images
        content, transformation = self.encoder(both)
        c, z = content.mean[: len(images)], transformation.mean[: len(images)]

        reconstructed = len(both) if settings.vae_on_views else len(images)
        losses = self.vae_losses(both[:reconstructed], content[:reconstructed], transformation[:reconstructed])
        if viewed:
            c_pos, z_neg = content.mean[len(images) :], transformation.mean[len(images) :]
            losses.add("content_positive", self._distance(c, c_pos), settings.content_positive)
            if settings.content_infonce:
                losses.add("content_infonce", info_nce(c, c_pos, settings.temperature), settings.content_infonce)
            losses.add("transformation_negative", self._similarity(z, z_neg), settings.transformation_negative)
        c_neg = c[_permutation(c)]
        losses.add("content_negative", self._similarity(c, c_neg), settings.content_negative)
        if settings.cross_correlation:
            penalty = cross_correlation_loss(content.mean, transformation.mean)
            losses.add("cross_correlation", penalty, settings.cross_correlation)
        if settings.transformation_positive and "positive" not in self.phases:
            self._add_positive(losses, self._decoded_pairs(c))
        return losses

    def _positive_step(self, batch: Batch) -> Losses:
        """Compute L_dist(z_pos1, z_pos2) of the second step; gradients pass through the second encoding alone."""
        with torch.no_grad():
            c = self.encoder(batch.images)[0].mean
            decoded = self._decoded_pairs(c)
        losses = Losses()
        self._add_positive(losses, decoded)
        return losses

    def _add_positive(self, losses: Losses, decoded: Tensor) -> None:
        """Add L_dist(z_pos1, z_pos2) of decoded pairs (2B, C, spatial...)."""
        z_pos1, z_pos2 = self.encoder(decoded)[1].mean.chunk(2)
        weight = self.settings.transformation_positive
        losses.add("transformation_positive", self._distance(z_pos1, z_pos2), weight)

    def _decoded_pairs(self, c: Tensor) -> Tensor:
        """Decode the contents of random images with latents from N(0, I): positive pairs for z, (2B, ...)."""
        contents = torch.cat([c[_permutation(c)], c[_permutation(c)]])
        size = self.settings.transformation_size
        if self.settings.positive_latents == "shared":
            latents = torch.randn(len(c), size, device=c.device, dtype=c.dtype).repeat(2, 1)
        else:
            latents = torch.randn(2 * len(c), size, device=c.device, dtype=c.dtype)
        return self.decode(Codes(contents, latents))

    def _distance(self, first: Tensor, second: Tensor) -> Tensor:
        return DISTANCES[self.settings.distance](first, second) / self._elements(first)

    def _similarity(self, first: Tensor, second: Tensor) -> Tensor:
        return cosine_similarity_loss(first, second) / self._elements(first)

    def _elements(self, codes: Tensor) -> int:
        return codes.shape[1] if self.settings.contrast_per == "element" else 1

    def pairs(self, batch: Batch) -> list[Pair]:
        """Return the pairs of sections 3.4 and 3.5, as in the objective; one kind serves both codes."""
        x = batch.images
        view = self.view(x)
        c = self.encode(batch).content
        first, second = self._decoded_pairs(c).chunk(2)
        return [
            Pair("positive for content, negative for transformation: x and T(x)", x, view),
            Pair("negative for content: x and another image", x, x[_permutation(c)]),
            Pair("positive for transformation: two contents decoded with latents of N(0, I)", first, second),
        ]


def _permutation(codes: Tensor) -> Tensor:
    return torch.randperm(len(codes), device=codes.device)
