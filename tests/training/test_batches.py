from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.support.particles import write_mrc, write_particles_of

from dualcontrast.errors import SourceError
from dualcontrast.images import open_images
from dualcontrast.images.arrays import ArrayImages
from dualcontrast.recipe import TrainingSettings
from dualcontrast.training.batches import EpochOrder, make_loader, training_and_validation


def images_of(count: int, tests: int = 0) -> ArrayImages:
    pixels = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(4, axis=2).repeat(4, axis=3)
    split = ["train"] * (count - tests) + ["test"] * tests
    return ArrayImages(pixels, "numbers", pd.DataFrame({"row": np.arange(count), "split": split}))


def epoch_of(order: EpochOrder, epoch: int, start: int = 0) -> list[list[int]]:
    order.begin(epoch, start)
    return [batch.tolist() for batch in order]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    order = EpochOrder(50, 10, seed=1)
    first = epoch_of(order, 0)
    assert epoch_of(order, 1) != first
    assert epoch_of(order, 0) == first
    assert epoch_of(EpochOrder(50, 10, seed=2), 0) != first
    assert sorted(chain(*first)) == list(range(50))


def test_images_that_do_not_fill_a_batch_are_left_out() -> None:
    batches = epoch_of(EpochOrder(53, 10, seed=0), 0)
    assert [len(batch) for batch in batches] == [10] * 5
    assert len(set(chain(*batches))) == 50


def test_an_epoch_resumes_at_its_next_batch() -> None:
    order = EpochOrder(50, 10, seed=0)
    assert epoch_of(order, 3, start=2) == epoch_of(order, 3)[2:]


def test_processes_share_an_epoch_without_overlap() -> None:
    shares = [epoch_of(EpochOrder(85, 10, seed=0, rank=rank, world_size=2), 0) for rank in (0, 1)]
    assert [len(share) for share in shares] == [4, 4]
    seen = [set(chain(*share)) for share in shares]
    assert not seen[0] & seen[1]
    assert len(seen[0] | seen[1]) == 80


def test_readers_ahead_read_what_one_process_reads() -> None:
    images = images_of(40)
    loaded = []
    for workers in (0, 2):
        order = EpochOrder(40, 10, seed=0)
        order.begin(0, 1)
        state = torch.get_rng_state()
        loaded.append(list(make_loader(images, order, workers)))
        assert torch.equal(torch.get_rng_state(), state)  # or a resumed run would draw other views
    assert len(loaded[0]) == 3
    for (index, pixels, no_ctf), (index_ahead, pixels_ahead, _) in zip(*loaded, strict=True):
        assert no_ctf is None
        assert torch.equal(index, index_ahead)
        assert torch.equal(pixels, pixels_ahead)
        assert torch.equal(pixels[:, 0, 0, 0], index / 255)


def test_ctfs_are_read_for_those_who_use_them(tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).normal(size=(6, 8, 8, 8)).astype(np.float32)
    write_mrc(tmp_path / "ctf.mrc", np.ones((8, 8, 8)))
    images = open_images(write_particles_of(volumes, tmp_path, rlnCtfImage="ctf.mrc"))
    order = EpochOrder(6, 3, seed=0)
    assert [ctf for _, _, ctf in make_loader(images, order, workers=0)] == [None, None]
    assert [ctf.shape for _, _, ctf in make_loader(images, order, workers=0, ctfs=True)] == [(3, 8, 8, 8)] * 2
    some = images.select(np.array([4, 1]))
    assert some.ctf(np.array([1])).shape == (1, 8, 8, 8)


def test_validation_is_apart_from_training_and_from_test() -> None:
    settings = TrainingSettings(validation_fraction=0.2, batch_size=10, seed=4)
    training, validation = training_and_validation(images_of(100, tests=30), settings)
    assert (len(training), len(validation)) == (56, 14)
    rows = [set(part.table["row"]) for part in (training, validation)]
    assert not rows[0] & rows[1]
    assert rows[0] | rows[1] == set(range(70))
    again = training_and_validation(images_of(100, tests=30), settings)[1]
    assert set(again.table["row"]) == rows[1]


def test_fewer_images_than_a_batch_are_refused() -> None:
    with pytest.raises(SourceError, match="numbers: 19 images to train on are fewer than a batch of 20"):
        training_and_validation(images_of(20), TrainingSettings(batch_size=20, validation_fraction=0.05))


def test_every_process_must_have_a_batch() -> None:
    settings = TrainingSettings(batch_size=20, validation_fraction=0)
    assert len(training_and_validation(images_of(40), settings, world_size=2)[0]) == 40
    with pytest.raises(SourceError, match=r"39 images .* fewer than a batch of 20 for each of 2 processes; give"):
        training_and_validation(images_of(39), settings, world_size=2)
