"""Settings of DualContrast plus: sizes, and the weight of each part of the objective."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from dualcontrast.methods.method import MethodSettings

PICTURES_ONLY = ("centred", "reconstruction", "gamma_z", "hybrid_content", "hybrid_transformation")


class DualContrastPlusSettings(MethodSettings):
    """Settings of the objective. A weight of zero removes its part, as in the ablations."""

    name: str = Field("dualcontrast_plus", description="the method's name")
    content_size: int = Field(
        20, ge=2, description="K, the largest number of clusters; the content code holds the probability of each"
    )
    clusters: int | Literal["auto"] = Field(
        "auto",
        description="number of clusters, at most content_size; auto: among the numbers that are reproducible on "
        "other images, the one with the best separated clusters",
    )
    embedding_size: int = Field(16, ge=2, description="length of the embedding c, in which clusters are found")
    content_share: float = Field(0.5, gt=0, lt=1, description="fraction of training that learns the content")
    contrast: float = Field(0.3, ge=0, description="weight of InfoNCE on the embeddings of two views")
    temperature: float = Field(0.2, gt=0, description="of InfoNCE")
    clustering: float = Field(1.0, ge=0, description="weight of the mutual information of two views' assignments")
    encoding_views: int = Field(8, ge=1, description="number of views that c is averaged over when encoding")
    pose: Literal["none", "search"] = Field(
        "none",
        description="search: align volumes to a common pose, and append the pose to the transformation code",
    )
    centred: bool = Field(True, description="subtract the clusters' centres from z in training")
    whitened: bool = Field(True, description="give z the same covariance in every cluster")
    reconstruction: float = Field(80.0, ge=0, description="weight of the mean squared error over pixels")
    gamma_z: float = Field(0.02, ge=0, description="weight of KL(q(z|x) || N(0, I)) within the reconstruction")
    hybrid_content: float = Field(0.3, ge=0, description="weight of CE(p_i, a(f(dec(p_i, z_j))))")
    hybrid_transformation: float = Field(1.0, ge=0, description="weight of |z(dec(p_i, z_j)) - z_j|^2 / d")

    @field_validator("clusters")
    @classmethod
    def _clusters_fit_the_content_code(cls, clusters: int | str, info: ValidationInfo) -> int | str:
        room = info.data.get("content_size")  # missing if it is invalid itself
        if isinstance(clusters, int) and room is not None and not 1 <= clusters <= room:
            raise ValueError(f"give 1 to {room} clusters (content_size), or auto")
        return clusters

    @model_validator(mode="after")
    def _content_has_an_objective(self) -> DualContrastPlusSettings:
        if not (self.contrast or self.clustering):
            raise ValueError("contrast and clustering are both 0, so nothing would train the content")
        return self

    @model_validator(mode="after")
    def _alignment_excludes_parts_for_pictures(self) -> DualContrastPlusSettings:
        if self.pose == "search":
            for name in PICTURES_ONLY:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} has no effect with pose: search; leave it out")
        return self
