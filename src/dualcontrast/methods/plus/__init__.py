"""DualContrast plus: its objective, and the parts that only it uses."""

from dualcontrast.methods.plus.dualcontrast_plus import DualContrastPlus

__all__ = ["DualContrastPlus"]
