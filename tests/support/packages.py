"""Small packages of others, installed in a folder as pip would."""

from __future__ import annotations

from pathlib import Path

METHOD = '''
from dualcontrast.methods import Batch, Losses, Method
from dualcontrast.methods.two_latent_vae import TwoLatentVAE, TwoLatentVAESettings
from pydantic import Field


class DoubledSettings(TwoLatentVAESettings):
    name: str = "doubled"
    factor: float = Field(2.0, ge=0, description="factor on the objective")


class Doubled(TwoLatentVAE):
    """The two-latent VAE with twice its objective."""

    Settings = DoubledSettings

    def forward(self, batch: Batch, phase: str = "main") -> Losses:
        losses = super().forward(batch, phase)
        losses.weights = {part: self.settings.factor * weight for part, weight in losses.weights.items()}
        return losses


class Unsettled(Doubled):
    Settings = dict


class Demanding(Doubled):
    class Settings(DoubledSettings):
        strength: float = Field(description="no default")


NOT_A_METHOD = 3
'''


def write_package(folder: Path, name: str, code: str = METHOD, methods: dict[str, str] | None = None) -> Path:
    """Write a package of one module, and its metadata with entry points for methods; return the folder.

    Parameters
    ----------
    folder
        What goes on `sys.path`.
    name
        Of the package.
    code
        Of its module.
    methods
        Entry points, by name `package.module:Class`.
    """
    package, metadata = folder / name, folder / f"{name}-1.0.dist-info"
    package.mkdir(parents=True)
    metadata.mkdir()
    (package / "__init__.py").write_text(code)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{method} = {place}\n" for method, place in (methods or {}).items()]
    (metadata / "entry_points.txt").write_text("".join(["[dualcontrast.methods]\n", *lines]))
    return folder
