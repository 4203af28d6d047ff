"""Every verb on a run that was trained for real."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.support.command import assert_refused, call
from tests.support.runs import DIGITS, small_run

from dualcontrast.api import Run
from dualcontrast.evaluation import swap


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("verbs") / "run", {"training": {"keep_every": 2}})


@pytest.fixture(autouse=True)
def classifier_that_learns_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "CLASSIFIER_STEPS", 20)


def is_picture(path: Path) -> bool:
    with Image.open(path) as picture:
        return bool(min(picture.size) > 100)


def test_encode_writes_the_codes_of_the_runs_own_images(run: Run) -> None:
    ended = call("encode", run.path, "--json")
    assert json.loads(ended.out) == {"codes": str(run.path / "codes"), "images": 400}
    table = pd.read_csv(run.path / "codes" / "table.csv")
    assert set(table.columns) == {"row", "split", "content"}
    codes = run.encode(device="cpu")
    for name in ("content", "transformation"):
        np.testing.assert_allclose(np.load(run.path / "codes" / f"{name}.npy"), getattr(codes, name), atol=1e-5)
    assert "encoding: 400 of 400" in ended.err


def test_encode_of_another_source_goes_into_a_folder_of_its_own(run: Run, tmp_path: Path) -> None:
    images = np.load(DIGITS)["images"][:30]
    np.save(tmp_path / "other.npy", images)
    out = tmp_path / "codes"
    assert call("encode", run.path, tmp_path / "other.npy", "--out", out, "--quiet").status == 0
    np.testing.assert_allclose(np.load(out / "content.npy"), run.encode(images, device="cpu").content, atol=1e-5)
    assert pd.read_csv(out / "table.csv")["row"].tolist() == list(range(30))
    assert_refused(call("encode", run.path, tmp_path / "other.npy"), "give one with --out")


def test_encode_takes_any_weights_that_were_kept(run: Run) -> None:
    assert call("encode", run.path, "--weights", "epoch-2", "--quiet").status == 0
    kept, best = (np.load(run.path / folder / "content.npy") for folder in ("codes-epoch-2", "codes"))
    assert not np.array_equal(kept, best)


def test_evaluate_scores_and_says_what_the_scores_mean(run: Run) -> None:
    scores = json.loads(call("evaluate", run.path, "--json").out)
    assert scores == json.loads((run.path / "scores.json").read_text())
    assert set(scores["content"]) == {"from_content", "from_transformation", "sap", "gap", "chance"}
    assert scores["transformation"] is scores["transformation_pooled"] is None
    ended = call("evaluate", run.path)
    assert "The content code predicts the content label of" in ended.out
    assert ended.out.splitlines()[-1].startswith("All scores: ")
    assert "A probe on trivial statistics of the images" in ended.out
    assert "probing: 5 of 5" in ended.err
    assert "measuring trivial statistics: 400 of 400" in ended.err


def test_transfer_draws_a_grid_and_scores_it(run: Run) -> None:
    ended = call("transfer", run.path, "--count", 4, "--json")
    told = json.loads(ended.out)
    assert told["figure"] == str(run.path / "figures" / "transfer.png")
    assert is_picture(run.path / "figures" / "transfer.png")
    assert 0 <= told["swap"]["content_kept"] <= 1
    assert json.loads((run.path / "scores.json").read_text())["swap"] == told["swap"]


@pytest.mark.parametrize(("how", "code"), [("pca", "content"), ("tsne", "transformation")])
def test_embed_draws_a_code(run: Run, how: str, code: str) -> None:
    told = json.loads(call("embed", run.path, "--how", how, "--code", code, "--json", "--limit", 60).out)
    assert told == {"figure": str(run.path / "figures" / f"embedding_{code}_{how}.png"), "images": 60}
    assert is_picture(Path(told["figure"]))


def test_embed_names_the_figure_of_the_weights_it_drew(run: Run) -> None:
    told = json.loads(call("embed", run.path, "--how", "pca", "--weights", "last", "--json").out)
    assert told["figure"].endswith("embedding_content_pca-last.png")
    assert is_picture(Path(told["figure"]))


@pytest.mark.parametrize("verb", ["encode", "evaluate", "transfer", "embed"])
def test_every_verb_can_be_silent(run: Run, verb: str) -> None:
    ended = call(verb, run.path, "--quiet", *(("--how", "pca") if verb == "embed" else ()))
    assert (ended.status, ended.out, ended.err) == (0, "", "")
