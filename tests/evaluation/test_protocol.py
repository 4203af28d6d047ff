import numpy as np
import pandas as pd

import dualcontrast
from dualcontrast.evaluation.probes import tasks_of
from dualcontrast.evaluation.protocol import scoring_protocol
from dualcontrast.evaluation.results import PooledCounts, ScoringProtocol, TransformationCounts


def protocol_of(table: pd.DataFrame) -> ScoringProtocol:
    return scoring_protocol(
        table, tasks_of(table), weights="last", not_converged=["content.linear"], seed=3, invariance_images=7
    )


def table_of(block: list[tuple[str | None, str]], train: int, test: int) -> pd.DataFrame:
    """Repeat a block of contents and transformations, in the training and in the test split."""
    table = pd.DataFrame(block * (train + test), columns=["content", "transformation"])
    return table.assign(split=np.repeat(["train", "test"], [len(block) * train, len(block) * test]))


def test_images_and_classes_are_counted_for_each_question():
    pairs = [("ape", "open"), ("ape", "closed"), ("can", "open"), ("can", "closed"), ("cat", "open")]
    protocol = protocol_of(table_of(pairs, train=6, test=3))
    assert (protocol.train_images, protocol.test_images, protocol.classes) == (30, 15, 3)
    assert protocol.transformation == TransformationCounts(content_classes=2, train_images=24, test_images=12)
    assert protocol.transformation_pooled == PooledCounts(classes=5, train_images=30, test_images=15)


def test_images_without_a_content_label_are_not_counted():
    protocol = protocol_of(table_of([("ape", "open"), ("can", "open"), (None, "open")], train=2, test=1))
    assert (protocol.train_images, protocol.test_images, protocol.classes) == (4, 2, 2)
    assert protocol.transformation is protocol.transformation_pooled is None


def test_without_content_labels_all_images_are_counted():
    protocol = protocol_of(table_of([(None, "open")], train=4, test=2))
    assert (protocol.train_images, protocol.test_images, protocol.classes) == (4, 2, None)


def test_a_single_content_class_is_counted_though_it_is_not_scored():
    protocol = protocol_of(table_of([("ape", "open"), ("ape", "closed")], train=4, test=2))
    assert (protocol.train_images, protocol.test_images, protocol.classes) == (8, 4, 1)
    assert protocol.transformation_pooled == PooledCounts(classes=2, train_images=8, test_images=4)


def test_the_rest_is_recorded_as_given():
    protocol = protocol_of(table_of([("ape", "open"), ("can", "open")], train=2, test=1))
    assert (protocol.weights, protocol.not_converged, protocol.seed) == ("last", ["content.linear"], 3)
    assert (protocol.invariance_images, protocol.dualcontrast) == (7, dualcontrast.__version__)
    assert "logistic regression" in protocol.probe
