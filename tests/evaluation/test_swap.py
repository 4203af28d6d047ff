import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from dualcontrast.errors import MethodError, SourceError
from dualcontrast.evaluation import swap
from dualcontrast.evaluation.results import SwapScores
from dualcontrast.evaluation.swap import can_swap, describe_swap, swap_score
from dualcontrast.images import ImageSet
from dualcontrast.images.arrays import ArrayImages
from dualcontrast.methods import Batch, Codes, Method

# Three shapes that fill the same box, so that the place of the box says nothing of the shape.
SHAPES = torch.tensor(
    [
        [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]],
        [[0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0]],
        [[1, 0, 0, 0, 1], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 0, 1]],
    ],
    dtype=torch.float32,
)
SIDE, PLACES = 16, 12


def painted(shapes: Tensor, places: Tensor) -> Tensor:
    """Paint shapes (B,) with their upper left corners at places (B, 2)."""
    images = torch.zeros(len(shapes), 1, SIDE, SIDE)
    for image, shape, (y, x) in zip(images, shapes, places.round().long(), strict=True):
        image[0, y : y + 5, x : x + 5] = SHAPES[shape]
    return images


def shapes_and_places(images: Tensor) -> tuple[Tensor, Tensor]:
    """Read off what `painted` was given."""
    places = torch.stack([(image[0] > 0.5).nonzero().amin(dim=0) for image in images])
    boxes = torch.stack([i[0, y : y + 5, x : x + 5] for i, (y, x) in zip(images, places, strict=True)])
    shapes = (boxes[:, None] - SHAPES).abs().sum(dim=(2, 3)).argmin(dim=1)
    return shapes, places.float()


class Perfect(Method):
    """Content is the shape and transformation the place, and both are decoded as they are."""

    def encode(self, batch: Batch) -> Codes:
        shapes, places = shapes_and_places(batch.images)
        return Codes(nn.functional.one_hot(shapes, 3).float(), places)

    def decode(self, codes: Codes) -> Tensor:
        return painted(codes.content.argmax(dim=1), codes.transformation)


class IgnoresTransformation(Perfect):
    """Every image is decoded with its shape in the middle."""

    def decode(self, codes: Codes) -> Tensor:
        return super().decode(codes._replace(transformation=torch.full_like(codes.transformation, 5)))


class IgnoresContent(Perfect):
    """Everything is in the transformation code: the place and the shape."""

    def encode(self, batch: Batch) -> Codes:
        content, transformation = super().encode(batch)
        return Codes(content, torch.cat([transformation, content], dim=1))

    def decode(self, codes: Codes) -> Tensor:
        return super().decode(Codes(codes.transformation[:, 2:], codes.transformation[:, :2]))


class Swapped(Perfect):
    """Each code holds what the other should, and the decoder knows."""

    def encode(self, batch: Batch) -> Codes:
        return Codes(*reversed(super().encode(batch)))

    def decode(self, codes: Codes) -> Tensor:
        return super().decode(Codes(*reversed(codes)))


class Random(Perfect):
    """Codes have nothing to do with the image."""

    def encode(self, batch: Batch) -> Codes:
        return Codes(torch.rand(len(batch), 3), torch.randint(PLACES, (len(batch), 2)) + torch.rand(1) / 100)


class ConstantTransformation(Perfect):
    """The transformation code says nothing."""

    def encode(self, batch: Batch) -> Codes:
        content, transformation = super().encode(batch)
        return Codes(content, torch.full_like(transformation, 5))


class NoDecoder(Perfect):
    has_decoder = False
    decode = Method.decode


def shapes_in_places(train: int = 1500, test: int = 120, **columns) -> ImageSet:
    """Make shapes in random places; those of the test images are all different."""
    rng = np.random.default_rng(0)
    spots = np.concatenate([rng.integers(PLACES**2, size=train), rng.permutation(PLACES**2)[:test]])
    shapes = rng.integers(3, size=train + test)
    places = np.stack([spots // PLACES, spots % PLACES], axis=1)
    table = {
        "row": np.arange(train + test),
        "split": ["train"] * train + ["test"] * test,
        "content": np.array(["ring", "plus", "cross"])[shapes],
    }
    images = painted(torch.from_numpy(shapes), torch.from_numpy(places).float()).numpy()
    return ArrayImages(images, "shapes", pd.DataFrame({**table, **columns}))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch) -> None:
    monkeypatch.setattr(swap, "CLASSIFIER_STEPS", 150)


def test_a_perfect_method_keeps_both():
    score = swap_score(Perfect(), shapes_in_places())
    assert score.content_kept > 0.95
    assert score.content_of_z_source < 0.05
    assert score.transformation_kept == 1.0
    assert score.transformation_kept_chance == 0.01
    assert 0.1 < score.transformation_effect < 1.1
    assert score.classifier_real > 0.95
    assert score.classifier_reconstructed == score.classifier_real
    assert score.noise_added == 0.0
    assert (score.hybrids, score.classes, score.split, score.seed) == (120, 3, "test", 0)


def test_a_decoder_that_ignores_z_keeps_content_alone():
    score = swap_score(IgnoresTransformation(), shapes_in_places())
    assert score.content_kept > 0.95
    assert score.transformation_effect == 0.0
    assert score.transformation_kept < 0.05


def test_a_decoder_that_ignores_c_shows_the_source_of_z():
    score = swap_score(IgnoresContent(), shapes_in_places())
    assert score.content_of_z_source > 0.95
    assert score.content_kept < 0.05
    assert score.transformation_effect == 1.0
    assert score.transformation_kept == 1.0


def test_swapped_codes_show_the_source_of_z_in_the_place_of_c():
    score, perfect = (swap_score(method, shapes_in_places()) for method in (Swapped(), Perfect()))
    assert score.content_of_z_source > 0.95
    assert score.content_kept < 0.05
    assert score.transformation_effect < 1  # the place comes from c, unlike where all comes from z
    assert score.classifier_reconstructed == perfect.classifier_reconstructed


def test_random_codes_score_chance():
    score = swap_score(Random(), shapes_in_places())
    # Four standard deviations of a share of 120 images about one in three, and about one in a hundred.
    assert score.content_kept == pytest.approx(1 / 3, abs=4 * np.sqrt(2 / 9 / 120))
    assert score.classifier_reconstructed == pytest.approx(1 / 3, abs=4 * np.sqrt(2 / 9 / 120))
    assert score.transformation_kept < 0.01 + 4 * np.sqrt(0.01 / 120)


def test_a_constant_code_scores_chance():
    score = swap_score(ConstantTransformation(), shapes_in_places(test=50))
    assert score.transformation_kept == score.transformation_kept_chance == 0.02
    assert score.transformation_effect == 0.0


def test_a_decoder_of_one_image_has_no_effect(monkeypatch):
    monkeypatch.setattr(Perfect, "decode", lambda self, codes: torch.ones(len(codes.content), 1, SIDE, SIDE))
    assert swap_score(Perfect(), shapes_in_places(test=20)).transformation_effect == 0.0


def test_scores_follow_the_seed_and_leave_the_random_state_alone():
    images, state = shapes_in_places(test=40), torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()
    steps = []
    first = swap_score(
        Perfect(), images, seed=1, progress=lambda what, done, total, **_: steps.append((what, done, total))
    )
    assert first == swap_score(Perfect(), images, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()
    assert SwapScores.from_json(json.loads(json.dumps(first.to_json()))) == first
    assert ("training the classifier", 150, 150) in steps
    assert steps[-1] == ("swapping codes", 40, 40)


def test_the_method_comes_back_in_its_mode():
    method = Perfect().train()
    swap_score(method, shapes_in_places(test=20))
    assert method.training


@pytest.mark.parametrize(("hybrids", "made"), [(1, 2), (2, 2), (30, 30), (500, 50)])
def test_there_are_as_many_hybrids_as_asked_for_and_as_test_images_allow(hybrids, made):
    assert swap_score(Perfect(), shapes_in_places(test=50), hybrids=hybrids).hybrids == made


def test_classes_that_were_not_trained_and_images_without_a_label_are_left_out():
    images = shapes_in_places(test=60)
    content = images.table["content"].astype(object)
    content[1510:1530] = "unheard of"
    content[1530:1540] = None
    images.table["content"] = content
    score = swap_score(Perfect(), images)
    assert (score.hybrids, score.classes) == (30, 3)
    assert score.classifier_real > 0.9


def test_without_test_images_those_for_training_serve():
    images = shapes_in_places(test=0)
    score = swap_score(Perfect(), images, hybrids=50)
    assert (score.split, score.hybrids) == ("train", 50)


@pytest.mark.parametrize(
    "content",
    [None, ["ring"] * 42, ["ring", "plus"] * 20 + ["ring"] * 2, [None] * 40 + ["ring", "plus"]],
    ids=["no labels", "one class", "one class to test", "no class to train"],
)
def test_labels_that_do_not_suffice_are_one_sentence(content):
    images = shapes_in_places(train=40, test=2)
    if content is None:
        del images.table["content"]
    else:
        images.table["content"] = content
    assert not can_swap(images)
    with pytest.raises(SourceError, match="shapes: a swap score needs content labels of at least two classes"):
        swap_score(Perfect(), images)


def test_a_method_without_a_decoder_says_so_before_any_work(monkeypatch):
    monkeypatch.setattr(swap, "trained_classifier", lambda *_, **__: pytest.fail("work was done in vain"))
    with pytest.raises(MethodError, match="NoDecoder has no decoder"):
        swap_score(NoDecoder(), shapes_in_places())


class Halves(Method):
    """Content is the mean of a volume's upper half, transformation the means of two blocks of its lower half."""

    def encode(self, batch: Batch) -> Codes:
        upper, lower = batch.images[:, 0, :4], batch.images[:, 0, 4:]
        z = torch.stack([lower[..., :4], lower[..., 4:]], dim=1).mean(dim=(2, 3, 4))
        return Codes(upper.mean(dim=(1, 2, 3))[:, None], z)

    def decode(self, codes: Codes) -> Tensor:
        made = torch.zeros(len(codes.content), 1, 8, 8, 8)
        made[:, 0, :4] = codes.content[:, :, None, None]
        made[:, 0, 4:] = codes.transformation.repeat_interleave(4, dim=1)[:, None, None]
        return made


def noisy_volumes(noise: float, size: float = 50.0) -> ImageSet:
    """Make volumes of two contents, `size` apart, in random transformations, 100 apart, and white noise."""
    rng = np.random.default_rng(0)
    content = rng.integers(2, size=120)
    codes = Codes(
        torch.from_numpy(size * content[:, None]).float(), torch.from_numpy(rng.uniform(0, 100, (120, 2))).float()
    )
    volumes = Halves().decode(codes).numpy() + rng.normal(scale=noise, size=(120, 1, 8, 8, 8))
    split = ["train"] * 90 + ["test"] * 30
    table = pd.DataFrame({"row": np.arange(120), "split": split, "content": content})
    return ArrayImages(volumes.astype(np.float32), "volumes", table)


def test_volumes_are_scored_with_the_noise_that_reconstructions_lack():
    score = swap_score(Halves(), noisy_volumes(noise=2.0))
    assert score.classifier_real == score.classifier_reconstructed == score.content_kept == 1.0
    assert score.content_of_z_source == 0.0
    # An encoding anew differs by the noise's mean over 128 voxels, 0.2: z_j is nearest but for a few.
    assert score.transformation_kept > 0.9
    # Three means take up 3 of 512 values, and so much of the noise.
    assert score.noise_added == pytest.approx(2.0 * np.sqrt(1 - 3 / 512), rel=0.02)
    told = f"of reconstructions with noise of standard deviation {score.noise_added:.3g} added.)"
    assert told in " ".join(describe_swap(score))
    assert score == swap_score(Halves(), noisy_volumes(noise=2.0))


def test_volumes_without_noise_get_none():
    score = swap_score(Halves(), noisy_volumes(noise=0.0))
    assert score.noise_added == pytest.approx(0, abs=1e-3)
    assert score.transformation_kept == 1.0


def test_noise_is_the_standard_deviation_of_all_residuals(monkeypatch):
    monkeypatch.setattr(swap, "BATCH", 7)
    images = noisy_volumes(noise=3.0)

    class Biased(Halves):
        def decode(self, codes: Codes) -> Tensor:
            return super().decode(codes) - 5 - codes.content[:, :, None, None, None] / 10

    classifier = nn.Sequential(nn.Flatten(), nn.Linear(512, 2))
    with torch.no_grad():
        codes, _, noise = swap._encode_and_classify(Biased(), classifier, images, "cpu", lambda *_, **__: None)
        volumes = images.read(np.arange(120))
        residuals = volumes - Biased().decode(Halves().encode(Batch.of(volumes)))
    torch.testing.assert_close(codes, Halves().encode(Batch.of(volumes)))
    assert noise == pytest.approx(np.std(residuals.numpy().astype(float)), rel=1e-5)
    assert noise > 3.5  # what differs from image to image counts, what is common to all does not
    assert abs(residuals.mean()) > 5


def test_classifier_and_encoder_see_noise_that_the_effect_of_z_is_free_of():
    images, looked, encoded = noisy_volumes(noise=2.0), [], []

    class Classifier(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            looked.append(images)
            return images.flatten(1)[:, :2]

    class Watched(Halves):
        def encode(self, batch: Batch) -> Codes:
            encoded.append(batch.images)
            return super().encode(batch)

    other = (np.arange(30) + 7) % 30
    torch.manual_seed(0)
    shown = images.select(np.arange(30))
    classified = swap._decode_and_classify(
        Watched(), Classifier(), shown, other, device="cpu", progress=lambda *_, **__: None
    )
    c, z = Halves().encode(Batch.of(shown.read(np.arange(30))))
    clean, hybrids = Halves().decode(Codes(c, z)), Halves().decode(Codes(c, z[other]))
    (_, reconstructed, hybrid), (_, again) = looked, encoded
    added = torch.stack([reconstructed - clean, hybrid - hybrids])
    assert float(added.std()) == pytest.approx(classified.noise, rel=0.03)
    assert float(added.mean()) == pytest.approx(0, abs=0.1)
    # White: no two neighbours, and no two draws, have anything in common.
    assert float((added[..., 1:] * added[..., :-1]).mean()) == pytest.approx(0, abs=0.1)
    assert float((added[0] * added[1]).mean()) == pytest.approx(0, abs=0.2)
    assert torch.equal(hybrid, again)
    np.testing.assert_allclose(classified.change, (hybrids - clean).square().mean(dim=(1, 2, 3, 4)), rtol=1e-4)
    np.testing.assert_allclose(
        classified.distance, (clean[other] - clean).square().mean(dim=(1, 2, 3, 4)), rtol=1e-4
    )


def test_the_score_in_sentences():
    told = " ".join(describe_swap(swap_score(Perfect(), shapes_in_places(), hybrids=50)))
    assert "50 hybrids" in told
    assert "of reconstructions.)" in told
    assert "100.0 % keep the transformation of their transformation image (chance 2.0 %)" in told


class Linear(Method):
    """Codes and images of random linear maps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.to_codes, self.to_images = nn.Linear(16, 5), nn.Linear(5, 16)

    def encode(self, batch: Batch) -> Codes:
        return Codes(*self.to_codes(batch.images.flatten(1)).split([2, 3], dim=1))

    def decode(self, codes: Codes) -> Tensor:
        return self.to_images(torch.cat(codes, dim=1)).reshape(-1, 1, 4, 4)


@torch.no_grad()
def test_judgements_are_those_of_a_slow_loop(monkeypatch):
    monkeypatch.setattr(swap, "BATCH", 4)
    monkeypatch.setattr(swap, "CANDIDATES", 6)
    rng = np.random.default_rng(0)
    n = 11
    pixels = rng.random((n, 1, 4, 4)).astype(np.float32)
    images = ArrayImages(pixels, "pixels", pd.DataFrame({"row": np.arange(n)}))
    other = (np.arange(n) + rng.integers(1, n, size=n)) % n
    method, classifier = Linear(), nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    classified = swap._decode_and_classify(
        method, classifier, images, other, device="cpu", progress=lambda *_, **__: None
    )

    def decoded(i: int, j: int) -> Tensor:
        return method.decode(Codes(codes[i].content, codes[j].transformation))

    codes = [method.encode(Batch.of(torch.from_numpy(pixels[i : i + 1]))) for i in range(n)]
    assert classified.noise == 0.0
    for i, j in enumerate(other.tolist()):
        assert classified.real_class[i] == classifier(torch.from_numpy(pixels[i : i + 1])).argmax()
        assert classified.hybrid_class[i] == classifier(decoded(i, j)).argmax()
        assert classified.reconstructed_class[i] == classifier(decoded(i, i)).argmax()
        assert classified.change[i] == pytest.approx(
            float(((decoded(i, j) - decoded(i, i)) ** 2).mean()), rel=1e-4
        )
        assert classified.distance[i] == pytest.approx(
            float(((decoded(j, j) - decoded(i, i)) ** 2).mean()), rel=1e-4
        )
        z = method.encode(Batch.of(decoded(i, j))).transformation
        distances = [float((z - codes[(j + k) % n].transformation).norm()) for k in range(6)]
        assert classified.nearest[i] == (np.argmin(distances) == 0)


def test_a_tie_counts_in_part():
    candidates = torch.tensor([[[1.0], [1.0], [4.0]], [[5.0], [1.0], [1.0]], [[1.0], [2.0], [3.0]]])
    np.testing.assert_array_equal(swap._first_is_nearest(torch.ones(3, 1), candidates), [0.5, 0.0, 1.0])


def test_others_are_of_another_class_each_with_equal_chance():
    rng = np.random.default_rng(0)
    classes = np.array([2, 0, 1, 0, 2, 2, 7])
    counts = np.zeros((7, 7))
    for _ in range(4000):
        counts[np.arange(7), swap._partners(classes, rng)] += 1
    allowed = classes[:, None] != classes[None]
    assert (counts[~allowed] == 0).all()
    np.testing.assert_allclose(counts / 4000, allowed / allowed.sum(axis=1, keepdims=True), atol=0.03)


def test_a_small_pool_has_two_classes_and_no_image_twice():
    classes = np.array([0] * 99 + [1])
    labels = swap._Labels(classes, 2, np.arange(100), np.arange(100), "test")
    for seed in range(20):
        pool = swap._pool(labels, 5, np.random.default_rng(seed))
        assert len(set(pool.tolist())) == 5
        assert 99 in pool
