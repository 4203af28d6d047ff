import copy
import gzip
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import dualcontrast
from dualcontrast.errors import DualContrastError, RunError
from dualcontrast.evaluation import probes
from dualcontrast.evaluation.results import (
    FactorScores,
    InvarianceScores,
    ObserverScores,
    PooledCounts,
    Scores,
    ScoringProtocol,
    SwapScores,
    TransformationCounts,
    TransformationScores,
)
from dualcontrast.evaluation.scores import describe, evaluate, read_scores, read_swap
from dualcontrast.images import ImageSet
from dualcontrast.images.arrays import ArrayImages
from dualcontrast.recipe import read_recipe
from dualcontrast.runs import DataDescription, RunFolder, prepared_images

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"


def tiny_images(**columns) -> ImageSet:
    """Return 30 images of digits-like noise; every third is for testing."""
    pixels = np.random.default_rng(0).random((30, 1, 28, 28)).astype(np.float32)
    split = np.where(np.arange(30) % 3 == 0, "test", "train")
    table = pd.DataFrame({"row": np.arange(30), "split": split} | columns)
    return ArrayImages(pixels, "pixels.npy", table)


def run_on(images: ImageSet, path: Path) -> RunFolder:
    """Make a run whose weights are fresh."""
    recipe = read_recipe("mnist")
    data = DataDescription.of(prepared_images(images, None, recipe.training.seed))
    run = RunFolder(path)
    run.write_config(recipe, data, {})
    torch.manual_seed(0)
    run.save_weights(recipe.build(images.shape), "best")
    run.attach(images)
    return run


def test_evaluate_writes_what_it_returns(tmp_path):
    images = tiny_images(content=np.arange(30) // 3 % 2, transformation=np.arange(30) // 6 % 2)
    run = run_on(images, tmp_path / "run")
    scores = evaluate(run)
    stored = run.read_scores()
    assert stored == scores.to_json()
    assert read_scores(run) == scores
    assert list(stored) == [
        "content",
        "transformation",
        "transformation_pooled",
        "probes",
        "trivial_statistics",
        "ideal_observer",
        "viewpoint",
        "transformation_parts",
        "invariance",
        "swap",
        "protocol",
    ]
    assert scores.ideal_observer is None  # these images were not simulated
    assert scores.viewpoint is None  # and have no poses
    assert scores.swap is None
    assert scores.content.chance == 0.5
    assert scores.transformation is not None
    assert scores.transformation_pooled.chance < 0.5
    assert set(scores.trivial_statistics) == {"content", "transformation", "transformation_pooled"}
    assert all(0 <= accuracy <= 1 for accuracy in scores.trivial_statistics.values())
    assert all(-1 <= cosine <= 1 for cosine in scores.invariance.to_json().values())
    protocol = scores.protocol
    assert protocol.weights == "best"
    assert protocol.dualcontrast == dualcontrast.__version__
    assert (protocol.train_images, protocol.test_images, protocol.invariance_images) == (20, 10, 10)
    assert evaluate(run) == scores


def test_evaluate_without_labels_still_measures_invariance(tmp_path):
    scores = evaluate(run_on(tiny_images(), tmp_path / "run"))
    nothing = {"content": None, "transformation": None, "transformation_pooled": None}
    assert {question: scores.of(question) for question in nothing} == nothing
    assert scores.probes == scores.trivial_statistics == nothing
    assert scores.protocol.classes is None
    assert scores.invariance.content > scores.invariance.content_chance - 1
    assert "No content labels" in describe(scores)[0]


def test_evaluate_scores_the_viewpoint_where_poses_are_known(tmp_path):
    quaternions = np.random.default_rng(1).standard_normal((4, 30))
    images = tiny_images(content=np.arange(30) // 3 % 2, **{f"quat_{k}": quaternions[k] for k in range(4)})
    scores = evaluate(run_on(images, tmp_path / "run"))
    assert set(scores.viewpoint.per_object) == {"0", "1"}
    assert any("of the viewing direction of an object" in line for line in describe(scores))


def test_evaluate_names_the_run_whose_labels_cannot_be_scored(tmp_path):
    run = run_on(tiny_images(content=np.arange(30) % 2, split=["train"] * 30), tmp_path / "run")
    with pytest.raises(DualContrastError, match=r"run: there are content labels but no test images"):
        evaluate(run)
    assert run.read_scores() is None


def test_evaluate_scores_the_transformations_of_a_single_content(tmp_path):
    images = tiny_images(content=["same"] * 30, transformation=np.arange(30) // 6 % 2)
    scores = evaluate(run_on(images, tmp_path / "run"))
    assert scores.content is scores.trivial_statistics["content"] is None
    assert list(scores.transformation.by_content) == ["same"]
    lines = describe(scores)
    assert lines[0] == "The training images have fewer than two content labels, so the content is not scored."
    assert "for the transformation within each content class" in lines[5]


def test_brightness_that_tells_the_classes_shows_in_trivial_statistics(tmp_path):
    content = np.arange(30) // 3 % 2
    images = tiny_images(content=content)
    pixels = images.read(np.arange(30)).numpy() / 2 + 0.5 * content[:, None, None, None]
    scores = evaluate(run_on(ArrayImages(pixels.astype(np.float32), "pixels.npy", images.table), tmp_path / "run"))
    assert scores.trivial_statistics["content"] == 1.0


def test_a_probe_of_statistics_that_ran_out_of_steps_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(probes, "LINEAR_STEPS", 1)
    scores = evaluate(run_on(tiny_images(content=np.arange(30) // 3 % 2), tmp_path / "run"))
    named = scores.protocol.not_converged
    assert {"content.linear", "trivial_statistics.content"} <= set(named)
    assert "trivial_statistics.transformation" not in named


def test_other_weights_have_scores_of_their_own(tmp_path):
    run = run_on(tiny_images(content=np.arange(30) // 3 % 2), tmp_path / "run")
    run.save_weights(run.load_method(), "last")
    assert evaluate(run, weights="last").protocol.weights == "last"
    assert run.read_scores() is None
    assert run.read_scores("last") is not None
    with pytest.raises(RunError, match="no weights 'epoch-9'"):
        evaluate(run, weights="epoch-9")


SWAP = SwapScores(
    content_kept=0.5,
    content_of_z_source=0.25,
    transformation_kept=0.125,
    transformation_kept_chance=0.01,
    transformation_effect=0.75,
    classifier_real=1.0,
    classifier_reconstructed=0.9,
    hybrids=100,
    classes=4,
    split="test",
    seed=0,
)


def test_a_swap_score_is_kept_as_long_as_the_weights(tmp_path):
    run = run_on(tiny_images(), tmp_path / "run")
    run.write_scores({**evaluate(run).to_json(), "swap": SWAP.to_json()})
    assert read_swap(run) == evaluate(run).swap == SWAP
    assert read_scores(run).swap == SWAP

    written = run.scores_path().stat().st_mtime_ns
    os.utime(run.weights_path("best"), ns=(written + 1, written + 1))
    assert read_swap(run) is evaluate(run).swap is None


def test_the_scores_of_transfer_alone_are_a_swap_score(tmp_path):
    run = run_on(tiny_images(), tmp_path / "run")
    assert read_scores(run) is read_swap(run) is None
    run.write_scores({"swap": SWAP.to_json()})
    assert read_scores(run) is None
    assert read_swap(run) == SWAP


def test_scores_that_lack_a_key_are_damaged(tmp_path):
    run = run_on(tiny_images(), tmp_path / "run")
    stored = evaluate(run).to_json()
    for keys in (("invariance",), ("protocol", "seed")):
        damaged = copy.deepcopy(stored)
        inner = damaged[keys[0]] if len(keys) > 1 else damaged
        del inner[keys[-1]]
        run.write_scores(damaged)
        with pytest.raises(RunError, match=rf"scores\.json: damaged \({re.escape('.'.join(keys))}: .*; remove it"):
            read_scores(run)
    run.write_scores({"swap": {"hybrids": 3}})
    with pytest.raises(RunError, match=r"scores\.json: damaged \(content_kept: "):
        read_swap(run)


def idx(name: str, offset: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress((MNIST / name).read_bytes()), np.uint8, offset=offset)


@pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST is not in ../shared/data")
def test_digits_are_told_from_random_networks_better_than_by_chance(tmp_path):
    pixels = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[:1500]
    labels = idx("t10k-labels-idx1-ubyte.gz", 8)[:1500]
    table = pd.DataFrame({"row": np.arange(1500), "content": labels})
    scores = evaluate(run_on(ArrayImages(pixels, "digits", table), tmp_path / "run"))
    assert scores.protocol.test_images == 300
    assert scores.content.chance < 0.2
    for row in ("linear", "linear_standardised", "knn", "mlp"):
        accuracies = scores.probes["content"][row]
        assert min(accuracies.from_content, accuracies.from_transformation) > 0.2
    # An untrained encoder has no reason to tell digits by one code rather than the other.
    assert scores.content.sap < 0.15


# ---- sentences


def test_scores_in_words():
    scores = Scores(
        content=FactorScores(from_content=0.852, from_transformation=0.31, sap=0.542, gap=0.542, chance=0.1138),
        transformation=TransformationScores(
            from_content=0.9, from_transformation=0.52, sap=0.38, gap=-0.38, chance=0.5
        ),
        transformation_pooled=FactorScores(
            from_content=0.6, from_transformation=0.42, sap=0.18, gap=-0.18, chance=0.2
        ),
        probes={"content": {}, "transformation": {}, "transformation_pooled": {}},
        trivial_statistics={"content": 0.345, "transformation": 0.5, "transformation_pooled": 0.211},
        ideal_observer=ObserverScores(
            content=0.99, transformation=None, transformation_pooled=0.9, test_images=500
        ),
        transformation_parts={
            "conformation": {"content": {"linear": 0.4}, "transformation": {"linear": 0.8}},
            "pose": {},
        },
        invariance=InvarianceScores(
            content=0.95, content_chance=0.4, transformation=0.1, transformation_chance=0.2
        ),
        swap=SWAP,
        protocol=ScoringProtocol(
            weights="best",
            train_images=20_000,
            test_images=10_000,
            classes=3,
            transformation=TransformationCounts(content_classes=3, train_images=600, test_images=300),
            transformation_pooled=PooledCounts(classes=7, train_images=700, test_images=350),
            probe="linear",
            not_converged=[],
            seed=0,
            invariance_images=2000,
            dualcontrast="1",
        ),
    )
    lines = describe(scores)
    assert lines[0] == (
        "The content code predicts the content label of 85.2 % of 10,000 test images (chance 11.4 %): higher is "
        "better."
    )
    assert "31.0 % of 10,000 test images (chance 11.4 %): nearer to chance is better." in lines[1]
    assert "+54.2 points (SAP 0.54): the larger, the better" in lines[2]
    assert "52.0 % of 300 test images, each within its content class (chance 50.0 %)" in lines[3]
    assert "-38.0 points (SAP 0.38): the content code predicts the transformation better" in lines[5]
    assert lines[6] == (
        "Over all contents at once, with content and transformation as one of 7 labels, the transformation code "
        "predicts the label of 42.0 % and the content code that of 60.0 % of 350 test images (chance 20.0 %): a "
        "gap of -18.0 points."
    )
    assert lines[7] == (
        "A probe on trivial statistics of the images (mean, standard deviation, centre of mass, radial profile) "
        "reaches 34.5 % for the content, 50.0 % for the transformation within each content class, 21.1 % for both "
        "as one label: a score no higher than this needed no learning."
    )
    assert lines[8] == (
        "An ideal observer, who knows every template, pose and CTF, reaches 99.0 % for the content, 90.0 % for "
        "both as one label (of 500 test images): at this noise, no code can do better."
    )
    assert lines[9] == (
        "Of the transformation code, the conformation alone reaches 40.0 % for the content and 80.0 % for the "
        "transformation."
    )
    assert "0.95 (random pairs 0.40)" in lines[10]
    assert "0.10 (random pairs 0.20)" in lines[11]
    assert "100 hybrids" in lines[12]
    assert len(lines) == 15
