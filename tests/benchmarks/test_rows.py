from __future__ import annotations

import pytest
import torch

from dualcontrast.benchmarks import paper
from dualcontrast.benchmarks.rows import DATA, PLUS_PARTS, TABLES, select_names, table_with
from dualcontrast.errors import RecipeError
from dualcontrast.methods import METHODS

SHAPES = {"mnist": (1, 28, 28), "linemod": (3, 64, 64), "subtomograms": (1, 16, 16, 16)}
CELLS = [
    (table, data, name)
    for table, one in TABLES.items()
    for data in one.data
    for name, row in one.rows.items()
    if data not in row.no_effect
]


@pytest.mark.parametrize(("table", "data", "row"), CELLS)
def test_every_row_has_a_recipe_that_fits_each_data_set(table: str, data: str, row: str) -> None:
    recipe = TABLES[table].rows[row].recipe_for(data, {"training": {"seed": 5, "minutes": 2.0}})
    assert (recipe.training.seed, recipe.training.minutes) == (5, 2.0)
    if recipe.method.name != "vitae":  # whose deformations are computed on the CPU
        with torch.device("meta"):
            assert type(recipe.build(SHAPES[data])) is METHODS[recipe.method.name]


def test_table1_has_the_papers_rows_and_every_method() -> None:
    table = TABLES["table1"]
    for data in table.data:
        assert set(paper.TABLE1[data]) <= set(table.rows)
    assert {row.recipe_for("mnist", {}).method.name for row in table.rows.values()} == set(METHODS)


def test_a_method_of_another_package_is_a_row_of_table1_alone() -> None:
    name = "dualcontrast.methods.harmony:Harmony"  # as such a method is named
    rows = table_with("table1", (name, "simclr", "harmny")).rows
    assert list(rows) == [*TABLES["table1"].rows, name]
    assert rows[name].label == "Harmony"
    built_in, other = (rows[row].recipe_for("linemod", {}) for row in ("harmony", name))
    assert other.method.name == name
    assert other.model_copy(update={"method": built_in.method}) == built_in
    assert table_with("ablation", (name,)) == TABLES["ablation"]
    with pytest.raises(RecipeError, match="no module is called nowhere"):
        table_with("table1", ("nowhere:Method",))


def test_codes_have_the_papers_sizes() -> None:
    sizes = {data: TABLES["table1"].rows["harmony"].recipe_for(data, {}).method.content_size for data in DATA}
    assert sizes == {"mnist": 10, "linemod": 16, "subtomograms": 50}


def test_the_ablations_remove_what_they_say() -> None:
    def weights(row: str) -> list[float]:
        method = TABLES["ablation"].rows[row].recipe_for("mnist", {}).method.model_dump()
        codes = ("content", "transformation")
        return [method[f"{code}_{kind}"] for code in codes for kind in ("positive", "negative")]

    assert weights("dualcontrast") == [1, 1, 1, 1]
    assert weights("without_con_c") == [0, 0, 1, 1]
    assert weights("without_con_z") == [1, 1, 0, 0]
    assert weights("only_positive") == [1, 0, 1, 0]
    assert weights("only_negative") == [0, 1, 0, 1]


def test_each_part_of_plus_is_removed_alone() -> None:
    rows = TABLES["ablation"].rows
    whole = rows["dualcontrast_plus"].recipe_for("mnist", {})
    for part, settings in PLUS_PARTS.items():
        without = rows[f"plus_without_{part}"].recipe_for("mnist", {})
        before, after = whole.method.model_dump(), without.method.model_dump()
        assert {key for key in before if before[key] != after[key]} == set(settings)
        assert without.model_copy(update={"method": whole.method}) == whole


def test_rotation_only_has_the_views_of_the_paper_and_nothing_else_changed() -> None:
    rows = TABLES["ablation"].rows
    whole, turned, paper = (
        rows[name].recipe_for("mnist", {}) for name in ("dualcontrast_plus", "plus_rotation_only", "dualcontrast")
    )
    assert turned.views == paper.views != whole.views
    assert turned.model_copy(update={"views": whole.views}) == whole


def test_table2_has_one_view_a_row() -> None:
    rows = TABLES["table2"].rows
    assert list(rows) == list(paper.TABLE2["linemod"])
    for name, row in rows.items():
        recipe = row.recipe_for("linemod", {})
        assert recipe.method.name == "dualcontrast"
        assert [view.name for view in recipe.views] == [name]


def test_names_are_selected_in_the_order_of_the_table_and_unknown_ones_refused() -> None:
    rows = TABLES["table1"].rows
    assert select_names(("dualcontrast", "harmony"), rows, "row") == ("harmony", "dualcontrast")
    assert select_names((), rows, "row") == tuple(rows)
    with pytest.raises(RecipeError, match="no row is called harmny; did you mean harmony"):
        select_names(("harmny",), rows, "row")
