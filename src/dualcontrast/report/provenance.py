"""Where a report comes from: versions, seed, data digest, and the command that makes the run again."""

from __future__ import annotations

from datetime import datetime

import torch

from dualcontrast.figures.show import counted
from dualcontrast.report.material import Material
from dualcontrast.report.section import Section
from dualcontrast.version import __version__


def section(material: Material) -> Section:
    """Return all that it takes to make the run, and the report, again."""
    data, made_by = material.config.data, material.config.made_by
    facts = [
        ("Run folder", str(material.run.path.resolve())),
        (
            "Weights",
            f"{material.weights} (lowest validation loss)" if material.weights == "best" else material.weights,
        ),
        ("Seed", str(material.recipe.training.seed)),
        ("Data digest (SHA-256)", data.digest),
        ("Trained with", _versions(made_by)),
        (
            "Trained on",
            f"{made_by.get('device', 'unknown device')}, {counted(int(made_by.get('threads', 0)), 'thread')}",
        ),
        ("Report", f"dualcontrast {__version__}, torch {torch.__version__}, {datetime.now():%Y-%m-%d %H:%M}"),
    ]
    context = {
        "facts": facts,
        "command": made_by["command"],
        "report": material.again,
        "config": material.config.to_yaml(),
    }
    return Section("provenance", "How it was made", "provenance.html", context)


def _versions(made_by: dict[str, str | int]) -> str:
    return ", ".join(f"{name} {made_by[name]}" for name in ("dualcontrast", "torch", "python") if name in made_by)
