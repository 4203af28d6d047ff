"""The methods: one interface, one registry, and one module per method."""

from dualcontrast.methods.method import Batch, Codes, Losses, Method, MethodSettings, Pair
from dualcontrast.methods.registry import METHODS, installed_methods, method_named

__all__ = [
    "METHODS",
    "Batch",
    "Codes",
    "Losses",
    "Method",
    "MethodSettings",
    "Pair",
    "installed_methods",
    "method_named",
]
