"""The figure of averages: central slices of each beside its Fourier shell correlations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dualcontrast.cryoet.mrc import read_map
from dualcontrast.figures.drawing import PALETTE, save_figure
from dualcontrast.figures.volumes import titled
from dualcontrast.maps.averaging import THRESHOLD
from dualcontrast.maps.cluster_average import ClusterAverage
from dualcontrast.maps.truth import TRUTH_THRESHOLD

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE = 1.5  # inches of a slice


def draw_averages(folder: Path, averages: list[ClusterAverage], path: Path, title: str) -> None:
    """Draw the central slices of each average along z, y and x, and its curves.

    Parameters
    ----------
    folder
        Holds CLUSTER.mrc.
    averages
        Of each cluster.
    path
        The PNG to write.
    title
        Of the figure.
    """
    figure = titled(title, 3 * SIDE + 3.6, (SIDE + 0.35) * len(averages))
    rows = figure.subplots(len(averages), 4, squeeze=False, gridspec_kw={"width_ratios": [1, 1, 1, 2]})
    for axes, average in zip(rows, averages, strict=True):
        _draw_slices(axes[:3], read_map(folder / f"{average.name}.mrc")[0])
        name = f"{average.name.replace('_', ', ')}: {average.particles:,} particles"
        axes[0].set_title(name, fontsize=9, loc="left", parse_math=False)
        _draw_curves(axes[3], average)
    for axis, panel in enumerate(rows[-1][:3]):
        panel.set_xlabel(f"along {'zyx'[axis]}", fontsize=8)
    rows[-1][3].set_xlabel("spatial frequency, 1/Å", fontsize=8)
    save_figure(figure, path)


def _draw_slices(panels: list[Axes], density: np.ndarray) -> None:
    low, high = np.percentile(density, (0.1, 99.9))
    for axis, panel in enumerate(panels):
        panel.imshow(np.take(density, len(density) // 2, axis=axis), cmap="gray", vmin=low, vmax=high)
        panel.set(xticks=[], yticks=[])


def _draw_curves(panel: Axes, average: ClusterAverage) -> None:
    """Draw the correlation of the halves and that with the most similar true map, with their thresholds."""
    label = f"halves, {average.resolution:.0f} Å at {THRESHOLD:g}"
    curves = [(average.fsc, THRESHOLD, PALETTE[0], label)]
    best = average.best_match
    if best is not None:
        label = f"{best.state}, {best.resolution:.0f} Å at {TRUTH_THRESHOLD:g}"
        curves.append((best.fsc, TRUTH_THRESHOLD, PALETTE[2], label))
    for fsc, threshold, colour, label in curves:
        panel.plot(average.frequencies, fsc, color=colour, label=label)
        panel.axhline(threshold, color=colour, linewidth=0.7, linestyle=":")
    panel.set(ylim=(-0.1, 1.05), xlim=(0, average.frequencies[-1]))
    panel.set_ylabel("Fourier shell\ncorrelation", fontsize=8)
    panel.tick_params(labelsize=7)
    panel.legend(fontsize=7, framealpha=0.8, edgecolor="none", loc="lower left")
