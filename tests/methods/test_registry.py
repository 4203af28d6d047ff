"""Methods by name."""

from __future__ import annotations

import pytest

from dualcontrast.errors import RecipeError
from dualcontrast.methods import METHODS, Method, method_named
from dualcontrast.methods.dualcontrast import DualContrast
from dualcontrast.methods.two_latent_vae import TwoLatentVAE


def test_methods_are_found_by_name() -> None:
    assert method_named("dualcontrast") is DualContrast
    assert method_named("two_latent_vae") is TwoLatentVAE
    assert all(issubclass(method, Method) for method in METHODS.values())


@pytest.mark.parametrize(
    ("name", "clause"),
    [("dualcontrst", "did you mean dualcontrast"), ("zzz", "known are .*dualcontrast.*two_latent_vae")],
)
def test_an_unknown_name_is_answered_with_known_ones(name: str, clause: str) -> None:
    with pytest.raises(RecipeError, match=f"no method is called {name}; {clause}"):
        method_named(name)


def test_the_settings_of_a_method_name_it() -> None:
    assert {name: method.Settings().name for name, method in METHODS.items()} == {name: name for name in METHODS}
