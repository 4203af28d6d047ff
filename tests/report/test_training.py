from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.report import figures_of, page_of

from dualcontrast.api import Run


def test_every_part_of_the_loss_has_a_curve_and_the_best_epoch_a_ring(run: Run) -> None:
    drawn = figures_of(run.report(how="pca").path)
    epochs = [entry for entry in run.read_log() if "loss" in entry]
    for name in epochs[0]["loss"]:
        training, held_out, *_ = drawn[f"loss-1-{name}"]["data"]
        assert training["y"] == [entry["loss"][name] for entry in epochs]
        assert held_out["y"] == [entry["validation"][name] for entry in epochs]
    ring = drawn["loss-1-total"]["data"][2]
    best = min(epochs, key=lambda entry: entry["validation"]["total"])
    assert ring["x"] == [best["epoch"]]
    assert ring["y"] == [best["validation"]["total"]]


def test_numbers_of_clusters_are_drawn_with_their_prediction_strength(run: Run, tmp_path: Path) -> None:
    assert "Number of clusters" not in page_of(run.report(how="pca").path).texts["training"]
    copy = Run(shutil.copytree(run.path, tmp_path / "run"))
    tried = {"prediction_strength": {"2": 0.6, "3": 0.9}, "silhouette": {"3": 0.8}}
    copy.write_log([{"epoch": 0, "stage": 1, "clusters": 3, **tried}, *copy.read_log()])
    assert "Number of clusters" in page_of(copy.report(how="pca").path).texts["training"]
    strength, silhouette = figures_of(copy.report_path())["numbers"]["data"]
    assert (strength["x"], strength["y"]) == ([2, 3], [0.6, 0.9])
    assert (silhouette["x"], silhouette["y"]) == ([3], [0.8])
