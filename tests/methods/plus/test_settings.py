"""Settings of DualContrast plus that contradict each other are refused, in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from dualcontrast.errors import RecipeError
from dualcontrast.methods.plus.settings import PICTURES_ONLY, DualContrastPlusSettings
from dualcontrast.recipe import recipe_of


def settings(**stated: Any) -> DualContrastPlusSettings:
    method = recipe_of({"method": {"name": "dualcontrast_plus", **stated}}).method
    assert isinstance(method, DualContrastPlusSettings)
    return method


def test_without_contrast_and_clustering_nothing_would_learn_the_content() -> None:
    with pytest.raises(RecipeError, match="contrast and clustering are both 0"):
        settings(contrast=0.0, clustering=0.0)
    assert settings(contrast=0.0).clustering > 0
    assert settings(clustering=0.0).contrast > 0


@pytest.mark.parametrize("clusters", [-1, 0, 6])
def test_clusters_must_fit_the_content_code(clusters: int) -> None:
    with pytest.raises(RecipeError, match=rf"method.clusters = {clusters} is not accepted: give 1 to 5 clusters"):
        settings(content_size=5, clusters=clusters)


@pytest.mark.parametrize("clusters", [1, 5, "auto"])
def test_clusters_that_fit_are_taken(clusters: int | str) -> None:
    assert settings(content_size=5, clusters=clusters).clusters == clusters


def test_an_invalid_content_size_is_the_error_and_not_the_clusters() -> None:
    with pytest.raises(RecipeError, match=r"method.content_size = 1 is not accepted"):
        settings(content_size=1, clusters=3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("centred", False),
        ("reconstruction", 1.0),
        ("gamma_z", 0.1),
        ("hybrid_content", 0.0),
        ("hybrid_transformation", 0.5),
    ],
)
def test_weights_for_pictures_are_refused_beside_a_pose_search(name: str, value: Any) -> None:
    assert name in PICTURES_ONLY
    assert getattr(settings(**{name: value}), name) == value
    with pytest.raises(RecipeError, match=f"{name} has no effect with pose: search; leave it out"):
        settings(pose="search", **{name: value})


def test_a_pose_search_takes_the_other_settings_and_stated_defaults() -> None:
    defaults = {name: getattr(settings(), name) for name in PICTURES_ONLY}
    chosen = settings(pose="search", clusters=3, whitened=False, contrast=0.1, **defaults)
    assert (chosen.pose, chosen.clusters, chosen.whitened, chosen.contrast) == ("search", 3, False, 0.1)
