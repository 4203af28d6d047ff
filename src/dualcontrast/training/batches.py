"""Batches: the order of the images in an epoch, their loader, and the split into training and validation."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
from torch import Generator, Tensor, from_numpy
from torch.utils.data import DataLoader, Dataset, Sampler

from dualcontrast.errors import SourceError
from dualcontrast.images import ImageSet
from dualcontrast.recipe import TrainingSettings


class EpochOrder(Sampler[np.ndarray]):
    """The batches of one epoch: a random permutation, cut into whole batches.

    The permutation depends on seed and epoch alone. A run that stopped within an epoch can therefore resume at its
    next batch, without reading those before it.

    Parameters
    ----------
    count
        Number of images.
    batch_size
        Images in a batch of one process; the images left over are not used in this epoch.
    seed
        Seed of the run.
    rank, world_size
        The number of this process, and how many processes share the batches of an epoch.
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch, self.start = 0, 0

    def __len__(self) -> int:
        return self.count // (self.batch_size * self.world_size)

    def begin(self, epoch: int, start: int) -> None:
        """Set the epoch, and the batch to start from."""
        self.epoch, self.start = epoch, start

    def __iter__(self) -> Iterator[np.ndarray]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        whole = order[: len(self) * self.world_size * self.batch_size]
        mine = whole.reshape(len(self), self.world_size, self.batch_size)[:, self.rank]
        yield from mine[self.start :]


Read = tuple[Tensor, Tensor, Tensor | None]  # index (B,), images (B, C, spatial...), CTFs if the method uses them


class _Reader(Dataset[Read]):
    """Reads a whole batch at once, which is fastest."""

    def __init__(self, images: ImageSet, ctfs: bool) -> None:
        self._images, self._ctfs = images, ctfs

    def __getitem__(self, index: np.ndarray) -> Read:
        return from_numpy(index), self._images.read(index), self._images.ctf(index) if self._ctfs else None


def _ignore_signals(worker: int) -> None:
    """Ignore Ctrl-C and SIGTERM, which reach the whole process group: the training stops its workers itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def make_loader(images: ImageSet, order: EpochOrder, workers: int, ctfs: bool = False) -> DataLoader[Read]:
    """Make a loader of (index, images, CTFs) in the given order, with `workers` processes that read ahead."""
    return DataLoader(
        _Reader(images, ctfs),
        sampler=order,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=_ignore_signals,
        generator=Generator(),  # the loader must not draw from the random state of the training
    )


def training_and_validation(
    images: ImageSet, settings: TrainingSettings, world_size: int = 1
) -> tuple[ImageSet, ImageSet]:
    """Split the images of the training split into training images and validation images.

    Raises
    ------
    SourceError
        There are too few images for one batch of each process.
    """
    rows = np.flatnonzero(images.table["split"].to_numpy() == "train")
    order = np.random.default_rng(settings.seed).permutation(len(rows))
    held_out = round(settings.validation_fraction * len(rows))
    training = images.select(rows[np.sort(order[held_out:])])
    if len(training) < settings.batch_size * world_size:
        each = f" for each of {world_size} processes" if world_size > 1 else ""
        raise SourceError(
            f"{images.source}: {len(training)} images to train on are fewer than a batch of "
            f"{settings.batch_size}{each}; give more images, or lower training.batch_size"
        )
    return training, images.select(rows[np.sort(order[:held_out])])
