"""The picture of averages: central slices of each beside its Fourier shell correlations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast.cryoet.mrc import read_map
from dualcontrast.figures.drawing import PALETTE, save_figure, titled_figure
from dualcontrast.maps.averaging import THRESHOLD
from dualcontrast.maps.truth import THRESHOLD as OF_TRUTH

SIDE = 1.5  # inches of a slice


def draw_averages(folder: Path, units: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draw of each average its central slices along z, y and x, and its curves.

    Parameters
    ----------
    folder
        Where CLUSTER.mrc lie.
    units
        What CLUSTER.json holds, of each.
    path
        The PNG to write.
    title
        Stands above the figure.
    """
    figure = titled_figure(title, 3 * SIDE + 3.6, (SIDE + 0.35) * len(units))
    rows = figure.subplots(len(units), 4, squeeze=False, gridspec_kw={"width_ratios": [1, 1, 1, 2]})
    for axes, unit in zip(rows, units, strict=True):
        density = read_map(folder / f"{unit['cluster']}.mrc")[0]
        low, high = np.percentile(density, (0.1, 99.9))
        for axis, panel in enumerate(axes[:3]):
            panel.imshow(np.take(density, len(density) // 2, axis=axis), cmap="gray", vmin=low, vmax=high)
            panel.set(xticks=[], yticks=[])
            panel.set_xlabel(f"along {'zyx'[axis]}" if unit is units[-1] else "", fontsize=8)
        name = f"{unit['cluster'].replace('_', ', ')}: {unit['particles']:,} particles"
        axes[0].set_title(name, fontsize=9, loc="left", parse_math=False)
        frequency = np.arange(len(unit["fsc"])) / (unit["box"] * unit["voxel_size"])
        label = f"halves, {unit['resolution']:.0f} Å at {THRESHOLD:g}"
        axes[3].plot(frequency, unit["fsc"], color=PALETTE[0], label=label)
        axes[3].axhline(THRESHOLD, color=PALETTE[0], linewidth=0.7, linestyle=":")
        if unit["truth"]:
            best = max(unit["truth"], key=lambda state: state["correlation"])
            name = f"{best['identity']} {best['conformation']}"
            label = f"{name}, {best['resolution']:.0f} Å at {OF_TRUTH:g}"
            axes[3].plot(frequency, best["fsc"], color=PALETTE[2], label=label)
            axes[3].axhline(OF_TRUTH, color=PALETTE[2], linewidth=0.7, linestyle=":")
        axes[3].set(ylim=(-0.1, 1.05), xlim=(0, frequency[-1]))
        axes[3].set_ylabel("Fourier shell\ncorrelation", fontsize=8)
        axes[3].tick_params(labelsize=7)
        axes[3].legend(fontsize=7, framealpha=0.8, edgecolor="none", loc="lower left")
    rows[-1][3].set_xlabel("spatial frequency, 1/Å", fontsize=8)
    save_figure(figure, path)
