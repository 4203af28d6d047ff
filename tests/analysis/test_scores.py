import gzip
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import dualcontrast
from dualcontrast.analysis.probes import content_tasks, transformation_tasks
from dualcontrast.analysis.scores import describe, evaluate, score_codes, score_factor
from dualcontrast.errors import DualContrastError, RunError
from dualcontrast.files import write_json
from dualcontrast.images import ImageSet
from dualcontrast.images.arrays import ArrayImages
from dualcontrast.runs import RunFolder, SavedCodes, prepared_images
from dualcontrast.training.recipe import read_recipe

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"
PROBE_NAMES = {"linear", "linear_standardised", "linear_latent", "knn", "mlp"}


@pytest.fixture
def table() -> pd.DataFrame:
    """Give 480 images of three contents in two states each, a third of them for testing."""
    place = np.arange(480)
    return pd.DataFrame(
        {
            "row": place,
            "split": np.where(place // 6 % 3 == 2, "test", "train"),
            "content": np.array(["ape", "can", "cat"])[place % 3],
            "transformation": np.array(["open", "closed"])[place // 3 % 2],
        }
    )


def code_of(labels: pd.Series, seed: int) -> np.ndarray:
    """Return codes (N, 4) that tell the labels and nothing else."""
    random = np.random.default_rng(seed)
    numbers = pd.factorize(labels)[0]
    return 3 * np.eye(4)[numbers] + 0.3 * random.standard_normal((len(labels), 4))


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 4))


def saved(content: np.ndarray, transformation: np.ndarray, table: pd.DataFrame) -> SavedCodes:
    random = np.random.default_rng(9)
    latents = [code + 0.1 * random.standard_normal(code.shape) for code in (content, transformation)]
    return SavedCodes(content, transformation, *latents, table)


def test_perfect_codes(table):
    codes = saved(code_of(table["content"], 1), code_of(table["transformation"], 2), table)
    scores = score_codes(codes)
    content, transformation = scores["content"], scores["transformation"]
    assert content["from_content"] == 1.0
    assert content["from_transformation"] == pytest.approx(1 / 3, abs=0.12)
    assert content["chance"] == pytest.approx(1 / 3, abs=0.01)
    assert transformation["from_transformation"] == 1.0
    assert transformation["from_content"] == pytest.approx(1 / 2, abs=0.15)
    assert transformation["chance"] == pytest.approx(1 / 2, abs=0.01)
    for score in (content, transformation):
        assert score["gap"] == score["sap"] > 0.3


def test_swapped_codes_have_the_sap_of_perfect_ones_and_the_opposite_gap(table):
    content, transformation = code_of(table["content"], 1), code_of(table["transformation"], 2)
    perfect = score_codes(saved(content, transformation, table))
    swapped = score_codes(saved(transformation, content, table))
    for factor in ("content", "transformation"):
        assert swapped[factor]["sap"] == perfect[factor]["sap"]
        assert swapped[factor]["gap"] == -perfect[factor]["gap"] < 0


def test_entangled_codes_have_no_gap(table):
    both = np.hstack([code_of(table["content"], 1), code_of(table["transformation"], 2)])
    scores = score_codes(saved(both, both, table))
    for factor in ("content", "transformation"):
        assert scores[factor]["from_content"] == scores[factor]["from_transformation"] == 1.0
        assert scores[factor]["gap"] == scores[factor]["sap"] == 0.0


def test_random_codes_are_at_chance(table):
    scores = score_codes(saved(noise(480, 1), noise(480, 2), table))
    for factor in ("content", "transformation"):
        score = scores[factor]
        for code in ("from_content", "from_transformation"):
            assert abs(score[code] - score["chance"]) < 0.15
            assert all(abs(row[code] - score["chance"]) < 0.15 for row in scores["probes"][factor].values())


def test_transformation_is_told_within_content_though_it_looks_otherwise_in_each():
    # In "a" the open state lies to the right, in "b" to the left: over both, no linear probe tells it.
    place = np.arange(400)
    content, state = place % 2, place // 2 % 2
    side = np.where(content == 0, 1, -1) * (2 * state - 1)
    code = side[:, None] + 0.1 * noise(400, 0)
    table = pd.DataFrame(
        {"split": np.where(place < 300, "train", "test"), "content": content, "transformation": state}
    )
    score = score_factor("transformation", noise(400, 1), code, transformation_tasks(table))
    assert score.from_transformation == 1.0

    as_one = score_factor("content", noise(400, 1), code, content_tasks(table.assign(content=state)))
    assert as_one.from_transformation < 0.7


def test_transformation_is_the_mean_over_content_classes_whatever_their_size():
    # Class a: 3 states of equal share, all told. Class b, four times as large: 2 states at 3 to 1, not told.
    states = np.concatenate([np.arange(60) % 3, np.where(np.arange(240) % 4 == 0, 1, 0)])
    content = np.repeat(["a", "b"], [60, 240])
    split = np.where(np.arange(300) // 12 % 2 == 0, "train", "test")
    code = np.where((content == "a")[:, None], 5 * np.eye(3)[states], 0.0)
    table = pd.DataFrame({"split": split, "content": content, "transformation": states})
    score = score_factor("transformation", np.zeros((300, 1)), code, transformation_tasks(table))
    assert score.from_transformation == pytest.approx((1 + 0.75) / 2)
    assert score.from_content == score.chance == pytest.approx((1 / 3 + 0.75) / 2)


def test_chance_of_unbalanced_classes():
    labels = np.array([0] * 90 + [1] * 10 + [0] * 8 + [1] * 2)
    table = pd.DataFrame({"split": ["train"] * 100 + ["test"] * 10, "content": labels})
    score = score_factor("content", np.zeros((110, 2)), np.zeros((110, 2)), content_tasks(table))
    assert score.chance == score.from_content == 0.8
    assert score.gap == 0


def test_information_in_a_tiny_direction_shows_in_the_standardised_probe_alone(table):
    content = noise(480, 3)
    content[:, 0] = 1e-4 * pd.factorize(table["content"])[0]
    content[:, 1] = 1e-4 * (content[:, 0] == 1e-4)
    rows = score_codes(saved(content, noise(480, 4), table))["probes"]["content"]
    assert rows["linear"]["from_content"] < 0.5
    assert rows["linear_standardised"]["from_content"] > 0.95


def test_latents_that_lost_the_code_show_in_their_own_probe(table):
    codes = saved(code_of(table["content"], 1), noise(480, 2), table)
    lost = SavedCodes(codes.content, codes.transformation, noise(480, 5), codes.transformation_latent, table)
    rows = score_codes(lost)["probes"]["content"]
    assert rows["linear"]["from_content"] == 1.0
    assert rows["linear_latent"]["from_content"] < 0.5


def test_the_dictionary_of_scores(table):
    told = []
    codes = saved(code_of(table["content"], 1), code_of(table["transformation"], 2), table)
    scores = score_codes(codes, progress=lambda *seen: told.append(seen))
    for factor in ("content", "transformation"):
        assert set(scores[factor]) == {"from_content", "from_transformation", "sap", "gap", "chance"}
        assert set(scores["probes"][factor]) == PROBE_NAMES
        linear = scores["probes"][factor]["linear"]
        assert linear == {key: scores[factor][key] for key in ("from_content", "from_transformation")}
    protocol = scores["protocol"]
    assert (protocol["train_images"], protocol["test_images"], protocol["classes"]) == (324, 156, 3)
    assert protocol["transformation"] == {"content_classes": 3, "train_images": 324, "test_images": 156}
    assert protocol["not_converged"] == []
    assert json.loads(json.dumps(scores)) == scores
    assert told[0] == ("probing", 0, 10)
    assert told[-1] == ("probing", 10, 10)


def test_without_transformation_labels_that_factor_is_null(table):
    scores = score_codes(saved(noise(480, 1), noise(480, 2), table.drop(columns="transformation")))
    assert scores["content"] is not None
    assert scores["transformation"] is scores["probes"]["transformation"] is None
    assert scores["protocol"]["transformation"] is None


# ---- whole runs


def tiny_images(**columns) -> ImageSet:
    """Return 30 images of digits-like noise; every third is for testing."""
    pixels = np.random.default_rng(0).random((30, 1, 28, 28)).astype(np.float32)
    split = np.where(np.arange(30) % 3 == 0, "test", "train")
    table = pd.DataFrame({"row": np.arange(30), "split": split} | columns)
    return ArrayImages(pixels, "pixels.npy", table)


def run_on(images: ImageSet, path: Path) -> RunFolder:
    """Make a run whose weights are fresh."""
    recipe = read_recipe("mnist")
    digest = prepared_images(images, None, recipe.training.seed).digest()
    run = RunFolder(path)
    run.write_config(recipe, {"source": None, "options": {}, "digest": digest, "shape": images.shape}, {})
    torch.manual_seed(0)
    run.save_weights(recipe.build(images.shape), "best")
    run.attach(images)
    return run


def test_evaluate_writes_what_it_returns(tmp_path):
    images = tiny_images(content=np.arange(30) // 3 % 2, transformation=np.arange(30) // 6 % 2)
    run = run_on(images, tmp_path / "run")
    scores = evaluate(run)
    assert run.read_scores() == scores
    assert list(scores) == ["content", "transformation", "probes", "invariance", "swap", "protocol"]
    assert scores["swap"] is None
    assert scores["content"]["chance"] == 0.5
    assert scores["transformation"] is not None
    assert set(scores["invariance"]) == {
        "content",
        "content_chance",
        "transformation",
        "transformation_chance",
    }
    assert all(-1 <= figure <= 1 for figure in scores["invariance"].values())
    protocol = scores["protocol"]
    assert protocol["weights"] == "best"
    assert protocol["dualcontrast"] == dualcontrast.__version__
    assert (protocol["train_images"], protocol["test_images"], protocol["invariance_images"]) == (20, 10, 10)
    assert evaluate(run) == scores


def test_evaluate_without_labels_still_measures_invariance(tmp_path):
    scores = evaluate(run_on(tiny_images(), tmp_path / "run"))
    assert scores["content"] is scores["transformation"] is None
    assert scores["probes"] == {"content": None, "transformation": None}
    assert scores["protocol"]["classes"] is None
    assert scores["invariance"]["content"] > scores["invariance"]["content_chance"] - 1
    assert "No content labels" in describe(scores)[0]


def test_evaluate_names_the_run_whose_labels_cannot_be_scored(tmp_path):
    run = run_on(tiny_images(content=["same"] * 30), tmp_path / "run")
    with pytest.raises(DualContrastError, match=r"run: scoring needs at least two classes"):
        evaluate(run)
    assert run.read_scores() is None


def test_other_weights_have_scores_of_their_own(tmp_path):
    run = run_on(tiny_images(content=np.arange(30) // 3 % 2), tmp_path / "run")
    run.save_weights(run.load_method(), "last")
    assert evaluate(run, weights="last")["protocol"]["weights"] == "last"
    assert run.read_scores() is None
    assert run.read_scores("last") is not None
    with pytest.raises(RunError, match="no weights 'epoch-9'"):
        evaluate(run, weights="epoch-9")


def test_a_swap_score_is_kept_as_long_as_the_weights(tmp_path):
    run = run_on(tiny_images(), tmp_path / "run")
    swap = {"content_kept": 0.5}
    write_json(run.scores_path(), {**evaluate(run), "swap": swap})
    assert evaluate(run)["swap"] == swap
    assert run.read_scores()["swap"] == swap

    written = run.scores_path().stat().st_mtime_ns
    os.utime(run.weights_path("best"), ns=(written + 1, written + 1))
    assert evaluate(run)["swap"] is None


def idx(name: str, offset: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress((MNIST / name).read_bytes()), np.uint8, offset=offset)


@pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST is not in ../shared/data")
def test_digits_are_told_from_random_networks_better_than_by_chance(tmp_path):
    pixels = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[:1500]
    labels = idx("t10k-labels-idx1-ubyte.gz", 8)[:1500]
    table = pd.DataFrame({"row": np.arange(1500), "content": labels})
    scores = evaluate(run_on(ArrayImages(pixels, "digits", table), tmp_path / "run"))
    assert scores["protocol"]["test_images"] == 300
    assert scores["content"]["chance"] < 0.2
    for row in ("linear", "linear_standardised", "knn", "mlp"):
        assert min(scores["probes"]["content"][row].values()) > 0.2
    # An untrained encoder has no reason to tell digits by one code rather than the other.
    assert scores["content"]["sap"] < 0.15


# ---- sentences


def test_scores_in_words():
    scores = {
        "content": {
            "from_content": 0.852,
            "from_transformation": 0.31,
            "sap": 0.542,
            "gap": 0.542,
            "chance": 0.1138,
        },
        "transformation": {
            "from_content": 0.9,
            "from_transformation": 0.52,
            "sap": 0.38,
            "gap": -0.38,
            "chance": 0.5,
        },
        "invariance": {
            "content": 0.95,
            "content_chance": 0.4,
            "transformation": 0.1,
            "transformation_chance": 0.2,
        },
        "protocol": {"test_images": 10_000, "transformation": {"content_classes": 3, "test_images": 300}},
    }
    lines = describe(scores)
    assert lines[0] == (
        "The content code names the content label right in 85.2 % of 10,000 test images (chance 11.4 %): "
        "higher is better."
    )
    assert "31.0 % of 10,000 test images (chance 11.4 %): nearer to chance is better." in lines[1]
    assert "+54.2 points (SAP 0.54): the larger, the better" in lines[2]
    assert "52.0 % of 300 test images, each within its content class (chance 50.0 %)" in lines[3]
    assert "-38.0 points (SAP 0.38): the content code tells the transformation better" in lines[5]
    assert "0.95 (random pairs 0.40)" in lines[6]
    assert "0.10 (random pairs 0.20)" in lines[7]
    assert len(lines) == 8
