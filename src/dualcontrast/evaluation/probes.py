"""Probes: classifiers that predict a factor from a code, fitted on training images and tested on others."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from dualcontrast.errors import RunError
from dualcontrast.evaluation.results import Question

PROBES = ("linear", "linear_standardised", "knn", "mlp")
FIT_AT_MOST = {"knn": 20_000, "mlp": 20_000}
NEIGHBOURS = 10
LINEAR_STEPS = 1000  # scikit-learn's default of 100 stops some fits early; the optimum itself is the same
MLP_STEPS = 100


class Classifier(Protocol):
    """The part of scikit-learn's classifiers that a probe uses."""

    def fit(self, inputs: np.ndarray, labels: np.ndarray) -> object:
        """Fit to inputs (N, d) and labels (N,)."""

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict the labels of inputs (N, d), (N,)."""


@dataclass(frozen=True)
class Task:
    """One label to predict from a code.

    Attributes
    ----------
    labels : numpy.ndarray
        (N,) integers, one for each image of a set.
    train, test : numpy.ndarray
        Indices of the images that fit a probe, and of those that test it. A test label that no training image
        has counts as an error.
    content_class : str
        The content class of all its images; empty if they are of any class.
    """

    labels: np.ndarray
    train: np.ndarray
    test: np.ndarray
    content_class: str = ""

    def chance(self) -> float:
        """Compute the test accuracy of always predicting the most common training class."""
        classes, counts = np.unique(self.labels[self.train], return_counts=True)
        return float(np.mean(self.labels[self.test] == classes[np.argmax(counts)]))


@dataclass(frozen=True)
class ProbeResult:
    """The result of one probe in one task.

    Attributes
    ----------
    accuracy : float
        Share of the test images predicted correctly.
    train_images, test_images : int
        Number of images that fitted and that tested the probe.
    converged : bool
        Whether a logistic regression converged before it ran out of steps; True for other probes.
    """

    accuracy: float
    train_images: int
    test_images: int
    converged: bool


def probe(name: str, codes: np.ndarray, task: Task, seed: int = 0) -> ProbeResult:
    """Fit a probe on the training images of a task and test it on the others.

    - `linear`: logistic regression on the codes as they are, the paper's protocol (section 4): scikit-learn's
      defaults, but enough steps to converge. Its penalty hides information in directions of small variance.
    - `linear_standardised`: the same on codes of unit variance, which exaggerates collapsed directions.
    - `knn`: the 10 nearest training codes, unscaled.
    - `mlp`: one hidden layer of 100 units on standardised codes, with the solver and the penalty of `linear`.
      Adam with early stopping is no better on many images, and far worse on a few hundred, where too few images
      are held out.

    Parameters
    ----------
    name
        One of `PROBES`.
    codes
        (N, d), one for each label of the task.
    task
        The task; its training images have at least two classes.
    seed
        Seed of the MLP, and of the draw of training images if a probe is fitted on a subset.
    """
    from sklearn.exceptions import ConvergenceWarning

    train = _training_subset(task, FIT_AT_MOST.get(name), seed)
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


def tasks_of(table: pd.DataFrame) -> dict[Question, list[Task]]:
    """Make the tasks of each question; none where the labels leave nothing to predict.

    Parameters
    ----------
    table
        As of an ImageSet: `split`, and `content` and `transformation` where known.

    Returns
    -------
    dict
        `content`, `transformation` and `transformation_pooled`, from `content_tasks`, `transformation_tasks`
        and `pooled_tasks`.

    Raises
    ------
    RunError
        There are content labels, but no labelled test images.
    """
    return {
        "content": content_tasks(table),
        "transformation": transformation_tasks(table),
        "transformation_pooled": pooled_tasks(table),
    }


def content_tasks(table: pd.DataFrame) -> list[Task]:
    """Make the task of predicting the content label; none if the training images have fewer than two labels.

    Parameters
    ----------
    table
        As of an ImageSet: `split`, and `content` where known. Images without a label are left out.

    Raises
    ------
    RunError
        There are labels, but no labelled test images.
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
    """Make the tasks of predicting the transformation label, one within each content class.

    The paper does not say how its D(z|.) is computed. A label such as "open" may look different in each content,
    so each probe works within one content class. Classes whose training images have fewer than two
    transformations, or whose test images have none of these, are left out.

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
        tasks.append(
            _task(labels, table, chosen, content_class=str(table["content"].iloc[int(np.argmax(chosen))]))
        )
    return [task for task in tasks if _is_informative(task)]


def pooled_tasks(table: pd.DataFrame) -> list[Task]:
    """Make the task of predicting content and transformation as one label, the pair of both.

    This is the other reading of the paper's D(z|.): one probe over all images. A content class with a single
    transformation is one of the labels. There is no such task without `transformation_tasks`, since the pairs
    would then be the contents.

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
    """Convert the labels of a column to integers, (N,); -1 where a label or the column is missing."""
    if name not in table:
        return np.full(len(table), -1)
    return np.asarray(pd.factorize(table[name])[0])


def is_test(table: pd.DataFrame) -> np.ndarray:
    """Tell which images of a table are in the test split, (N,)."""
    return np.asarray(table["split"] == "test")


def _model(name: str, images: int, seed: int) -> Classifier:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model: Classifier
    if name == "linear":
        model = LogisticRegression(max_iter=LINEAR_STEPS)
    elif name == "linear_standardised":
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=LINEAR_STEPS))
    elif name == "knn":
        model = KNeighborsClassifier(min(NEIGHBOURS, images))
    elif name == "mlp":
        network = MLPClassifier(
            hidden_layer_sizes=(100,), solver="lbfgs", alpha=1.0, max_iter=MLP_STEPS, random_state=seed
        )
        model = make_pipeline(StandardScaler(), network)
    else:
        raise ValueError(f"no probe is called {name}; known are {', '.join(PROBES)}")
    return model


def _training_subset(task: Task, limit: int | None, seed: int) -> np.ndarray:
    """Draw at most `limit` training images so that each class keeps its share; return their indices.

    Their order is random, because `knn` breaks ties by order.
    """
    shuffled = np.random.default_rng(seed).permutation(task.train)
    if limit is None or len(task.train) <= limit:
        return shuffled
    by_class = shuffled[np.argsort(task.labels[shuffled], kind="stable")]
    evenly = np.linspace(0, len(by_class) - 1, limit).astype(int)
    return np.random.default_rng(seed).permutation(by_class[evenly])


def _task(labels: np.ndarray, table: pd.DataFrame, chosen: np.ndarray, content_class: str = "") -> Task:
    test = is_test(table)
    return Task(labels, np.flatnonzero(chosen & ~test), np.flatnonzero(chosen & test), content_class)


def _is_informative(task: Task) -> bool:
    trained = np.unique(task.labels[task.train])
    return bool(len(trained) >= 2 and np.isin(task.labels[task.test], trained).any())
