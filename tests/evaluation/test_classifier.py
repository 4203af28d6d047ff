import numpy as np
import pandas as pd
import pytest
import torch

from dualcontrast.evaluation.classifier import trained_classifier
from dualcontrast.images import open_images
from dualcontrast.images.arrays import ArrayImages


def test_real_digits_are_told(shared_data):
    images = open_images(shared_data / "mnist")
    digits, test = images.table["content"].to_numpy(), (images.table["split"] == "test").to_numpy()
    classifier = trained_classifier(
        images, digits, np.flatnonzero(~test)[:20_000], steps=150, rng=np.random.default_rng(0)
    )
    assert not classifier.training
    seen = np.flatnonzero(test)[:1000]
    with torch.no_grad():
        told = classifier(images.read(seen)).argmax(dim=1).numpy()
    assert np.mean(told == digits[seen]) > 0.9


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 12), (1, 8, 8, 8), (2, 3, 3, 5)])
def test_images_of_any_shape_and_range_are_told_by_seed(shape):
    rng = np.random.default_rng(0)
    classes = np.array([0, 1, 2, -1] * 20)
    values = rng.random((80, *shape)) + classes.reshape(-1, *[1] * len(shape))
    values = values / 4 + 0.25 if len(shape) == 3 else 1000 * values
    images = ArrayImages(values.astype(np.float32), "values", pd.DataFrame({"row": np.arange(80)}))
    known = np.flatnonzero(classes >= 0)
    state = torch.get_rng_state()
    first, second = (
        trained_classifier(images, classes, known, steps=100, rng=np.random.default_rng(1)) for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        logits = first(images.read(known))
        assert torch.equal(logits, second(images.read(known)))
    assert logits.shape == (60, 3)
    assert (logits.argmax(dim=1).numpy() == classes[known]).mean() > 0.95
