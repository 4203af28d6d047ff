"""The training loop, on Lightning Fabric: the same for every method, on one device or many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from lightning_fabric import Fabric
from torch.optim import Adam

from dualcontrast.devices import seeded
from dualcontrast.errors import MethodError
from dualcontrast.images import ImageSet
from dualcontrast.methods import Batch, Method
from dualcontrast.progress import Progress, silent
from dualcontrast.recipe import TrainingSettings
from dualcontrast.runs import RunFolder
from dualcontrast.training.batches import EpochOrder, make_loader
from dualcontrast.training.checkpoint import load_checkpoint, save_checkpoint
from dualcontrast.training.interrupt import StopRequest, stop_requests
from dualcontrast.training.log import TrainingLog
from dualcontrast.training.schedule import completed_fraction, learning_rate, total_images, warm_up
from dualcontrast.training.state import TrainingState, add_losses

PROGRESS_SECONDS = 0.25


class Training:
    """The training of one run, from its start or from its last checkpoint.

    Parameters
    ----------
    run
        The run folder for weights, log and checkpoints; its config is written already.
    method
        The method to train, with fresh weights.
    training, validation
        The images to learn from, and the held-out images whose loss chooses the best weights.
    settings
        Length, batch size, learning rate and so on.
    fabric
        Devices and precision.
    progress
        Called with the images seen, and the mean of each part of the loss in the current epoch.
    clock
        Measures the seconds of training, and so when `settings.minutes` are over.
    """

    def __init__(
        self,
        run: RunFolder,
        method: Method,
        training: ImageSet,
        validation: ImageSet,
        settings: TrainingSettings,
        fabric: Fabric,
        progress: Progress = silent,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run, self.method, self.settings = run, method, settings
        self.fabric, self.progress, self.clock = fabric, progress, clock
        self.training, self.validation = training, validation
        self.state = TrainingState()
        self.log = TrainingLog(run, enabled=fabric.is_global_zero)
        self.order = EpochOrder(
            len(training), settings.batch_size, settings.seed, fabric.global_rank, fabric.world_size
        )
        self.loader = make_loader(training, self.order, settings.workers, method.uses_ctf)
        self.optimizers = {
            phase: Adam(method.parameters_of(phase), lr=settings.learning_rate, fused=True)
            for phase in method.phases
        }
        self.module, *wrapped = fabric.setup(method, *self.optimizers.values())
        self.wrapped_optimizers = dict(zip(method.phases, wrapped, strict=True))
        self.checkpoint_path = run.path / "checkpoints" / "last.pt"
        self.rate = settings.learning_rate  # of the current epoch
        self.batch_start = self.clock()
        self.last_report = self.last_checkpoint = time.monotonic()

    def resume(self) -> None:
        """Go back to the last checkpoint, and drop what was logged after it."""
        self.state = load_checkpoint(self.checkpoint_path, self.method, self.optimizers)
        self.log.rewind(self.state.epoch)

    def fit(self) -> None:
        """Train until the epochs or the minutes are over; the last line of the log says which.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            After Ctrl-C or SIGTERM, once a checkpoint is saved.
        MethodError
            The training or validation loss is not finite.
        """
        with stop_requests() as request, self.log.tensorboard(self.state.step):
            self._stop(self._train(request))
            request.raise_signal()

    def _train(self, request: StopRequest) -> str:
        """Train until there is a reason to stop, and return it."""
        state = self.state
        while state.epoch < self.settings.epochs:
            state.seconds = self.fabric.broadcast(state.seconds)  # all processes change stages and rates together
            self._begin_due_stages(completed_fraction(state, self.settings))
            self._set_learning_rate()
            for batch in self._batches():
                self._step(batch)
                reason = self._reason_to_stop(request.signal is not None)
                if reason:
                    return reason
                self._checkpoint_if_due()
            self._end_epoch()
        return "epochs"

    # ---- stages

    def _begin_due_stages(self, fraction: float) -> None:
        """Begin the stages that are due when `fraction` of the training is completed.

        A stage begins with an epoch, so that the mean losses of an epoch belong to one objective: an unfinished
        epoch is repeated.
        """
        state, stages = self.state, self.method.stages
        while state.stage + 1 < len(stages) and fraction >= stages[state.stage]:
            state.begin_stage()
            self.log.add_stage(state, self.method.begin_stage(self._training_batches, state.epoch))
            self._checkpoint()

    def _training_batches(self) -> Iterator[Batch]:
        """Yield all training images once, in their stored order."""
        for batch in self.method.batches(self.training, self.settings.batch_size, self.fabric.device):
            yield replace(batch, epoch=self.state.epoch)
            self.progress("preparing the next stage", int(batch.index[-1]) + 1, len(self.training))

    def _set_learning_rate(self) -> None:
        self.rate = learning_rate(self.state, self.settings, self.method.stages)

    # ---- one step

    def _batches(self) -> Iterator[Batch]:
        """Yield the remaining batches of the current epoch."""
        state = self.state
        self.order.begin(state.epoch, state.batch)
        self.batch_start = self.clock()
        for index, images, ctf in self.loader:
            batch = Batch(images, index, ctf, epoch=state.epoch, step=state.step)
            yield batch.to(self.fabric.device)

    def _step(self, batch: Batch) -> None:
        """Update the weights once in every phase."""
        rate = self.rate * warm_up(self.state, self.settings)
        for phase, optimizer in self.wrapped_optimizers.items():
            for group in self.optimizers[phase].param_groups:
                group["lr"] = rate
            losses = self.module(batch, phase)
            if losses.total.requires_grad:  # otherwise the method learns from sums over the epoch
                optimizer.zero_grad()
                self.fabric.backward(losses.total)
                optimizer.step()
            add_losses(self.state.sums, losses)
        now = self.clock()
        self.state.count_batch(len(batch) * self.fabric.world_size, now - self.batch_start)
        self.batch_start = now
        if time.monotonic() - self.last_report >= PROGRESS_SECONDS:
            self._report_progress()

    def _report_progress(self) -> None:
        self.last_report = time.monotonic()
        state = self.state
        means = state.mean_losses()
        self.progress("training", state.images_seen, self._total_images(), epoch=state.epoch + 1, **means)

    def _total_images(self) -> int:
        per_epoch = len(self.order) * self.settings.batch_size * self.fabric.world_size
        return total_images(self.state, self.settings, per_epoch)

    def _reason_to_stop(self, signalled: bool) -> str:
        """Return why to stop now, or an empty text; the same on every process."""
        limit = self.settings.minutes
        expired = limit is not None and self.state.seconds >= 60 * limit
        if self.fabric.world_size > 1:
            flags = torch.tensor([float(signalled), float(expired)], device=self.fabric.device)
            signalled, expired = (bool(flag) for flag in self.fabric.all_reduce(flags, reduce_op="sum"))
        if signalled:
            return "signal"
        return "minutes" if expired else ""

    # ---- the end of an epoch

    def _end_epoch(self) -> None:
        """Validate, log, keep the best weights, and save a checkpoint."""
        state = self.state
        means = state.mean_losses()
        self._require_finite(means, "loss")
        validation = self._validate()
        self._require_finite(validation, "validation loss")
        self.log.add_epoch(state, means, validation, state.batch * self.settings.batch_size / state.epoch_seconds)
        loss = validation.get("total", -math.inf)  # without validation images the last weights are the best
        if loss < state.best_loss or not validation:
            state.best_loss = loss
            self._save_weights("best")
        state.epoch += 1
        state.begin_epoch()
        if self.settings.keep_every and state.epoch % self.settings.keep_every == 0:
            self._save_weights(f"epoch-{state.epoch}")
        self._checkpoint()

    def _validate(self) -> dict[str, float]:
        """Average each part of the loss over the validation images, with the same random draws every time."""
        sums: dict[str, float] = {}
        self.method.eval()  # running statistics of batches come from training images alone
        with seeded(self.settings.seed, self.fabric.device), torch.no_grad():
            for read in self.method.batches(self.validation, self.settings.batch_size, self.fabric.device):
                batch = replace(read, epoch=self.state.epoch)
                for phase in self.method.phases:
                    add_losses(sums, self.module(batch, phase), len(batch))
        self.method.train()
        return {name: value / len(self.validation) for name, value in sums.items()}

    def _require_finite(self, means: dict[str, float], kind: str) -> None:
        broken = [name for name, value in means.items() if not math.isfinite(value)]
        if broken:
            raise MethodError(
                f"{self.run.path}: the {kind} ({broken[0]}) is no longer finite in epoch {self.state.epoch + 1}, "
                f"step {self.state.step}; lower training.learning_rate, and resume from the "
                "last checkpoint or train again"
            )

    # ---- the end of training, and files

    def _stop(self, reason: str) -> None:
        """Save everything that other commands, or resuming, need."""
        state = self.state
        self._require_finite(state.mean_losses(), "loss")
        if reason != "signal":
            self._begin_due_stages(1.0)  # so that there are codes, however short the training was
        if state.best_loss == math.inf:
            self._save_weights("best")  # stopped within the first epoch of the stage
        if reason != "signal":
            self._finish_weights()
        self._save_weights("last")
        self.log.add_stop(state, reason)
        self._checkpoint()
        total = self._total_images() if reason == "signal" else state.images_seen
        self.progress("training", state.images_seen, total)

    def _finish_weights(self) -> None:
        """Let the method finish the weights kept during training, and then the last ones."""
        if type(self.method).finish is Method.finish:
            return  # nothing to do, so no weights need to be read and written again
        last = {name: value.clone() for name, value in self.method.state_dict().items()}
        for name in self.run.kept_weights():
            if name == "last":
                continue  # from an earlier session, and about to be replaced
            self.run.read_weights(self.method, name)
            self.method.finish(self._training_batches)
            self._save_weights(name)
        self.method.load_state_dict(last)
        self.method.finish(self._training_batches)

    def _save_weights(self, name: str) -> None:
        if self.fabric.is_global_zero:
            self.run.save_weights(self.method, name)

    def _checkpoint_if_due(self) -> None:
        if time.monotonic() - self.last_checkpoint >= 60 * self.settings.checkpoint_minutes:
            self._checkpoint()

    def _checkpoint(self) -> None:
        self.log.write()
        if self.fabric.is_global_zero:
            save_checkpoint(self.checkpoint_path, self.state, self.method, self.optimizers)
        self.last_checkpoint = time.monotonic()
