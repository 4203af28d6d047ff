"""The Python interface: open and show images, simulate, train, and work with trained runs."""

from dualcontrast.api.run import Run, load
from dualcontrast.api.sources import show, simulate
from dualcontrast.api.training import train
from dualcontrast.images import open_images

__all__ = ["Run", "load", "open_images", "show", "simulate", "train"]
