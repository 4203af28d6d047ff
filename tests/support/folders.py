"""A small run folder whose weights are fresh, and the images that it works on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from dualcontrast.images.arrays import ArrayImages
from dualcontrast.recipe import Recipe, recipe_of
from dualcontrast.runs import DataDescription, RunFolder, prepared_images

SHAPE = (1, 12, 12)


def images_of(count: int = 40, seed: int = 0, labels: bool = True, split: bool = False) -> ArrayImages:
    """Make random pictures, with content labels and a split if requested."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"row": np.arange(count)})
    if labels:
        table["content"] = rng.integers(0, 3, count)
    if split:
        table["split"] = np.where(np.arange(count) % 4, "train", "test")
    return ArrayImages(rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8), "digits.npy", table)


def recipe(**stated: Any) -> Recipe:
    """Make a recipe with a small network."""
    small = {"decoder": {"code_width": 8, "hidden": [16]}}
    return recipe_of({"network": small, "training": {"limit": 30, "seed": 5}, **stated})


def data_of(images: ArrayImages, recipe: Recipe) -> DataDescription:
    """Describe the images as a run with this recipe does."""
    return DataDescription.of(prepared_images(images, recipe.training.limit, recipe.training.seed))


def untrained_folder(path: Path) -> RunFolder:
    """Make a run on `images_of()`."""
    run = RunFolder(path)
    run.write_config(recipe(), data_of(images_of(), recipe()), {"command": "a test"})
    torch.manual_seed(0)
    run.save_weights(recipe().build(SHAPE), "best")
    return RunFolder.open(path)
