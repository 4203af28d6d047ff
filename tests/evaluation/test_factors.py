import numpy as np
import pandas as pd
import pytest

from dualcontrast.evaluation import factors
from dualcontrast.evaluation.factors import CodeScores, probe_factor, probe_statistics, score_codes, score_parts
from dualcontrast.evaluation.probes import content_tasks, tasks_of, transformation_tasks
from dualcontrast.evaluation.results import ClassScores, CodeAccuracies, FactorScores, TransformationScores
from dualcontrast.images.arrays import ArrayImages
from dualcontrast.runs import SavedCodes

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


def scores_of(codes: SavedCodes, **options) -> CodeScores:
    return score_codes(codes, tasks_of(codes.table), **options)


def test_perfect_codes(table):
    codes = saved(code_of(table["content"], 1), code_of(table["transformation"], 2), table)
    scores = scores_of(codes)
    content, transformation = scores.content, scores.transformation
    assert content.from_content == 1.0
    assert content.from_transformation == pytest.approx(1 / 3, abs=0.12)
    assert content.chance == pytest.approx(1 / 3, abs=0.01)
    assert transformation.from_transformation == 1.0
    assert transformation.from_content == pytest.approx(1 / 2, abs=0.15)
    assert transformation.chance == pytest.approx(1 / 2, abs=0.01)
    for score in (content, transformation):
        assert score.gap == score.sap > 0.3


def test_swapped_codes_have_the_sap_of_perfect_ones_and_the_opposite_gap(table):
    content, transformation = code_of(table["content"], 1), code_of(table["transformation"], 2)
    perfect = scores_of(saved(content, transformation, table))
    swapped = scores_of(saved(transformation, content, table))
    for factor in ("content", "transformation"):
        assert getattr(swapped, factor).sap == getattr(perfect, factor).sap
        assert getattr(swapped, factor).gap == -getattr(perfect, factor).gap < 0


def test_entangled_codes_have_no_gap(table):
    both = np.hstack([code_of(table["content"], 1), code_of(table["transformation"], 2)])
    scores = scores_of(saved(both, both, table))
    for factor in ("content", "transformation"):
        assert getattr(scores, factor).from_content == getattr(scores, factor).from_transformation == 1.0
        assert getattr(scores, factor).gap == getattr(scores, factor).sap == 0.0


def test_every_probe_tells_perfect_swapped_and_entangled_codes_apart(table):
    content, transformation = code_of(table["content"], 1), code_of(table["transformation"], 2)
    both = np.hstack([content, transformation])
    perfect, swapped, entangled = (
        scores_of(saved(c, z, table)).probes
        for c, z in ((content, transformation), (transformation, content), (both, both))
    )
    other = {"content": "transformation", "transformation": "content"}
    for factor, chance in (("content", 1 / 3), ("transformation", 1 / 2)):
        for name in PROBE_NAMES:
            assert perfect[factor][name].from_code(factor) == 1.0
            assert perfect[factor][name].from_code(other[factor]) == pytest.approx(chance, abs=0.2)
            assert swapped[factor][name].from_code(other[factor]) == 1.0
            assert swapped[factor][name].from_code(factor) == pytest.approx(chance, abs=0.2)
            assert entangled[factor][name] == CodeAccuracies(from_content=1.0, from_transformation=1.0)


def test_random_codes_are_at_chance(table):
    scores = scores_of(saved(noise(480, 1), noise(480, 2), table))
    for factor in ("content", "transformation"):
        score = getattr(scores, factor)
        for code in ("content", "transformation"):
            assert abs(score.from_code(code) - score.chance) < 0.15
            assert all(abs(row.from_code(code) - score.chance) < 0.15 for row in scores.probes[factor].values())


def test_transformation_is_told_within_content_though_it_looks_otherwise_in_each():
    # In "a" the open state lies to the right, in "b" to the left: over both, no linear probe tells it.
    place = np.arange(400)
    content, state = place % 2, place // 2 % 2
    side = np.where(content == 0, 1, -1) * (2 * state - 1)
    code = side[:, None] + 0.1 * noise(400, 0)
    table = pd.DataFrame(
        {"split": np.where(place < 300, "train", "test"), "content": content, "transformation": state}
    )
    score = probe_factor("transformation", noise(400, 1), code, transformation_tasks(table))
    assert score.from_transformation == 1.0

    as_one = probe_factor("content", noise(400, 1), code, content_tasks(table.assign(content=state)))
    assert as_one.from_transformation < 0.7


def test_transformation_is_the_mean_over_content_classes_whatever_their_size():
    # Class a: 3 states of equal share, all told. Class b, four times as large: 2 states at 3 to 1, not told.
    states = np.concatenate([np.arange(60) % 3, np.where(np.arange(240) % 4 == 0, 1, 0)])
    content = np.repeat(["a", "b"], [60, 240])
    split = np.where(np.arange(300) // 12 % 2 == 0, "train", "test")
    code = np.where((content == "a")[:, None], 5 * np.eye(3)[states], 0.0)
    table = pd.DataFrame({"split": split, "content": content, "transformation": states})
    score = probe_factor("transformation", np.zeros((300, 1)), code, transformation_tasks(table))
    assert score.from_transformation == pytest.approx((1 + 0.75) / 2)
    assert score.from_content == score.chance == pytest.approx((1 / 3 + 0.75) / 2)


def test_chance_of_unbalanced_classes():
    labels = np.array([0] * 90 + [1] * 10 + [0] * 8 + [1] * 2)
    table = pd.DataFrame({"split": ["train"] * 100 + ["test"] * 10, "content": labels})
    score = probe_factor("content", np.zeros((110, 2)), np.zeros((110, 2)), content_tasks(table))
    assert score.chance == score.from_content == 0.8
    assert score.gap == 0


def test_information_in_a_tiny_direction_shows_in_the_standardised_probe_alone(table):
    content = noise(480, 3)
    content[:, 0] = 1e-4 * pd.factorize(table["content"])[0]
    content[:, 1] = 1e-4 * (content[:, 0] == 1e-4)
    rows = scores_of(saved(content, noise(480, 4), table)).probes["content"]
    assert rows["linear"].from_content < 0.5
    assert rows["linear_standardised"].from_content > 0.95


def test_latents_that_lost_the_code_show_in_their_own_probe(table):
    codes = saved(code_of(table["content"], 1), noise(480, 2), table)
    lost = SavedCodes(codes.content, codes.transformation, noise(480, 5), codes.transformation_latent, table)
    rows = scores_of(lost).probes["content"]
    assert rows["linear"].from_content == 1.0
    assert rows["linear_latent"].from_content < 0.5


def test_scores_of_every_question_and_probe(table):
    seen = []
    codes = saved(code_of(table["content"], 1), code_of(table["transformation"], 2), table)
    scores = scores_of(codes, progress=lambda *step: seen.append(step))
    for question in ("content", "transformation", "transformation_pooled"):
        score, by_probe = getattr(scores, question), scores.probes[question]
        assert set(by_probe) == PROBE_NAMES
        assert (by_probe["linear"].from_content, by_probe["linear"].from_transformation) == (
            score.from_content,
            score.from_transformation,
        )
    assert scores.not_converged == []
    assert seen[0] == ("probing", 0, 15)
    assert seen[-1] == ("probing", 15, 15)


@pytest.fixture
def pairs() -> pd.DataFrame:
    """Give 144 images of two contents in two unequal states and one in a single state, a third for testing."""
    block = [("ape", "open")] * 3 + [("ape", "closed")] + [("can", "open")] + [("can", "closed")] * 3
    block += [("cat", "open")] * 4
    table = pd.DataFrame(block * 12, columns=["content", "transformation"])
    return table.assign(row=np.arange(144), split=["train"] * 96 + ["test"] * 48)


def test_pooled_and_within_where_z_tells_the_pair_and_c_the_identity(pairs):
    together = pairs["content"] + pairs["transformation"]
    z, c = (5 * np.eye(5)[pd.factorize(labels)[0]] for labels in (together, pairs["content"]))
    scores = scores_of(SavedCodes(c, z, c, z, pairs))
    # From the identity alone, the more common pair of each: 3 + 3 + 4 of 12. The most common pair is 4 of 12.
    sixth = round(1 / 6, 4)
    assert scores.transformation_pooled == FactorScores(
        from_content=round(10 / 12, 4), from_transformation=1.0, sap=sixth, gap=sixth, chance=round(4 / 12, 4)
    )
    within = ClassScores(from_content=0.75, from_transformation=1.0, chance=0.75, test_images=16)
    assert scores.transformation == TransformationScores(
        from_content=0.75,
        from_transformation=1.0,
        sap=0.25,
        gap=0.25,
        chance=0.75,
        by_content={"ape": within, "can": within},
    )


def test_by_content_says_whose_transformation_is_told(pairs):
    ape = pairs["content"] == "ape"
    z = np.where(ape & (pairs["transformation"] == "open"), 5.0, 0.0)[:, None]
    score = scores_of(SavedCodes(z * 0, z, z * 0, z, pairs)).transformation
    assert score.from_transformation == (1 + 0.75) / 2
    assert {name: within.from_transformation for name, within in score.by_content.items()} == {
        "ape": 1.0,
        "can": 0.75,
    }


def test_pooled_codes_that_say_nothing_are_at_chance(pairs):
    pooled = scores_of(saved(np.zeros((144, 2)), np.zeros((144, 2)), pairs)).transformation_pooled
    assert pooled.from_content == pooled.from_transformation == pooled.chance == round(1 / 3, 4)
    assert pooled.gap == 0.0


def test_a_single_content_class_leaves_content_untold_and_transformation_told(table):
    table = table.assign(content="ape")
    scores = scores_of(saved(noise(480, 1), code_of(table["transformation"], 2), table))
    assert scores.content is scores.probes["content"] is None
    assert scores.transformation.from_transformation == 1.0
    assert list(scores.transformation.by_content) == ["ape"]
    assert scores.transformation_pooled.from_transformation == 1.0


def test_where_no_content_has_two_transformations_both_scores_are_null(table):
    scores = scores_of(saved(noise(480, 1), noise(480, 2), table.assign(transformation=table["content"])))
    for question in ("transformation", "transformation_pooled"):
        assert getattr(scores, question) is scores.probes[question] is None


def test_without_transformation_labels_that_factor_is_null(table):
    scores = scores_of(saved(noise(480, 1), noise(480, 2), table.drop(columns="transformation")))
    assert scores.content is not None
    assert scores.transformation is scores.probes["transformation"] is None


# ---- trivial statistics


class Read(ArrayImages):
    """Images that note which of them are read."""

    def _read(self, index: np.ndarray) -> np.ndarray:
        self.seen = [*getattr(self, "seen", []), *index.tolist()]
        return super()._read(index)


def accuracies(images: ArrayImages, table: pd.DataFrame) -> dict[str, list[float]]:
    results = probe_statistics(images, tasks_of(table), batch_size=50)
    return {question: [result.accuracy for result in asked] for question, asked in results.items()}


def test_trivial_statistics_tell_brightness_of_pictures_and_of_volumes(table):
    bright = {"ape": 0.2, "can": 0.4, "cat": 0.6}
    for spatial in ((6, 6), (5, 5, 5)):
        pixels = np.random.default_rng(0).uniform(0, 0.2, (480, 1, *spatial))
        pixels += table["content"].map(bright).to_numpy().reshape(-1, 1, *[1] * len(spatial))
        told = accuracies(ArrayImages(pixels.astype(np.float32), "pixels", table), table)
        assert told["content"] == [1.0]
        # Brightness says nothing of the state, and so the share of one in two, of 52 images within each class.
        assert len(told["transformation"]) == 3
        assert told["transformation"] == pytest.approx([0.5] * 3, abs=0.3)
        assert told["transformation_pooled"] == pytest.approx([0.5], abs=0.2)


def test_trivial_statistics_do_not_tell_classes_of_equal_statistics(table):
    # A bar that lies, one that stands, and one of either's halves: of one brightness, place and profile. One state
    # is the other inverted. Noise hides what rounding would tell a standardised probe.
    shapes = np.zeros((3, 1, 9, 9))
    shapes[0, 0, 4, 2:7] = shapes[1, 0, 2:7, 4] = 1
    shapes[2, 0, 4, 3:6] = shapes[2, 0, [2, 6], 4] = 1
    pixels = 0.2 + 0.6 * shapes[pd.factorize(table["content"])[0]]
    pixels[table["transformation"] == "open"] = 1 - pixels[table["transformation"] == "open"]
    pixels += np.random.default_rng(0).normal(0, 0.02, pixels.shape)
    told = accuracies(ArrayImages(pixels.astype(np.float32), "pixels", table), table)
    # Four standard deviations of a share of 156 images about one in three.
    assert told["content"] == pytest.approx([1 / 3], abs=4 * np.sqrt(2 / 9 / 156))
    assert told["transformation"] == [1.0] * 3


def test_statistics_are_measured_of_labelled_images_alone(table):
    labelled = table.assign(content=table["content"].where(table["row"] % 4 > 0))
    grey = table["content"].map({"ape": 0.1, "can": 0.5, "cat": 0.9}).to_numpy(np.float32)
    images = Read(np.tile(grey[:, None, None, None], (1, 1, 4, 4)), "pixels", table)
    told = accuracies(images, labelled.drop(columns="transformation"))
    assert sorted(images.seen) == [row for row in range(480) if row % 4]
    assert told == {"content": [1.0], "transformation": [], "transformation_pooled": []}


def test_without_labels_no_image_is_measured(table, monkeypatch):
    monkeypatch.setattr(factors, "statistics_of", lambda *_, **__: pytest.fail("work was done in vain"))
    images = ArrayImages(np.zeros((480, 1, 4, 4), np.float32), "pixels", table)
    told = accuracies(images, table[["row", "split"]])
    assert told == {"content": [], "transformation": [], "transformation_pooled": []}


def test_parts_of_a_code_are_scored_each_alone(table):
    code = np.hstack([code_of(table["transformation"], 2), code_of(table["content"], 1)])
    parts = score_parts(code, {"conformation": 4, "pose": 4}, tasks_of(table))
    assert list(parts) == ["conformation", "pose"]
    for kind in ("linear", "knn"):
        assert parts["conformation"]["transformation"][kind] == parts["pose"]["content"][kind] == 1.0
        assert parts["conformation"]["content"][kind] < 0.5
        assert parts["pose"]["transformation"][kind] < 0.7
    assert score_parts(code, {}, tasks_of(table)) is None
