"""The tables and commands of all averages together."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from tests.support.maps import cluster_average

from dualcontrast.maps.cluster_average import StateComparison
from dualcontrast.maps.tables import write_tables


def test_every_curve_comparison_and_command_is_listed(tmp_path: Path) -> None:
    state = StateComparison("spike", "open", 0.75, 0.9, 20.0, (1.0, 0.6, 0.3, 0.2, 0.1))
    write_tables(tmp_path, [cluster_average(1, state), cluster_average(2, state, commands=("relion x",))])
    curves = pd.read_csv(tmp_path / "fsc.csv")
    assert curves["between"].unique().tolist() == ["halves", "spike open"]
    assert curves["frequency"].tolist()[:5] == [0, 0.0125, 0.025, 0.0375, 0.05]
    comparisons = pd.read_csv(tmp_path / "correlations.csv")
    assert list(comparisons) == ["cluster", "identity", "conformation", "share", "correlation", "resolution"]
    commands = (tmp_path / "commands.txt").read_text().splitlines()
    assert commands[1] == "# by the built-in averager"
    assert commands[2:] == ["# content2_transformation1", "relion x"]


def test_without_the_truth_there_are_no_correlations(tmp_path: Path) -> None:
    write_tables(tmp_path, [cluster_average(1)])
    assert not (tmp_path / "correlations.csv").exists()
