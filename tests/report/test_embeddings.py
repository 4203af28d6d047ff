from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from tests.support.maps import untrained_run
from tests.support.report import figures_of

from dualcontrast.api import Run


def test_both_codes_are_drawn_with_labels_and_clusters(run: Run) -> None:
    drawn = figures_of(run.report(how="pca").path)["embeddings"]
    assert set(drawn["codes"]) == {"content", "transformation"}
    x = np.frombuffer(base64.b64decode(drawn["codes"]["content"]["x"]["bdata"]), "<f4")
    assert len(x) == len(drawn["rows"]) == drawn["pictured"] == 400
    colourings = {one["title"]: one for one in drawn["colourings"]}
    assert list(colourings) == ["content label", "content cluster", "transformation cluster"]
    table = run.images().table
    labels = dict(zip(table["row"], table["content"].astype(str), strict=True))
    colouring = colourings["content label"]
    numbers = np.frombuffer(base64.b64decode(colouring["numbers"]["bdata"]), "<i4")
    assert [colouring["names"][number] for number in numbers] == [labels[row] for row in drawn["rows"]]
    assert sorted(drawn["pictures"]) == list(range(400))


def test_a_layout_is_stored_and_used_again(run: Run) -> None:
    reported: list[str] = []

    def listen(what: str, done: int, total: int | None, /, **numbers: float) -> None:
        if done == 0:
            reported.append(what)

    run.report(how="tsne", limit=100, progress=listen)
    assert reported.count("laying out by t-SNE") == 2
    before = figures_of(run.report_path())["embeddings"]
    reported.clear()
    run.report(how="tsne", limit=100, progress=listen)
    assert "laying out by t-SNE" not in reported
    assert figures_of(run.report_path())["embeddings"] == before
    run.report(how="tsne", limit=90, progress=listen)
    assert reported.count("laying out by t-SNE") == 2
    assert len(figures_of(run.report_path())["embeddings"]["rows"]) == 90


def test_two_images_are_too_few_to_lay_out(tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", np.random.default_rng(0).integers(0, 255, (2, 28, 28), dtype=np.uint8))
    run = untrained_run(tmp_path / "run", tmp_path / "two.npy")
    run.encode()
    assert run.report().left_out["Embeddings"].count("2 images are too few to lay out") == 1
