"""Methods by name, and building one from the parts of a recipe."""

from __future__ import annotations

from dualcontrast.errors import RecipeError, nearest
from dualcontrast.methods.dualcontrast import DualContrast
from dualcontrast.methods.harmony import Harmony
from dualcontrast.methods.method import Method
from dualcontrast.methods.plus import DualContrastPlus
from dualcontrast.methods.simclr import SimCLR, SimCLRGenerative
from dualcontrast.methods.spatial_vae import SpatialVAE
from dualcontrast.methods.two_latent_vae import TwoLatentVAE
from dualcontrast.methods.vitae import VITAE

METHODS: dict[str, type[Method]] = {
    "dualcontrast": DualContrast,
    "dualcontrast_plus": DualContrastPlus,
    "harmony": Harmony,
    "simclr": SimCLR,
    "simclr_generative": SimCLRGenerative,
    "spatial_vae": SpatialVAE,
    "two_latent_vae": TwoLatentVAE,
    "vitae": VITAE,
}


def method_named(name: str) -> type[Method]:
    """Return the class of a method.

    Raises
    ------
    RecipeError
        No method has that name.
    """
    if name not in METHODS:
        raise RecipeError(f"no method is called {name}; {nearest(name, METHODS)}")
    return METHODS[name]
