"""Training speed in images a second, compared with the authors' own sequence of passes.

The baseline is the sequence of network passes of the authors' published MNIST script, written plainly: each
batch, its rotated view and a permutation of it are encoded and decoded (the reconstruction of the permutation
is not used); then two more permutations are encoded, decoded with a shared random latent, and encoded again;
two backward passes and two Adam steps follow. It has their networks, in 32 bits. Neither side reads data. The
presets are timed in 32 bits, the default, and in mixed precision (training.precision=bf16-mixed).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from dualcontrast.methods import Batch
from dualcontrast.progress import Progress, silent
from dualcontrast.recipe import read_recipe
from dualcontrast.training.fabric import Precision, make_fabric

BASELINE = "the authors' sequence of passes"
SHAPE = (1, 28, 28)
BATCH_SIZE = 100
CODE_SIZE = 10


@dataclass(frozen=True)
class Throughput:
    """Images a second of several trainings, as medians over rounds in which they took turns.

    Attributes
    ----------
    threads, rounds, steps
        Threads of torch, and how it was timed: in each round, `steps` batches of 100 images of each training.
    rates
        Images a second of each training.
    ratios
        The median ratio to the baseline.
    """

    threads: int
    rounds: int
    steps: int
    rates: dict[str, float]
    ratios: dict[str, float]


def throughput(rounds: int = 5, steps: int = 100, progress: Progress = silent) -> Throughput:
    """Time training on images of MNIST's size; in each round, every training has its turn.

    Parameters
    ----------
    rounds
        Rounds to measure, after one to warm up.
    steps
        Batches of 100 images of each training in a round.
    progress
        Called as rounds finish.
    """
    images = torch.rand(BATCH_SIZE, *SHAPE, generator=torch.Generator().manual_seed(0))
    trainings: dict[str, Callable[[Tensor], None]] = {
        BASELINE: AuthorsSequence(),
        "paper": _updates_of("paper", "32-true"),
        "paper, bf16-mixed": _updates_of("paper", "bf16-mixed"),
        "authors-code": _updates_of("authors-code", "32-true"),
        "authors-code, bf16-mixed": _updates_of("authors-code", "bf16-mixed"),
    }
    rates: dict[str, list[float]] = {name: [] for name in trainings}
    for number in range(rounds + 1):
        progress("timing", number, rounds + 1)
        for name, update in trainings.items():
            rate = _timed(update, images, steps)
            if number > 0:
                rates[name].append(rate)
    progress("timing", rounds + 1, rounds + 1)
    return Throughput(
        threads=torch.get_num_threads(),
        rounds=rounds,
        steps=steps,
        rates={name: round(statistics.median(values), 1) for name, values in rates.items()},
        ratios={name: round(_median_ratio(values, rates[BASELINE]), 3) for name, values in rates.items()},
    )


def _median_ratio(values: list[float], baseline: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(values, baseline, strict=True))


def _timed(update: Callable[[Tensor], None], images: Tensor, steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        update(images)
    return steps * len(images) / (time.perf_counter() - start)


def _updates_of(preset: str, precision: Precision) -> Callable[[Tensor], None]:
    """Make the update of a preset, as in the training loop."""
    fabric = make_fabric("cpu", precision, find_unused_parameters=False)
    method = read_recipe("mnist", {"preset": preset}).build(SHAPE)
    optimizers = [Adam(method.parameters_of(phase), 1e-4, fused=True) for phase in method.phases]
    module, *wrapped = fabric.setup(method, *optimizers)

    def update(images: Tensor) -> None:
        for phase, optimizer in zip(method.phases, wrapped, strict=True):
            losses = module(Batch.of(images), phase)
            optimizer.zero_grad()
            fabric.backward(losses.total)
            optimizer.step()

    return update


class AuthorsSequence(nn.Module):
    """The networks and the sequence of passes of the authors' script for MNIST."""

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for inputs, outputs in ((1, 16), (16, 32), (32, 64)):
            blocks += [nn.Conv2d(inputs, outputs, 5, 2, 1), nn.InstanceNorm2d(outputs), nn.ReLU(inplace=True)]
        self.trunk = nn.Sequential(*blocks, nn.Flatten())
        self.heads = nn.ModuleList(nn.Linear(256, CODE_SIZE) for _ in range(4))
        self.code_layer = nn.Linear(CODE_SIZE, 256)
        self.layers = nn.ModuleList(nn.Linear(512, 512) for _ in range(3))
        self.output = nn.Linear(512, 28 * 28)
        self.first = Adam(self.parameters(), 1e-4)
        self.second = Adam([*self.trunk.parameters(), *self.heads.parameters()], 1e-4)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Encode images; return mean and log-variance of z, then of c."""
        features = self.trunk(images)
        return [head(features) for head in self.heads]

    def decode(self, z: Tensor, c: Tensor) -> Tensor:
        """Decode both codes to images; they share the first layer."""
        hidden = torch.cat([F.relu(self.code_layer(z)), F.relu(self.code_layer(c))], dim=-1)
        for layer in self.layers:
            hidden = F.relu(layer(hidden))
        return torch.sigmoid(self.output(hidden)).view(-1, *SHAPE)

    def reconstruct(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Reconstruct images from sampled latents; return them and the four heads."""
        z, z_log, c, c_log = posterior = self.encode(images)
        z_sample = z + torch.exp(0.5 * z_log) * torch.randn_like(z)
        c_sample = c + torch.exp(0.5 * c_log) * torch.randn_like(c)
        return self.decode(z_sample, c_sample), posterior

    def forward(self, images: Tensor) -> None:
        """Make one update, which has two steps."""
        view = _rotated_together(images)
        reconstruction, posterior = self.reconstruct(images)
        z, _, c, _ = posterior
        view_reconstruction, view_posterior = self.reconstruct(view)
        z_neg, _, c_pos, _ = view_posterior
        vae = _vae(reconstruction, images, posterior) + _vae(view_reconstruction, view, view_posterior)
        _, (_, _, c_neg, _) = self.reconstruct(images[torch.randperm(len(images))])
        loss = vae + _similarity(c, c_neg) + _distance(c, c_pos) + _similarity(z, z_neg)
        _ = [term.item() for term in (loss, vae, loss, vae)]  # the script logs four numbers a step
        self.first.zero_grad()
        loss.backward(retain_graph=True)
        self.first.step()

        latents = torch.randn(len(images), CODE_SIZE)
        first = self.encode(images[torch.randperm(len(images))])[2].detach()
        second = self.encode(images[torch.randperm(len(images))])[2].detach()
        z_first = self.encode(self.decode(latents, first))[0]
        z_second = self.encode(self.decode(latents, second))[0]
        positive = _distance(z_first, z_second)
        self.second.zero_grad()
        positive.backward()
        self.second.step()


def _rotated_together(images: Tensor) -> Tensor:
    """Rotate a batch by one angle, with nearest-neighbour interpolation."""
    angle = torch.deg2rad(180 * torch.rand(()) - 90)
    zero = torch.zeros(())
    matrix = torch.stack([angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero]).reshape(1, 2, 3)
    grid = F.affine_grid(matrix, [1, *images.shape[1:]], align_corners=False).expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grid, mode="nearest", align_corners=False)


def _vae(reconstruction: Tensor, images: Tensor, posterior: list[Tensor]) -> Tensor:
    loss = F.mse_loss(reconstruction, images)
    z, z_log, c, c_log = posterior
    for mean, log in ((z, z_log), (c, c_log)):
        loss = loss + 0.01 * (-0.5 - log + 0.5 * (mean**2 + log.exp() ** 2)).sum() / images.numel()
    return loss


def _similarity(first: Tensor, second: Tensor) -> Tensor:
    return F.cosine_similarity(first, second).abs().sum() / first.numel()


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return (1 - F.cosine_similarity(first, second).abs()).sum() / first.numel()
