"""Batches of an epoch: which images, in which order, read by whom."""

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
    """The batches of one epoch: a permutation that depends on seed and epoch alone, cut into whole batches.

    Because the order needs no random state, a run that stopped within an epoch goes on at the batch it had
    reached without reading the ones before.

    Parameters
    ----------
    count
        Number of images.
    batch_size
        Images a batch and process; what is left over waits for another epoch's permutation.
    seed
        Seed of the run.
    rank, world_size
        This process, and how many share an epoch's batches.
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch, self.start = 0, 0

    def __len__(self) -> int:
        return self.count // (self.batch_size * self.world_size)

    def begin(self, epoch: int, start: int) -> None:
        """Choose the epoch, and the first of its batches to come."""
        self.epoch, self.start = epoch, start

    def __iter__(self) -> Iterator[np.ndarray]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        whole = order[: len(self) * self.world_size * self.batch_size]
        mine = whole.reshape(len(self), self.world_size, self.batch_size)[:, self.rank]
        yield from mine[self.start :]


Read = tuple[Tensor, Tensor, Tensor | None]  # index (B,), images, and their CTFs where a method uses them


class _Reader(Dataset[Read]):
    """Reads a whole batch at once, as ImageSet does it best."""

    def __init__(self, images: ImageSet, ctfs: bool) -> None:
        self._images, self._ctfs = images, ctfs

    def __getitem__(self, index: np.ndarray) -> Read:
        return from_numpy(index), self._images.read(index), self._images.ctf(index) if self._ctfs else None


def _leave_signals_to_the_training(worker: int) -> None:
    """Ignore Ctrl-C and SIGTERM, which reach a whole group of processes: the training ends its workers itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def loader_of(images: ImageSet, order: EpochOrder, workers: int, ctfs: bool = False) -> DataLoader[Read]:
    """Return a loader of (index, images, CTFs) in the order given, reading ahead in `workers` processes."""
    return DataLoader(
        _Reader(images, ctfs),
        sampler=order,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=_leave_signals_to_the_training,
        generator=Generator(),  # of its own: the loader must not draw from the training's random state
    )


def training_and_validation(
    images: ImageSet, settings: TrainingSettings, world_size: int = 1
) -> tuple[ImageSet, ImageSet]:
    """Split the images marked for training into those that train and those held out to choose the weights.

    Raises
    ------
    SourceError
        Too few images for a single batch, or for one of each process.
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
