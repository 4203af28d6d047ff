"""Settings of DualContrast plus: its sizes, and the weight of each part of its objective."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from dualcontrast.methods.method import MethodSettings

OF_PICTURES = ("centred", "reconstruction", "gamma_z", "hybrid_content", "hybrid_transformation")


class DualContrastPlusSettings(MethodSettings):
    """Settings of the objective. A weight of zero takes its part away: the ablations."""

    name: str = Field("dualcontrast_plus", description="the method's name in the registry")
    content_size: int = Field(
        20, ge=2, description="K, the most clusters there can be; the content code is the probability of each"
    )
    clusters: int | Literal["auto"] = Field(
        "auto",
        description="how many there are, at most content_size; auto: of the numbers where each is found "
        "again in other images, the one where they lie farthest apart",
    )
    embedding_size: int = Field(16, ge=2, description="length of the embedding c that clusters are found in")
    content_share: float = Field(0.5, gt=0, lt=1, description="share of training that content is learnt in")
    contrast: float = Field(0.3, ge=0, description="weight of InfoNCE on the embeddings of two views")
    temperature: float = Field(0.2, gt=0, description="of InfoNCE")
    clustering: float = Field(1.0, ge=0, description="weight of the mutual information of two views' assignments")
    encoding_views: int = Field(8, ge=1, description="views that c is the mean of where codes are read")
    pose: Literal["none", "search"] = Field(
        "none", description="search: volumes are brought to a common pose, which joins the transformation code"
    )
    centred: bool = Field(True, description="take the clusters' centres from z in training")
    whitened: bool = Field(True, description="give z the same covariance in every cluster")
    reconstruction: float = Field(80.0, ge=0, description="weight of the mean squared error over pixels")
    gamma_z: float = Field(0.02, ge=0, description="weight of KL(q(z|x) || N(0, I)) within the reconstruction")
    hybrid_content: float = Field(0.3, ge=0, description="weight of CE(p_i, a(f(dec(p_i, z_j))))")
    hybrid_transformation: float = Field(1.0, ge=0, description="weight of |z(dec(p_i, z_j)) - z_j|^2 / d")

    @field_validator("clusters")
    @classmethod
    def _clusters_that_there_is_room_for(cls, clusters: int | str, info: ValidationInfo) -> int | str:
        room = info.data.get("content_size")  # not there where it is wrong itself
        if isinstance(clusters, int) and room is not None and not 1 <= clusters <= room:
            raise ValueError(f"there can be 1 to {room} clusters (content_size), or auto")
        return clusters

    @model_validator(mode="after")
    def _contrast_or_clustering(self) -> DualContrastPlusSettings:
        if not (self.contrast or self.clustering):
            raise ValueError("contrast and clustering are both 0, so nothing would learn the content")
        return self

    @model_validator(mode="after")
    def _parts_that_there_are(self) -> DualContrastPlusSettings:
        if self.pose == "search":
            for name in OF_PICTURES:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} has no part in what is learnt with pose: search; leave it out")
        return self
