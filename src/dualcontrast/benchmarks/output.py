"""What a table or a figure leaves, and how it is told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Failed = dict[str, tuple[int, str]]  # by cell, its exit status and the sentence it ended with


@dataclass(frozen=True)
class Made(ABC):
    """What a table or a figure leaves.

    Attributes
    ----------
    rows : list of dict
        Its figures as plain values.
    files : list of Path
        Tables and pictures.
    failed : dict
        By cell, its exit status and the sentence it ended with.
    """

    rows: list[dict[str, Any]]
    files: list[Path]
    failed: Failed

    def describe(self, shortened: Callable[[Path], Path]) -> list[str]:
        """Return the main figures, and where to look."""
        return [*self.told(), *(f"Look at: {shortened(path)}" for path in self.files)]

    @abstractmethod
    def told(self) -> list[str]:
        """Return the main figures, a line each."""
