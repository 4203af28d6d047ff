"""The tables and commands of all averages together."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dualcontrast.files import write_text
from dualcontrast.maps.cluster_average import ClusterAverage


def write_tables(folder: Path, averages: list[ClusterAverage]) -> None:
    """Write fsc.csv, commands.txt and, where the truth is known, correlations.csv."""
    curves, comparisons = [], []
    for average in averages:
        step = 1 / (average.box * average.voxel_size)
        for between, fsc in (("halves", average.fsc), *((state.state, state.fsc) for state in average.truth)):
            curves += [
                {"cluster": average.name, "between": between, "frequency": round(k * step, 6), "fsc": value}
                for k, value in enumerate(fsc)
            ]
        comparisons += [{"cluster": average.name, **state.to_json()} for state in average.truth]
    write_text(folder / "fsc.csv", pd.DataFrame(curves).to_csv(index=False))
    if comparisons:
        table = pd.DataFrame(comparisons).drop(columns="fsc")
        write_text(folder / "correlations.csv", table.to_csv(index=False))
    commands = [
        f"# {average.name}\n" + "\n".join(average.commands or ["# by the built-in averager"])
        for average in averages
    ]
    write_text(folder / "commands.txt", "\n".join(commands) + "\n")
