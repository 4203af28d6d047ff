import json
import math

import pytest

from dualcontrast.errors import RunError
from dualcontrast.evaluation.results import FactorScores, Scores

FACTOR = {"from_content": 0.9, "from_transformation": 0.4, "sap": 0.5, "gap": 0.5, "chance": 0.25}
STORED = {
    "content": FACTOR,
    "transformation": {
        **FACTOR,
        "by_content": {
            "ape": {"from_content": 0.9, "from_transformation": 0.4, "chance": 0.25, "test_images": 8},
        },
    },
    "transformation_pooled": FACTOR,
    "probes": {
        "content": {"knn": {"from_content": 1.0, "from_transformation": 0.0}},
        "transformation": {},
        "transformation_pooled": None,
    },
    "trivial_statistics": {"content": 0.5, "transformation": None, "transformation_pooled": None},
    "ideal_observer": {
        "content": 1.0,
        "transformation": None,
        "transformation_pooled": 0.75,
        "test_images": 8,
    },
    "viewpoint": {
        "from_transformation": 0.5,
        "from_content": 0.0,
        "chance": 0,
        "per_object": {"ape": {"from_transformation": 0.5, "from_content": 0.0, "test_images": 8}},
    },
    "transformation_parts": {"pose": {"content": {"linear": 0.5, "knn": 0.25}}},
    "invariance": {
        "content": 1.0,
        "content_chance": 0.25,
        "transformation": 0.5,
        "transformation_chance": 0.25,
    },
    "swap": {
        "content_kept": 0.5,
        "content_of_z_source": 0.25,
        "transformation_kept": 0.125,
        "transformation_kept_chance": 0.01,
        "transformation_effect": 0.75,
        "classifier_real": 1.0,
        "classifier_reconstructed": 0.9,
        "noise_added": 1.25,
        "hybrids": 100,
        "classes": 4,
        "split": "test",
        "seed": 0,
    },
    "protocol": {
        "weights": "best",
        "train_images": 16,
        "test_images": 8,
        "classes": 4,
        "transformation": {"content_classes": 1, "train_images": 16, "test_images": 8},
        "transformation_pooled": {"classes": 5, "train_images": 16, "test_images": 8},
        "probe": "linear",
        "not_converged": ["content.linear"],
        "seed": 0,
        "invariance_images": 8,
        "dualcontrast": "1",
    },
}


def test_scores_come_back_with_the_same_text():
    assert json.dumps(Scores.from_json(STORED).to_json()) == json.dumps(STORED)


def test_scores_have_attributes():
    scores = Scores.from_json(STORED)
    assert scores.content == FactorScores(**FACTOR)
    assert scores.of("content") is scores.content
    assert scores.of("transformation") is scores.transformation
    assert scores.of("transformation_pooled") is scores.transformation_pooled
    assert scores.transformation.by_content["ape"].test_images == 8
    assert scores.content.from_code("content") == 0.9
    assert scores.content.from_code("transformation") == 0.4
    assert scores.protocol.transformation.content_classes == 1


def test_scores_that_are_no_numbers_come_back():
    stored = json.loads(json.dumps({**STORED, "content": {**FACTOR, "gap": math.nan}}))
    assert math.isnan(Scores.from_json(stored).content.gap)


def test_files_of_earlier_versions_lack_some_keys():
    later = ("transformation_pooled", "ideal_observer", "viewpoint", "transformation_parts", "swap")
    earlier = {key: value for key, value in STORED.items() if key not in later}
    earlier["transformation"] = FACTOR
    scores = Scores.from_json(earlier)
    assert all(getattr(scores, key) is None for key in later)
    assert scores.transformation.by_content == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"content": {**FACTOR, "gap": "wide"}}, r"content\.gap: input should be a valid number"),
        ({"invariance": None}, "invariance: input should be"),
        ({"protocol": {"seed": 0}}, r"protocol\.weights: field required"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    with pytest.raises(RunError, match=message):
        Scores.from_json({**STORED, **change})
