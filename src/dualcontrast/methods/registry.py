"""Look up methods by name: built-in ones, and those of other packages."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points

from dualcontrast.errors import RecipeError, nearest
from dualcontrast.methods.dualcontrast import DualContrast
from dualcontrast.methods.harmony import Harmony
from dualcontrast.methods.method import Method, MethodSettings
from dualcontrast.methods.plus import DualContrastPlus
from dualcontrast.methods.simclr import SimCLR, SimCLRGenerative
from dualcontrast.methods.spatial_vae import SpatialVAE
from dualcontrast.methods.two_latent_vae import TwoLatentVAE
from dualcontrast.methods.vitae import VITAE

NEEDED = ("forward", "encode_and_sample")  # of every method
ENTRY_POINTS = "dualcontrast.methods"  # the group in which other packages register their methods

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
    """Look up the class of a method. Of other packages, only the one requested is imported.

    Parameters
    ----------
    name
        A built-in method, an entry point of another package, or `package.module:Class`.

    Raises
    ------
    RecipeError
        The name is unknown or ambiguous, or the class cannot be imported, is not a method or lacks a part of one.
    """
    if ":" in name:
        return _complete(name, _imported(name, name))
    installed = installed_methods()
    places = installed.get(name, {})
    packages = [*(["dualcontrast"] if name in METHODS else []), *places]
    if not packages:
        raise RecipeError(f"no method is called {name}; {nearest(name, [*METHODS, *installed])}")
    if len(packages) > 1:
        raise RecipeError(
            f"several packages provide a method called {name}: {', '.join(packages)}; "
            "uninstall or rename one of them, or give package.module:Class"
        )
    return _complete(name, _imported(name, places[packages[0]]) if places else METHODS[name])


@cache
def installed_methods() -> Mapping[str, Mapping[str, str]]:
    """List the methods of other packages without importing them.

    Returns
    -------
    mapping
        By name, then by package: `package.module:Class`. Read once per process.
    """
    found: dict[str, dict[str, str]] = {}
    for point in entry_points(group=ENTRY_POINTS):
        package = point.dist.name if point.dist else point.value
        found.setdefault(point.name, {})[package] = point.value
    return found


def _imported(name: str, place: str) -> type[Method]:
    """Import `package.module:Class` and check that it is a method."""
    what = f"the method {name}" if name == place else f"the method {name} ({place})"
    if not re.fullmatch(r"[\w.]+:[\w.]+", place):
        raise RecipeError(f"{what} is not understood; write it as package.module:Class")
    try:
        method = pkgutil.resolve_name(place)
    except ModuleNotFoundError as error:
        raise RecipeError(
            f"{what} cannot be imported: no module is called {error.name}; "
            "install it, or add its folder to PYTHONPATH"
        ) from error
    except Exception as error:  # code of another package can raise anything
        reason = " ".join(str(error).split())
        raise RecipeError(f"{what} cannot be imported: {type(error).__name__}: {reason}") from error
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise RecipeError(f"{what} is not a subclass of dualcontrast.methods.Method")
    if not (isinstance(method.Settings, type) and issubclass(method.Settings, MethodSettings)):
        raise RecipeError(f"{what}: its Settings are not a subclass of dualcontrast.methods.MethodSettings")
    return method


def _complete(name: str, method: type[Method]) -> type[Method]:
    """Check that a method has what every method needs, before hours of training show that it does not."""
    missing = [part for part in NEEDED if getattr(method, part) is getattr(Method, part)]
    if missing:
        raise RecipeError(f"the method {name} does not define {' and '.join(missing)}, which every method needs")
    return method
