import numpy as np
import pandas as pd
import pytest

from dualcontrast.errors import DualContrastError
from dualcontrast.evaluation import probes
from dualcontrast.evaluation.probes import (
    PROBES,
    Task,
    content_tasks,
    pooled_tasks,
    probe,
    tasks_of,
    transformation_tasks,
)


def blobs(count: int = 200, classes: int = 4, size: int = 3, noise: float = 0.3, seed: int = 0):
    """Codes that lie about one centre a class, and a task with every second image for testing."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) // 2 % classes  # a pair of neighbours shares a label: one trains, one tests
    centres = 3 * random.standard_normal((classes, size))
    codes = (centres[labels] + noise * random.standard_normal((count, size))).astype(np.float32)
    return codes, Task(labels, np.arange(0, count, 2), np.arange(1, count, 2))


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_tells_classes_that_lie_apart(name):
    codes, task = blobs()
    result = probe(name, codes, task)
    assert result.accuracy > 0.95
    assert (result.train_images, result.test_images) == (100, 100)


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_is_at_chance_on_random_codes(name):
    _, task = blobs(count=2000)
    codes = np.random.default_rng(1).standard_normal((2000, 3)).astype(np.float32)
    # Five standard deviations of a share of 1,000 images about one in four.
    assert abs(probe(name, codes, task).accuracy - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 1000)


def test_linear_finds_the_optimum_of_the_penalised_likelihood():
    from scipy.optimize import minimize

    codes, task = blobs(count=60, classes=2, size=2, noise=3.0, seed=1)
    train, signs = codes[task.train].astype(float), 2.0 * task.labels[task.train] - 1

    def objective(parameters):
        margins = signs * (train @ parameters[:2] + parameters[2])
        return np.logaddexp(0, -margins).sum() + 0.5 * np.sum(parameters[:2] ** 2)

    best = minimize(objective, np.zeros(3)).x
    told = codes[task.test] @ best[:2] + best[2] > 0
    expected = np.mean(told == task.labels[task.test])
    assert 0.5 < expected < 1
    assert probe("linear", codes, task).accuracy == pytest.approx(expected)


def test_knn_is_the_vote_of_the_ten_nearest_unscaled_codes():
    codes, task = blobs(count=300, classes=2, noise=4.0)
    codes[:, 0] *= 20
    told = []
    for code in codes[task.test]:
        nearest = np.argsort(np.square(codes[task.train] - code).sum(axis=1))[:10]
        told.append(np.argmax(np.bincount(task.labels[task.train][nearest])))
    expected = np.mean(np.array(told) == task.labels[task.test])
    assert 0.5 < expected < 1
    assert probe("knn", codes, task).accuracy == pytest.approx(expected)


def test_linear_does_not_see_a_tiny_direction_and_standardising_does():
    random = np.random.default_rng(0)
    labels = np.arange(400) % 2
    codes = random.standard_normal((400, 4))
    codes[:, 0] = 1e-4 * (2 * labels - 1)
    task = Task(labels, np.arange(300), np.arange(300, 400))
    assert probe("linear", codes, task).accuracy < 0.7
    assert probe("linear_standardised", codes, task).accuracy == 1.0


def test_a_test_class_that_no_training_image_has_counts_as_wrong():
    codes, task = blobs(classes=4)
    without_one = Task(task.labels, task.train[task.labels[task.train] != 3], task.test)
    assert probe("linear", codes, without_one).accuracy == pytest.approx(0.75, abs=0.02)
    assert without_one.chance() == 0.25


def test_a_fit_that_runs_out_of_steps_says_so(monkeypatch):
    codes, task = blobs()
    assert probe("linear", codes, task).converged
    monkeypatch.setattr(probes, "LINEAR_STEPS", 1)
    assert not probe("linear", codes, task).converged


@pytest.mark.parametrize("name", ["knn", "mlp"])
def test_large_training_sets_are_drawn_from_by_seed_and_class_share(name, monkeypatch):
    monkeypatch.setitem(probes.FIT_AT_MOST, name, 40)
    codes, task = blobs(count=400, classes=4)
    result = probe(name, codes, task, seed=3)
    assert (result.train_images, result.test_images) == (40, 200)
    assert result == probe(name, codes, task, seed=3)

    drawn = probes._training_subset(task, 40, 3)
    assert len(set(drawn)) == 40
    assert set(drawn) <= set(task.train)
    assert np.bincount(task.labels[drawn]).tolist() == [10, 10, 10, 10]
    assert set(drawn) != set(probes._training_subset(task, 40, 4))


def test_the_mlp_tells_what_no_line_tells_from_few_images():
    # The classes lie on two rings, one within the other.
    random = np.random.default_rng(0)
    labels, angles = np.arange(300) % 2, random.uniform(0, 2 * np.pi, 300)
    radii = 1 + labels + 0.1 * random.standard_normal(300)
    codes = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    task = Task(labels, np.arange(150), np.arange(150, 300))
    assert probe("linear", codes, task).accuracy < 0.7
    assert probe("mlp", codes, task).accuracy > 0.95


def test_a_draw_keeps_a_class_of_one_image():
    labels = np.array([0] * 99 + [1])
    drawn = probes._training_subset(Task(labels, np.arange(100), np.arange(0)), 10, 0)
    assert set(labels[drawn]) == {0, 1}


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("counts", [(1, 1), (1, 5), (2, 2), (1, 30), (9, 10, 11)])
def test_probes_fit_few_images(name, counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    codes = np.eye(len(counts))[labels]
    everything = np.arange(len(labels))
    assert 0 < probe(name, codes, Task(labels, everything, everything)).accuracy <= 1


def test_the_mlp_follows_its_seed():
    codes, task = blobs(noise=3.0)
    first = [probe("mlp", codes, task, seed=seed).accuracy for seed in range(4)]
    assert first == [probe("mlp", codes, task, seed=seed).accuracy for seed in range(4)]
    assert len(set(first)) > 1


def test_an_unknown_probe_is_refused():
    codes, task = blobs()
    with pytest.raises(ValueError, match="no probe is called svm; known are linear"):
        probe("svm", codes, task)


def test_chance_is_the_most_common_training_class_measured_on_the_test_images():
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    task = Task(labels, train=np.arange(4), test=np.arange(4, 8))
    assert task.chance() == 0.25  # the training images are mostly 0, the test images mostly 1


# ---- tasks of a table


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame({"row": np.arange(len(columns["split"])), **columns})


def test_the_content_task_leaves_out_images_without_a_label():
    (task,) = content_tasks(table(split=["train"] * 4 + ["test"] * 2, content=["a", None, "b", "a", None, "b"]))
    assert task.train.tolist() == [0, 2, 3]
    assert task.test.tolist() == [5]
    assert task.labels[0] == task.labels[3] != task.labels[2] == task.labels[5]


@pytest.mark.parametrize("content", [None, [None, None], [np.nan, np.nan]])
def test_no_labels_are_no_task(content):
    columns = {"split": ["train", "test"]} | ({} if content is None else {"content": content})
    tasks = tasks_of(table(**columns, transformation=[0, 1]))
    assert tasks == {"content": [], "transformation": [], "transformation_pooled": []}


def test_labels_without_a_test_image_are_refused():
    with pytest.raises(DualContrastError, match="no test images to score on; mark some"):
        tasks_of(table(split=["train"] * 3, content=[0, 1, 0]))


@pytest.mark.parametrize("split", [["train", "train", "test"], ["test"] * 3])
def test_fewer_than_two_classes_to_train_on_are_no_content_task(split):
    assert content_tasks(table(split=split, content=["a", "a", "b"])) == []


def test_a_single_content_class_leaves_its_transformations_to_tell():
    tasks = tasks_of(
        table(split=["train", "train", "test"], content=["a"] * 3, transformation=["open", "closed", "open"])
    )
    assert tasks["content"] == []
    (within,), (pooled,) = tasks["transformation"], tasks["transformation_pooled"]
    for task in (within, pooled):
        assert (task.train.tolist(), task.test.tolist()) == ([0, 1], [2])
        assert task.labels[0] == task.labels[2] != task.labels[1]


def test_transformation_is_told_within_each_content_class():
    tasks = transformation_tasks(
        table(
            split=["train", "train", "test"] * 2,
            content=["a", "a", "a", "b", "b", "b"],
            transformation=["open", "closed", "open"] * 2,
        )
    )
    assert [(task.content_class, task.train.tolist(), task.test.tolist()) for task in tasks] == [
        ("a", [0, 1], [2]),
        ("b", [3, 4], [5]),
    ]


def test_pooled_each_pair_of_content_and_transformation_is_one_label():
    content = ["a", "a", "b", "b", "c", "c", "a", None, "a", "c"]
    transformation = ["open", "closed", "open", "closed", "open", "open", "closed", "open", None, "open"]
    (task,) = pooled_tasks(
        table(split=["train"] * 5 + ["test"] * 5, content=content, transformation=transformation)
    )
    assert (task.train.tolist(), task.test.tolist()) == ([0, 1, 2, 3, 4], [5, 6, 9])
    for i in (0, 1, 2, 3, 4, 5, 6, 9):
        for j in (0, 1, 2, 3, 4, 5, 6, 9):
            same = (content[i], transformation[i]) == (content[j], transformation[j])
            assert (task.labels[i] == task.labels[j]) == same


@pytest.mark.parametrize(
    ("split", "transformation"),
    [
        (["train", "train", "test"], ["open", "open", "open"]),  # one transformation
        (["train", "train", "test"], ["open", "open", "closed"]),  # one to train on
        (["train", "train", "train"], ["open", "closed", "open"]),  # none to test on
        (["train", "train", "test"], ["open", "closed", "bound"]),  # a transformation never trained on
        (["train", "train", "test"], ["open", None, "open"]),  # a label is missing
    ],
)
def test_content_classes_that_say_nothing_of_transformation_are_left_out(split, transformation):
    tasks = transformation_tasks(
        table(
            split=["train", "train", "test", *split],
            content=["a", "a", "a", "b", "b", "b"],
            transformation=["open", "closed", "open", *transformation],
        )
    )
    assert [task.train.tolist() for task in tasks] == [[0, 1]]


def test_where_no_content_class_has_two_transformations_there_is_nothing_to_pool():
    one_each = table(
        split=["train", "train", "test"] * 2,
        content=["a"] * 3 + ["b"] * 3,
        transformation=["open"] * 3 + ["closed"] * 3,
    )
    tasks = tasks_of(one_each)
    assert len(tasks["content"]) == 1
    assert tasks["transformation"] == tasks["transformation_pooled"] == []
