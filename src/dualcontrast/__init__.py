"""DualContrast separates, without labels, what an image shows (content) from its state (transformation).

>>> import dualcontrast
>>> run = dualcontrast.train(images, out="runs/a")  # doctest: +SKIP
>>> codes = run.encode()  # doctest: +SKIP
>>> scores = run.evaluate()  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualcontrast.version import __version__

if TYPE_CHECKING:
    from dualcontrast.api import Run, load, open_images, show, simulate, train
    from dualcontrast.errors import DualContrastError

# Importing torch takes seconds: a public name is imported when it is first used.
_PUBLIC = {
    "DualContrastError": "dualcontrast.errors",
    "Run": "dualcontrast.api",
    "load": "dualcontrast.api",
    "open_images": "dualcontrast.api",
    "show": "dualcontrast.api",
    "simulate": "dualcontrast.api",
    "train": "dualcontrast.api",
}

__all__ = ["DualContrastError", "Run", "__version__", "load", "open_images", "show", "simulate", "train"]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dualcontrast' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
