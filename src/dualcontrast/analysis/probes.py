"""Probes: classifiers that try to tell a factor from a code, fitted on training images, tested on others."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

PROBES = ("linear", "linear_standardised", "knn", "mlp")
FIT_AT_MOST = {"knn": 20_000, "mlp": 20_000}
NEIGHBOURS = 10
LINEAR_STEPS = 1000  # scikit-learn's default of 100 stops some fits early; the optimum itself is the same


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
    """

    labels: np.ndarray
    train: np.ndarray
    test: np.ndarray

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
        Whether its fit ended before it ran out of steps.
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
    - `mlp`: one hidden layer of 100 units on standardised codes, stopped early by a tenth of the training
      images where there are enough of each class to hold some out.

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
    model = _model(name, labels, seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(inputs[train], labels)
    return ProbeResult(
        accuracy=float(np.mean(model.predict(inputs[task.test]) == task.labels[task.test])),
        train_images=len(train),
        test_images=len(task.test),
        converged=not any(issubclass(warning.category, ConvergenceWarning) for warning in caught),
    )


def _model(name: str, labels: np.ndarray, seed: int) -> Any:
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
        return KNeighborsClassifier(min(NEIGHBOURS, len(labels)))
    if name == "mlp":
        early = _can_hold_out_a_tenth(labels)
        return make_pipeline(StandardScaler(), MLPClassifier((100,), early_stopping=early, random_state=seed))
    raise ValueError(f"no probe is called {name}; known are {', '.join(PROBES)}")


def _can_hold_out_a_tenth(labels: np.ndarray) -> bool:
    """Say whether a tenth of the images can be held out with every class on both sides."""
    counts = np.unique(labels, return_counts=True)[1]
    return bool(counts.min() >= 2 and len(labels) >= 10 * len(counts))


def _drawn(task: Task, limit: int | None, seed: int) -> np.ndarray:
    """Return the places of at most `limit` training images, drawn so that each class keeps its share."""
    if limit is None or len(task.train) <= limit:
        return task.train
    shuffled = np.random.default_rng(seed).permutation(task.train)
    by_class = shuffled[np.argsort(task.labels[shuffled], kind="stable")]
    return by_class[np.linspace(0, len(by_class) - 1, limit).astype(int)]
