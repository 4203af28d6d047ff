"""Provenance: versions, seed, data digest, and the command that reproduces the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import torch

from dualcontrast.figures.captions import plural
from dualcontrast.report.material import Material
from dualcontrast.report.section import Section
from dualcontrast.version import __version__


@dataclass(frozen=True)
class Content:
    """What the section shows: facts, the commands of the run and the report, and the configuration."""

    facts: list[tuple[str, str]]
    command: str
    report: str
    config: str


def section(material: Material) -> Section:
    """Show how the run and the report were made."""
    data, made_by, weights = material.config.data, material.config.made_by, material.options.weights
    facts = [
        ("Run folder", str(material.run.path.resolve())),
        (
            "Weights",
            f"{weights} (lowest validation loss)" if weights == "best" else weights,
        ),
        ("Seed", str(material.recipe.training.seed)),
        ("Data digest (SHA-256)", data.digest),
        ("Trained with", _versions(made_by)),
        (
            "Trained on",
            f"{made_by.get('device', 'unknown device')}, {plural(int(made_by.get('threads', 0)), 'thread')}",
        ),
        ("Report", f"dualcontrast {__version__}, torch {torch.__version__}, {datetime.now():%Y-%m-%d %H:%M}"),
    ]
    config = material.config.to_yaml()
    content = Content(facts, str(made_by["command"]), material.report_command, config)
    return Section("provenance", "How it was made", "provenance.html", content)


def _versions(made_by: Mapping[str, str | int]) -> str:
    return ", ".join(f"{name} {made_by[name]}" for name in ("dualcontrast", "torch", "python") if name in made_by)
