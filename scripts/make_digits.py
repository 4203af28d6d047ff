"""Make the packaged sample of digits from the IDX files of MNIST.

    python scripts/make_digits.py FOLDER_WITH_IDX_FILES

The sample has 500 digits of each class from the training set and 100 from the test set, drawn with a fixed seed.
"""

import sys
from pathlib import Path

import numpy as np

from dualcontrast.files import atomic_write
from dualcontrast.images import open_images

TARGET = Path(__file__).parent.parent / "src" / "dualcontrast" / "data" / "digits.npz"
PER_CLASS = {"train": 500, "test": 100}


def main(folder: str) -> None:
    """Draw the sample and write it."""
    digits = open_images(folder)
    random = np.random.default_rng(0)
    table = digits.table
    chosen: list[int] = []
    for split, count in PER_CLASS.items():
        for digit in range(10):
            rows = np.flatnonzero((table["split"] == split) & (table["content"] == digit))
            chosen += random.choice(rows, count, replace=False).tolist()
    rows = np.array(random.permutation(chosen))
    images = (digits.read(rows).numpy()[:, 0] * 255).round().astype(np.uint8)
    with atomic_write(TARGET) as temporary:
        np.savez_compressed(
            temporary,
            images=images,
            content=table["content"].to_numpy()[rows].astype(np.uint8),
            split=table["split"].to_numpy()[rows].astype("U5"),
        )


if __name__ == "__main__":
    main(sys.argv[1])
