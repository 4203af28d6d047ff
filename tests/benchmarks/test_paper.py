from __future__ import annotations

import pytest

from dualcontrast.benchmarks.paper import TABLE1, not_comparable, paper_scores


def test_the_authors_script_is_compared_with_the_papers_method() -> None:
    for data in ("mnist", "linemod", "subtomograms"):
        scores = paper_scores("table1", data, "dualcontrast")
        assert scores is not None
        assert paper_scores("table1", data, "authors_code") == scores
    assert paper_scores("table1", "mnist", "dualcontrast_plus") is None


def test_published_sap_is_the_difference() -> None:
    """Up to the rounding of the paper; its row of subtomograms without L_con(c) differs by 0.01."""
    for data, rows in TABLE1.items():
        for name, row in rows.items():
            assert row.content_sap is not None
            difference = abs(row.content_from_content - row.content_from_transformation)
            assert difference == pytest.approx(row.content_sap, abs=0.011), (data, name)
            if row.transformation_sap is not None:
                difference = abs(row.transformation_from_transformation - row.transformation_from_content)
                assert difference == pytest.approx(row.transformation_sap, abs=0.011), (data, name)


@pytest.mark.parametrize(
    ("data", "classes", "images", "reason"),
    [
        ("mnist", 10, 70_000, ""),
        ("mnist", 10, 300, "these are 300"),
        ("linemod", 15, 15_000, ""),
        ("linemod", 5, 5_055, "15 objects, and these images have 5"),
        ("subtomograms", 3, 9_000, "not published"),
    ],
)
def test_what_can_be_compared_with_the_paper(data: str, classes: int, images: int, reason: str) -> None:
    why = not_comparable(data, classes, images)
    assert reason in why
    assert bool(why) == bool(reason)
