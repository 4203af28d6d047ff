"""DualContrast plus: its objective, and the parts that only it has."""

from dualcontrast.methods.plus.dualcontrast_plus import DualContrastPlus

__all__ = ["DualContrastPlus"]
