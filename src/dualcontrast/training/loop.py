"""The training loop, on Lightning Fabric: the same for every method, on one device or many."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.optim import Adam

from dualcontrast.devices import device_named, seeded
from dualcontrast.errors import MethodError
from dualcontrast.images import ImageSet
from dualcontrast.methods import Batch, Losses, Method
from dualcontrast.progress import Progress, silent
from dualcontrast.recipe import TrainingSettings
from dualcontrast.runs import RunFolder
from dualcontrast.training.batches import EpochOrder, loader_of
from dualcontrast.training.checkpoint import Standing, load_checkpoint, save_checkpoint
from dualcontrast.training.interrupt import StopRequest, stop_requests

PROGRESS_SECONDS = 0.25
WARM_UP = 100  # steps
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells of every choice, even to --quiet


class Training:
    """The training of one run, from its start or from its last checkpoint.

    Parameters
    ----------
    run
        Where weights, log and checkpoints go; its config is written already.
    method
        What is trained, with fresh weights.
    training, validation
        The images to learn from, and those held out to choose the weights by their loss.
    settings
        How long and how fast.
    fabric
        Devices and precision.
    progress
        Told of images seen, and of the mean of every part of the loss in the epoch under way.
    clock
        What the seconds of training are read from, and so when its minutes are over.
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
        self.standing = Standing()
        self.log = run.read_log()
        self.training, self.validation = training, validation
        self.order = EpochOrder(
            len(training), settings.batch_size, settings.seed, fabric.global_rank, fabric.world_size
        )
        self.loader = loader_of(training, self.order, settings.workers, method.uses_ctf)
        self.optimizers = {
            phase: Adam(method.parameters_of(phase), lr=settings.learning_rate, fused=True)
            for phase in method.phases
        }
        self.module, *wrapped = fabric.setup(method, *self.optimizers.values())
        self.steppers = dict(zip(method.phases, wrapped, strict=True))
        self.checkpoint_path = run.path / "checkpoints" / "last.pt"
        self.rate = settings.learning_rate  # of the epoch under way
        self.counted_until = self.clock()
        self.told = self.last_checkpoint = time.monotonic()

    def resume(self) -> None:
        """Go back to the last checkpoint; what was logged after it is forgotten."""
        self.standing = load_checkpoint(self.checkpoint_path, self.method, self.optimizers)
        done = self.standing.epoch
        self.log = [line for line in self.log if "stopped" not in line and line["epoch"] <= done]

    def fit(self) -> None:
        """Train until the epochs or the minutes are over; the log's last line says which.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            After Ctrl-C or SIGTERM, once a checkpoint is left.
        MethodError
            The loss, of training or of validation, is no longer a number.
        """
        with stop_requests() as request, _summary_writer(self.run, self.standing.step, self.fabric) as board:
            self._stop(self._train(request, board))
            request.obey()

    def _train(self, request: StopRequest, board: Any) -> str:
        """Train until there is a reason to stop, and return it."""
        standing = self.standing
        while standing.epoch < self.settings.epochs:
            standing.seconds = self.fabric.broadcast(standing.seconds)  # one clock: stages and rates go by it
            self._enter_stage(self._share())
            self._set_learning_rate()
            for batch in self._batches():
                self._step(batch)
                reason = self._reason_to_stop(request.signal is not None)
                if reason:
                    return reason
            self._end_epoch(board)
        return "epochs"

    # ---- stages and the learning rate

    def _share(self) -> float:
        """Return the share of the training that is over, by epochs or by minutes, whichever is more."""
        standing, settings = self.standing, self.settings
        by_epochs = standing.epoch / settings.epochs
        by_minutes = standing.seconds / (60 * settings.minutes) if settings.minutes else 0.0
        return min(max(by_epochs, by_minutes), 1.0)

    def _enter_stage(self, share: float) -> None:
        """Begin the stages that are due at a share of the training.

        In each the lowest loss is sought anew. It begins with an epoch: of one under way, its batches are trained
        on again, so that the means of its losses are all of one objective.
        """
        standing, stages = self.standing, self.method.stages
        while standing.stage + 1 < len(stages) and share >= stages[standing.stage]:
            standing.stage += 1
            standing.stage_step = standing.step
            told = self.method.begin_stage(self._training_batches, standing.epoch)
            standing.best_loss = math.inf
            standing.begin_epoch()
            self.log.append({"epoch": standing.epoch, "stage": standing.stage + 1, **told})
            self._checkpoint()

    def _training_batches(self) -> Iterator[Batch]:
        """Yield the training images once, in their order."""
        for batch in self.method.batches(self.training, self.settings.batch_size, self.fabric.device):
            yield replace(batch, epoch=self.standing.epoch)
            self.progress("preparing the next stage", int(batch.index[-1]) + 1, len(self.training))

    def _set_learning_rate(self) -> None:
        """Set the rate of an epoch: a cosine falls from its stage's start to its end."""
        settings, stages, stage = self.settings, self.method.stages, self.standing.stage
        if settings.schedule in ("cosine", "warm_cosine"):
            start = stages[stage - 1] if stage else 0.0
            within = (self._share() - start) / (stages[stage] - start)
            factor = 0.5 * (1 + math.cos(math.pi * min(max(within, 0.0), 1.0)))
        else:
            factor = settings.decay_by ** (self.standing.epoch // settings.decay_every)
        self.rate = factor * settings.learning_rate

    def _warmth(self) -> float:
        """Return the share of its epoch's rate that a step has.

        Full steps of fresh networks can end in a decoder that gives one colour, and has no gradient any more.
        """
        if self.settings.schedule != "warm_cosine":
            return 1.0
        return min(1.0, (self.standing.step - self.standing.stage_step + 1) / WARM_UP)

    # ---- one step

    def _batches(self) -> Iterator[Batch]:
        """Yield the batches of the epoch that are still to come."""
        standing = self.standing
        self.order.begin(standing.epoch, standing.batch)
        self.counted_until = self.clock()
        for index, images, ctf in self.loader:
            batch = Batch(images, index, ctf, epoch=standing.epoch, step=standing.step)
            yield batch.to(self.fabric.device)

    def _step(self, batch: Batch) -> None:
        """Move the weights once in every phase."""
        standing, rate = self.standing, self.rate * self._warmth()
        for phase, optimizer in self.steppers.items():
            for group in self.optimizers[phase].param_groups:
                group["lr"] = rate
            losses = self.module(batch, phase)
            if losses.total.requires_grad:  # else the method learns from sums over the epoch
                optimizer.zero_grad()
                self.fabric.backward(losses.total)
                optimizer.step()
            _add(standing.sums, losses)
        standing.batch += 1
        standing.step += 1
        standing.images_seen += len(batch) * self.fabric.world_size
        now = self.clock()
        standing.seconds += now - self.counted_until
        standing.epoch_seconds += now - self.counted_until
        self.counted_until = now
        if time.monotonic() - self.told >= PROGRESS_SECONDS:
            self._tell()

    def _tell(self) -> None:
        self.told = time.monotonic()
        seen, epoch = self.standing.images_seen, self.standing.epoch + 1
        self.progress("training", seen, self._images_to_see(), epoch=epoch, **self._means())

    def _images_to_see(self) -> int:
        """Return how many images training sees: of all epochs, or as many as the minutes will be enough for."""
        standing, settings = self.standing, self.settings
        images = settings.epochs * len(self.order) * settings.batch_size * self.fabric.world_size
        if settings.minutes is None or not standing.seconds:
            return images
        in_time = int(60 * settings.minutes * standing.images_seen / standing.seconds)
        return max(min(images, in_time), standing.images_seen)

    def _means(self) -> dict[str, float]:
        """Return the means of the loss's parts over the epoch's batches so far."""
        return {name: value / max(self.standing.batch, 1) for name, value in self.standing.sums.items()}

    def _reason_to_stop(self, asked: bool) -> str:
        """Return why to stop now, or an empty text; the same on every process."""
        spent, limit = self.standing.seconds, self.settings.minutes
        over = limit is not None and spent >= 60 * limit
        if self.fabric.world_size > 1:
            flags = torch.tensor([float(asked), float(over)], device=self.fabric.device)
            asked, over = (bool(flag) for flag in self.fabric.all_reduce(flags, reduce_op="sum"))
        if asked:
            return "signal"
        if over:
            return "minutes"
        if time.monotonic() - self.last_checkpoint >= 60 * self.settings.checkpoint_minutes:
            self._checkpoint()
        return ""

    # ---- the end of an epoch, and of a sitting

    def _end_epoch(self, board: Any) -> None:
        """Validate, log, keep the best weights, and leave a checkpoint."""
        standing = self.standing
        means = self._means()
        self._refuse_broken(means, "loss")
        validation = self._validate()
        self._refuse_broken(validation, "validation loss")
        line = {
            "epoch": standing.epoch + 1,
            "step": standing.step,
            "images_seen": standing.images_seen,
            "loss": _rounded(means),
            "validation": _rounded(validation),
            "rate": round(standing.batch * self.settings.batch_size / standing.epoch_seconds, 1),
            "seconds": round(standing.seconds, 3),
        }
        self.log.append(line)
        if board is not None:
            for kind, values in (("train", means), ("validation", validation)):
                for name, value in values.items():
                    board.add_scalar(f"{name}/{kind}", value, standing.step)
        loss = validation.get("total", -math.inf)  # without validation the last weights are the best
        if loss < standing.best_loss or not validation:
            standing.best_loss = loss
            self._save_weights("best")
        standing.epoch += 1
        standing.begin_epoch()
        if self.settings.keep_every and standing.epoch % self.settings.keep_every == 0:
            self._save_weights(f"epoch-{standing.epoch}")
        self._checkpoint()

    def _validate(self) -> dict[str, float]:
        """Return the mean of every part of the loss on held-out images; the same draws every time."""
        sums: dict[str, float] = {}
        self.method.eval()  # what is remembered of batches must be of training images alone
        with seeded(self.settings.seed, self.fabric.device), torch.no_grad():
            for read in self.method.batches(self.validation, self.settings.batch_size, self.fabric.device):
                batch = replace(read, epoch=self.standing.epoch)
                for phase in self.method.phases:
                    _add(sums, self.module(batch, phase), len(batch))
        self.method.train()
        return {name: value / len(self.validation) for name, value in sums.items()}

    def _stop(self, reason: str) -> None:
        """Leave everything that later verbs, or going on, need."""
        standing = self.standing
        self._refuse_broken(self._means(), "loss")
        if reason != "signal":
            self._enter_stage(share=1.0)  # so that there are codes, however short the training was
        if standing.best_loss == math.inf:
            self._save_weights("best")  # stopped within the first epoch: these are all there is
        if reason != "signal":
            self._finish_weights()
        self._save_weights("last")
        stopped = {"stopped": reason, "step": standing.step, "images_seen": standing.images_seen}
        self.log.append({**stopped, "epoch": standing.epoch, "seconds": round(standing.seconds, 3)})
        self._checkpoint()
        total = self._images_to_see() if reason == "signal" else standing.images_seen
        self.progress("training", standing.images_seen, total)

    def _finish_weights(self) -> None:
        """Finish the method with the weights kept during training, and then with the last ones."""
        if type(self.method).finish is Method.finish:
            return  # nothing to do, so that no weights need be read and written again
        last = {name: value.clone() for name, value in self.method.state_dict().items()}
        for name in self.run.kept_weights():
            if name == "last":
                continue  # of an earlier sitting, and about to be replaced
            self.run.read_weights(self.method, name)
            self.method.finish(self._training_batches)
            self._save_weights(name)
        self.method.load_state_dict(last)
        self.method.finish(self._training_batches)

    def _refuse_broken(self, means: dict[str, float], kind: str) -> None:
        broken = [name for name, value in means.items() if not math.isfinite(value)]
        if broken:
            raise MethodError(
                f"{self.run.path}: the {kind} ({broken[0]}) is no longer a number in epoch "
                f"{self.standing.epoch + 1}, step {self.standing.step}; lower training.learning_rate, and go on "
                "from the last checkpoint or train anew"
            )

    def _save_weights(self, name: str) -> None:
        if self.fabric.is_global_zero:
            self.run.save_weights(self.method, name)

    def _checkpoint(self) -> None:
        if self.fabric.is_global_zero:
            self.run.write_log(self.log)
            save_checkpoint(self.checkpoint_path, self.standing, self.method, self.optimizers)
        self.last_checkpoint = time.monotonic()


def _add(sums: dict[str, float], losses: Losses, weight: float = 1.0) -> None:
    """Add the parts and the total of a loss to running sums, at the cost of one transfer."""
    parts = {**losses.parts, "total": losses.total}
    for name, value in zip(parts, torch.stack(list(parts.values())).detach().tolist(), strict=True):
        sums[name] = sums.get(name, 0.0) + weight * value


def fabric_of(device: str, precision: Any, partial: bool) -> Fabric:
    """Return Fabric for a device as the user names it: auto, cpu, cuda, cuda:1.

    Under torchrun or SLURM, each process takes its share of the work; `partial` says that some steps move only
    a part of the weights.
    """
    place = device_named(device)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", str(processes)))
        strategy = DDPStrategy(find_unused_parameters=partial)
        return Fabric(
            accelerator=place.type,
            strategy=strategy,
            devices=local,
            num_nodes=processes // local,
            precision=precision,
        )
    devices = 1 if place.index is None else [place.index]
    return Fabric(accelerator=place.type, devices=1 if place.type == "cpu" else devices, precision=precision)


@contextmanager
def _summary_writer(run: RunFolder, step: int, fabric: Fabric) -> Iterator[Any]:
    """Give a TensorBoard writer on the first process; what was written beyond `step` is dropped."""
    if not fabric.is_global_zero:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run.path / "tensorboard"), purge_step=step) as writer:
        yield writer


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in numbers.items()}
