"""The log of a training: log.jsonl and TensorBoard curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dualcontrast.runs import RunFolder
from dualcontrast.training.state import TrainingState

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TrainingLog:
    """The log of one run; `write` stores its lines.

    Parameters
    ----------
    run
        The run folder, which may hold a log already.
    enabled
        Whether this process writes files; of several processes only the first does.
    """

    def __init__(self, run: RunFolder, enabled: bool) -> None:
        self._run, self._enabled = run, enabled
        self._lines = run.read_log()
        self._writer: SummaryWriter | None = None

    @contextmanager
    def tensorboard(self, step: int) -> Iterator[None]:
        """Open TensorBoard's file for the duration; curves beyond `step` are dropped."""
        if not self._enabled:
            yield
            return
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(self._run.path / "tensorboard"), purge_step=step) as self._writer:
            yield
        self._writer = None

    def rewind(self, epoch: int) -> None:
        """Remove the lines after the first `epoch` epochs, and those that say why training stopped."""
        self._lines = [line for line in self._lines if "stopped" not in line and line["epoch"] <= epoch]

    def add_stage(self, state: TrainingState, details: Mapping[str, object]) -> None:
        """Add the line of a new stage."""
        self._lines.append({"epoch": state.epoch, "stage": state.stage + 1, **details})

    def add_epoch(
        self, state: TrainingState, loss: Mapping[str, float], validation: Mapping[str, float], rate: float
    ) -> None:
        """Add the line of a finished epoch, and its points to the curves.

        Parameters
        ----------
        state
            The state before the next epoch begins.
        loss, validation
            The mean of each part of the loss on training and on validation images.
        rate
            Images a second of this process.
        """
        self._lines.append(
            {
                "epoch": state.epoch + 1,
                "step": state.step,
                "images_seen": state.images_seen,
                "loss": _rounded(loss),
                "validation": _rounded(validation),
                "rate": round(rate, 1),
                "seconds": round(state.seconds, 3),
            }
        )
        if self._writer is not None:
            for kind, values in (("train", loss), ("validation", validation)):
                for name, value in values.items():
                    self._writer.add_scalar(f"{name}/{kind}", value, state.step)

    def add_stop(self, state: TrainingState, reason: str) -> None:
        """Add the line that says why training stopped."""
        self._lines.append(
            {
                "stopped": reason,
                "step": state.step,
                "images_seen": state.images_seen,
                "epoch": state.epoch,
                "seconds": round(state.seconds, 3),
            }
        )

    def write(self) -> None:
        """Write all lines to log.jsonl."""
        if self._enabled:
            self._run.write_log(self._lines)


def _rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in numbers.items()}
