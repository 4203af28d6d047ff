"""Probes: classifiers that try to tell a factor from a code, fitted on training images, tested on others."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dualcontrast.errors import RunError

PROBES = ("linear", "linear_standardised", "knn", "mlp")
FIT_AT_MOST = {"knn": 20_000, "mlp": 20_000}
NEIGHBOURS = 10
LINEAR_STEPS = 1000  # scikit-learn's default of 100 stops some fits early; the optimum itself is the same
MLP_STEPS = 100


@dataclass(frozen=True)
class Task:
    """One thing to tell from a code.

    Attributes
    ----------
    labels : numpy.ndarray
        (N,) integers, one for each image of a set.
    train, test : numpy.ndarray
        Places of the images that fit a probe, and of those that test it. A test label that no training image
        has counts as told wrongly.
    within : str
        The content class that all its images are of; empty where they are of any.
    """

    labels: np.ndarray
    train: np.ndarray
    test: np.ndarray
    within: str = ""

    def chance(self) -> float:
        """Return the test accuracy of always answering the most common class of the training images."""
        classes, counts = np.unique(self.labels[self.train], return_counts=True)
        return float(np.mean(self.labels[self.test] == classes[np.argmax(counts)]))


@dataclass(frozen=True)
class ProbeResult:
    """What a probe achieved.

    Attributes
    ----------
    accuracy : float
        Share of the test images told rightly.
    train_images, test_images : int
        Number of images that fitted it, and of those that tested it.
    converged : bool
        Whether a logistic regression came to its optimum before it ran out of steps; True for other probes.
    """

    accuracy: float
    train_images: int
    test_images: int
    converged: bool


def probe(name: str, codes: np.ndarray, task: Task, seed: int = 0) -> ProbeResult:
    """Fit a probe on the training images of a task and test it on the others.

    - `linear`: logistic regression on the codes as they are, the paper's protocol (section 4): scikit-learn's
      defaults, but enough steps to converge. Its penalty hides what lies in small directions of a code.
    - `linear_standardised`: the same on codes of unit variance, which exaggerates collapsed directions.
    - `knn`: the 10 nearest training codes, unscaled, since distance is the natural geometry of a code.
    - `mlp`: one hidden layer of 100 units on standardised codes, with the solver and the penalty of `linear`.
      Adam with early stopping is no better on many images and far worse on a few hundred, where the images
      held out are too few to stop by.

    Parameters
    ----------
    name
        One of `PROBES`.
    codes
        (N, d), one for each label of the task.
    task
        What to tell; its training images have two classes at least.
    seed
        Of the training images drawn where a probe is fitted on fewer than there are, and of the MLP.
    """
    from sklearn.exceptions import ConvergenceWarning

    train = _drawn(task, FIT_AT_MOST.get(name), seed)
    labels = task.labels[train]
    inputs = codes.astype(np.float64)
    model = _model(name, len(train), seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(inputs[train], labels)
    ran_out = any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return ProbeResult(
        accuracy=float(np.mean(model.predict(inputs[task.test]) == task.labels[task.test])),
        train_images=len(train),
        test_images=len(task.test),
        converged=name == "mlp" or not ran_out,  # the MLP is not run to its optimum
    )


def tasks_of(table: pd.DataFrame) -> dict[str, list[Task]]:
    """Return the tasks of each question asked of codes; none where the labels leave nothing to tell.

    Parameters
    ----------
    table
        As of an ImageSet: `split`, and `content` and `transformation` where known.

    Returns
    -------
    dict
        `content`, `transformation` and `transformation_pooled`, as `content_tasks`, `transformation_tasks` and
        `pooled_tasks` give them.

    Raises
    ------
    RunError
        There are content labels, but no labelled image is for testing.
    """
    return {
        "content": content_tasks(table),
        "transformation": transformation_tasks(table),
        "transformation_pooled": pooled_tasks(table),
    }


def content_tasks(table: pd.DataFrame) -> list[Task]:
    """Return the task of telling the content label; none where the training images have fewer than two.

    Parameters
    ----------
    table
        As of an ImageSet: `split`, and `content` where known. Images without a label are left out.

    Raises
    ------
    RunError
        There are labels, but no labelled image is for testing.
    """
    labels = label_numbers(table, "content")
    known = labels >= 0
    if not known.any():
        return []
    task = _task(labels, table, known)
    if not len(task.test):
        raise RunError(
            "there are content labels but no test images to score on; mark some images of the source as test"
        )
    return [task] if len(np.unique(labels[task.train])) >= 2 else []


def transformation_tasks(table: pd.DataFrame) -> list[Task]:
    """Return the tasks of telling the transformation label, one within each content class.

    The paper does not say how its D(z|.) are set up. A label such as "open" may look different in each
    content, so a probe is asked within a content class. Classes whose training images have fewer than two
    transformations, or whose test images have none of these, say nothing and are left out.

    Parameters
    ----------
    table
        As of an ImageSet: `split`, `content` and `transformation`. Images without both labels are left out.
    """
    content, labels = label_numbers(table, "content"), label_numbers(table, "transformation")
    known = (content >= 0) & (labels >= 0)
    tasks = []
    for one in np.unique(content[known]):
        chosen = known & (content == one)
        tasks.append(_task(labels, table, chosen, within=str(table["content"].iloc[int(np.argmax(chosen))])))
    return [task for task in tasks if _tells(task)]


def pooled_tasks(table: pd.DataFrame) -> list[Task]:
    """Return the task of telling content and transformation at once, each pair of labels being one label.

    The other reading of the paper's D(z|.): one probe over all images. A content class with a single
    transformation is one of the labels here. There is no such task where `transformation_tasks` are none,
    since the pairs would then tell contents alone.

    Parameters
    ----------
    table
        As of an ImageSet: `split`, `content` and `transformation`. Images without both labels are left out.
    """
    if not transformation_tasks(table):
        return []
    content, labels = label_numbers(table, "content"), label_numbers(table, "transformation")
    return [_task(content * (labels.max() + 1) + labels, table, (content >= 0) & (labels >= 0))]


def label_numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    """Return the labels of a column as integers, -1 where a label or the column is missing, (N,)."""
    if name not in table:
        return np.full(len(table), -1)
    return np.asarray(pd.factorize(table[name])[0])


def is_test(table: pd.DataFrame) -> np.ndarray:
    """Return which images of a table are for testing, (N,)."""
    return np.asarray(table["split"] == "test")


def _model(name: str, images: int, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "linear":
        return LogisticRegression(max_iter=LINEAR_STEPS)
    if name == "linear_standardised":
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=LINEAR_STEPS))
    if name == "knn":
        return KNeighborsClassifier(min(NEIGHBOURS, images))
    if name == "mlp":
        network = MLPClassifier(
            hidden_layer_sizes=(100,), solver="lbfgs", alpha=1.0, max_iter=MLP_STEPS, random_state=seed
        )
        return make_pipeline(StandardScaler(), network)
    raise ValueError(f"no probe is called {name}; known are {', '.join(PROBES)}")


def _drawn(task: Task, limit: int | None, seed: int) -> np.ndarray:
    """Return the places of at most `limit` training images, drawn so that each class keeps its share.

    Their order is random: of codes equally near, the first are taken to be the nearest, whatever their class.
    """
    shuffled = np.random.default_rng(seed).permutation(task.train)
    if limit is None or len(task.train) <= limit:
        return shuffled
    by_class = shuffled[np.argsort(task.labels[shuffled], kind="stable")]
    evenly = np.linspace(0, len(by_class) - 1, limit).astype(int)
    return np.random.default_rng(seed).permutation(by_class[evenly])


def _task(labels: np.ndarray, table: pd.DataFrame, chosen: np.ndarray, within: str = "") -> Task:
    test = is_test(table)
    return Task(labels, np.flatnonzero(chosen & ~test), np.flatnonzero(chosen & test), within)


def _tells(task: Task) -> bool:
    trained = np.unique(task.labels[task.train])
    return bool(len(trained) >= 2 and np.isin(task.labels[task.test], trained).any())
