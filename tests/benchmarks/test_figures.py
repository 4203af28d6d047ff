"""What figures 5 and 6 have in common: a simulation, and cells that are trained once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.benchmarks import make_setup

from dualcontrast.benchmarks.figures import FigureRequest, run_folder, train_cells
from dualcontrast.errors import RecipeError, SourceError


def test_a_star_without_truth_is_refused(star: Path, tmp_path: Path) -> None:
    shutil.copy(star, tmp_path / "particles.star")
    with pytest.raises(SourceError, match="not the STAR file of a simulation, whose truth the figure shows"):
        FigureRequest(str(tmp_path / "particles.star")).simulation()


def test_an_unknown_identity_is_refused(star: Path) -> None:
    assert FigureRequest(str(star), identity="spike").simulation().star == star
    with pytest.raises(RecipeError, match=r"has no spikes; did you mean spike\?"):
        FigureRequest(str(star), identity="spikes").simulation()


def test_cells_are_those_of_table_1(star: Path) -> None:
    cells = FigureRequest(str(star), seed=3, budget=0.5, limit=400).cells(["harmony", "vitae"])
    assert list(cells) == ["harmony", "vitae"]
    for row, cell in cells.items():
        assert (cell.table, cell.row, cell.data, cell.seed) == ("table1", row, "subtomograms", 3)
        assert cell.recipe["training"]["minutes"] == 0.5
        assert cell.recipe["training"]["limit"] == 400
        assert cell.options == {"bin": 1}


def test_a_trained_cell_is_not_trained_again(star: Path, trained: list[str], tmp_path: Path) -> None:
    cells = list(FigureRequest(str(star), budget=0.001).cells(["simclr", "harmony"]).values())
    for expected in (["subtomograms harmony", "subtomograms simclr"], []):
        trained.clear()
        assert train_cells(cells, make_setup(tmp_path)) == []
        assert sorted(trained) == expected
    assert all(run_folder(cell, make_setup(tmp_path)).weights_path("best").is_file() for cell in cells)
