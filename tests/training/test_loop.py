from __future__ import annotations

import itertools
import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from tests.support.runs import DIGITS, small_run
from torch import Tensor

from dualcontrast.api import Run
from dualcontrast.errors import MethodError
from dualcontrast.images import open_images
from dualcontrast.methods import METHODS, Batch, Losses
from dualcontrast.methods.dualcontrast import DualContrast
from dualcontrast.runs import RunFolder, prepared_images
from dualcontrast.training import loop, schedule
from dualcontrast.training.batches import training_and_validation

TIMES = ("rate", "seconds")


def weights_of(run: RunFolder, name: str = "best") -> dict[str, Tensor]:
    return load_file(run.weights_path(name))


def assert_same_run(one: RunFolder, other: RunFolder) -> None:
    for name in ("best", "last"):
        first, second = weights_of(one, name), weights_of(other, name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
    logs = [[{k: v for k, v in line.items() if k not in TIMES} for line in run.read_log()] for run in (one, other)]
    assert logs[0] == logs[1]


@pytest.fixture(scope="module", params=["paper", "authors-code"])
def preset(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def whole(preset: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run trained without a stop."""
    return small_run(tmp_path_factory.mktemp("whole") / "run", {"preset": preset})


def test_one_seed_gives_one_result(whole: Run, preset: str, tmp_path: Path) -> None:
    assert_same_run(whole, small_run(tmp_path / "again", {"preset": preset}))
    other = small_run(tmp_path / "other", {"preset": preset, "training": {"seed": 4}})
    assert not torch.equal(weights_of(whole)["encoder.heads.weight"], weights_of(other)["encoder.heads.weight"])


def test_the_log_has_a_line_an_epoch(whole: Run, preset: str) -> None:
    *epochs, last = whole.read_log()
    assert [line["epoch"] for line in epochs] == [1, 2, 3]
    assert [line["images_seen"] for line in epochs] == [40 * line["step"] for line in epochs]
    parts = {"reconstruction", "kl_content", "kl_transformation", "content_positive", "content_negative"}
    parts |= {"transformation_positive", "transformation_negative", "total"}
    for line in epochs:
        assert set(line["loss"]) == set(line["validation"]) == parts
        assert line["rate"] > 0
    assert epochs[-1]["loss"]["total"] < epochs[0]["loss"]["total"]
    assert last["stopped"] == "epochs"
    assert last["step"] == epochs[-1]["step"]
    assert list((whole.path / "tensorboard").glob("events*"))


@pytest.mark.parametrize("reason", ["minutes", "signal", "epochs"])
def test_resumed_equals_uninterrupted(
    whole: Run, preset: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after step 12, within the second epoch; or after two epochs and made longer."""
    changes: dict[str, Any] = {"preset": preset}
    if reason == "epochs":
        changes["training"] = {"epochs": 2}
    real = loop.Training._reason_to_stop

    def stop_at_step_12(self: loop.Training, signalled: bool) -> str:
        return reason if self.state.step == 12 and reason != "epochs" else real(self, signalled)

    with monkeypatch.context() as patched:
        patched.setattr(loop.Training, "_reason_to_stop", stop_at_step_12)
        stopped = small_run(tmp_path / "run", changes)
    if reason != "epochs":
        assert stopped.read_log()[-1]["stopped"] == reason
        assert stopped.read_log()[-1]["step"] == 12
    torch.manual_seed(12345)  # nothing may depend on what the process drew in between
    resumed = resume(stopped, epochs=3)
    assert_same_run(whole, resumed)


def resume(run: Run, epochs: int) -> Run:
    from dualcontrast.api import train

    return train(DIGITS, out=run.path, settings={"training": {"epochs": epochs}}, resume=True, device="cpu")


def test_minutes_stop_within_the_first_epoch_and_leave_weights(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", {"training": {"minutes": 1e-6}})
    (last,) = run.read_log()
    assert (last["stopped"], last["step"], last["epoch"]) == ("minutes", 1, 0)
    assert all(torch.equal(weights_of(run)[key], value) for key, value in weights_of(run, "last").items())
    assert run.config().recipe["training"]["minutes"] == 1e-6


def test_minutes_are_those_of_the_clock_that_is_given(tmp_path: Path) -> None:
    """The clock advances a quarter of a minute each time it is read: as an epoch begins and after each step."""
    quarters = itertools.count()
    run = small_run(tmp_path / "run", {"training": {"minutes": 1.5}}, clock=lambda: 15.0 * next(quarters))
    (last,) = run.read_log()
    assert (last["stopped"], last["step"], last["seconds"]) == ("minutes", 6, 90.0)


def test_validation_leaves_training_alone(whole: Run, preset: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(loop.Training, "_validate", lambda self: {"total": -self.state.step})
    blind = small_run(tmp_path / "run", {"preset": preset})
    assert [line.get("loss") for line in blind.read_log()] == [line.get("loss") for line in whole.read_log()]


def test_validation_leaves_batch_normalisation_alone_and_takes_a_last_batch_of_one(tmp_path: Path) -> None:
    """41 held-out images in batches of 40, and a fully connected layer that is normalised over a batch."""
    encoder = {"channels": [4, 8, 8], "norm": "batch", "hidden": [8]}
    chosen = prepared_images(open_images(DIGITS), 400, seed=3)
    fraction = 41 / int((chosen.table["split"] == "train").sum())
    training = {"epochs": 1, "limit": 400, "seed": 3, "validation_fraction": fraction}
    run = small_run(tmp_path, {"network": {"encoder": encoder}, "training": training})
    _, held_out = training_and_validation(run.images(), run.recipe().training)
    assert len(held_out) == 41
    counts = [value for name, value in weights_of(run, "last").items() if name.endswith("num_batches_tracked")]
    steps = run.read_log()[-1]["step"]
    assert [int(count) for count in counts] == [2 * steps] * 4  # x with T(x), and the decoded pairs


def test_the_best_weights_are_those_of_the_lowest_validation_loss(tmp_path: Path, monkeypatch: Any) -> None:
    losses = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(loop.Training, "_validate", lambda self: {"total": next(losses)})
    run = small_run(tmp_path / "run", {"training": {"keep_every": 1}})
    best = weights_of(run)["encoder.heads.weight"]
    kept = [weights_of(run, f"epoch-{epoch}")["encoder.heads.weight"] for epoch in (1, 2, 3)]
    assert [torch.equal(best, each) for each in kept] == [False, True, False]
    assert torch.equal(weights_of(run, "last")["encoder.heads.weight"], kept[2])


def test_the_validation_loss_is_that_of_the_held_out_images(tmp_path: Path) -> None:
    """Recomputed from the last weights, image by image in the order and with the seed of the loop."""
    run = small_run(tmp_path / "run")
    settings = run.recipe().training
    _, held_out = training_and_validation(run.images(), settings)
    method = run.load_method("last").train()
    torch.manual_seed(settings.seed)
    with torch.no_grad():
        total = sum(
            len(images) * method(Batch(images, torch.from_numpy(index))).total.item()
            for index, images in held_out.batches(settings.batch_size)
        )
    assert run.read_log()[2]["validation"]["total"] == pytest.approx(total / len(held_out), rel=1e-5)


def test_without_validation_the_last_weights_are_the_best(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", {"training": {"validation_fraction": 0}})
    assert all(torch.equal(weights_of(run)[key], value) for key, value in weights_of(run, "last").items())


def test_a_loss_that_is_not_finite_ends_training_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = DualContrast.forward

    def breaking(self: DualContrast, batch: Batch, phase: str = "main") -> Losses:
        losses = real(self, batch, phase)
        if batch.step == 12:
            losses.parts["reconstruction"] = losses.parts["reconstruction"] * math.nan
        return losses

    monkeypatch.setattr(DualContrast, "forward", breaking)
    with pytest.raises(MethodError, match=r"the loss \(reconstruction\) is no longer finite in epoch 2"):
        small_run(tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert all(value.isfinite().all() for value in weights_of(run).values())
    state = torch.load(run.path / "checkpoints" / "last.pt", weights_only=True)
    assert state["standing"]["epoch"] == 1


def test_a_validation_loss_that_is_not_finite_ends_training(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(loop.Training, "_validate", lambda self: {"total": math.inf})
    with pytest.raises(MethodError, match=r"the validation loss \(total\) is no longer finite in epoch 1"):
        small_run(tmp_path / "run")
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_learning_rates_fall_in_every_phase(tmp_path: Path) -> None:
    changes = {"preset": "authors-code", "training": {"decay_every": 2, "decay_by": 0.5}}
    run = small_run(tmp_path / "run", changes)
    state = torch.load(run.path / "checkpoints" / "last.pt", weights_only=True)
    rates = [each["param_groups"][0]["lr"] for each in state["optimizers"].values()]
    assert rates == [5e-4, 5e-4]


class TwoStages(DualContrast):
    """A method whose second stage begins with the second third of training."""

    stages = (1 / 3, 1.0)
    begun: ClassVar[list[tuple[int, int]]] = []
    finished: ClassVar[list[tuple[int, Tensor]]] = []

    def begin_stage(self, batches: Callable[[], Iterator[Batch]], epoch: int) -> dict[str, Any]:
        self.begun.append((epoch, sum(len(batch) for batch in batches())))
        return {"clusters": 7}

    def finish(self, batches: Callable[[], Iterator[Batch]]) -> None:
        self.finished.append((sum(len(batch) for batch in batches()), next(self.parameters()).detach().clone()))


@pytest.fixture
def two_stages(monkeypatch: pytest.MonkeyPatch) -> type[TwoStages]:
    monkeypatch.setitem(METHODS, "dualcontrast", TwoStages)
    monkeypatch.setattr(TwoStages, "begun", [])
    monkeypatch.setattr(TwoStages, "finished", [])
    return TwoStages


def test_each_stage_has_its_own_lowest_loss_and_its_own_cosine(
    two_stages: type[TwoStages], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, rates = iter([1.0, 3.0, 2.0]), []
    real = loop.Training._validate

    def validate(self: loop.Training) -> dict[str, float]:
        rates.append(next(iter(self.optimizers.values())).param_groups[0]["lr"])
        real(self)
        return {"total": next(losses)}

    monkeypatch.setattr(loop.Training, "_validate", validate)
    training = {"keep_every": 1, "schedule": "cosine", "learning_rate": 0.01}
    run = small_run(tmp_path / "run", {"training": training})
    best, third = weights_of(run), weights_of(run, "epoch-3")
    assert all(torch.equal(best[key], third[key]) for key in best)
    assert rates == pytest.approx([0.01, 0.01, 0.005])  # half a cosine over one epoch, and one over two
    images, _ = training_and_validation(run.images(), run.recipe().training)
    assert two_stages.begun == [(1, len(images))]
    assert {"epoch": 1, "stage": 2, "clusters": 7} in run.read_log()


def test_a_warm_cosine_rises_anew_in_each_stage(
    two_stages: type[TwoStages], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[tuple[int, float]] = []
    real = loop.Training._step

    def step(self: loop.Training, batch: Batch) -> None:
        real(self, batch)
        rates.append((self.state.epoch, next(iter(self.optimizers.values())).param_groups[0]["lr"]))

    monkeypatch.setattr(loop.Training, "_step", step)
    monkeypatch.setattr(schedule, "WARM_UP_STEPS", 4)
    small_run(tmp_path / "run", {"training": {"schedule": "warm_cosine", "learning_rate": 0.01}})
    in_first = sum(epoch == 0 for epoch, _ in rates)
    of_epochs = {0: 0.01, 1: 0.01, 2: 0.005}
    expected = [
        of_epochs[epoch] * min(1.0, (place - (in_first if epoch else 0) + 1) / 4)
        for place, (epoch, _) in enumerate(rates)
    ]
    assert in_first > 4
    assert [rate for _, rate in rates] == pytest.approx(expected)


def test_every_kept_weight_is_finished_with_the_training_images(
    two_stages: type[TwoStages], tmp_path: Path
) -> None:
    run = small_run(tmp_path / "run", {"training": {"keep_every": 2}})
    images, _ = training_and_validation(run.images(), run.recipe().training)
    name = next(iter(dict(run.load_method().named_parameters())))
    kept = ["best", "epoch-2", "last"]
    assert run.kept_weights() == kept
    assert [count for count, _ in two_stages.finished] == [len(images)] * 3
    for which, (_, weight) in zip(kept, two_stages.finished, strict=True):
        assert torch.equal(weights_of(run, which)[name], weight)


def test_a_stage_that_was_not_reached_begins_where_training_ends(
    two_stages: type[TwoStages], tmp_path: Path
) -> None:
    small_run(tmp_path / "run", {"training": {"minutes": 1e-6}})
    assert [epoch for epoch, _ in two_stages.begun] == [0]


def test_a_stage_that_begins_within_an_epoch_begins_it_anew(
    two_stages: type[TwoStages], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop by minutes within the first epoch, which begins the second stage, and resume."""
    with monkeypatch.context() as patched:
        patched.setattr(
            loop.Training, "_reason_to_stop", lambda self, _: "minutes" if self.state.step == 4 else ""
        )
        run = small_run(tmp_path / "run")
    seen: list[tuple[int, float]] = []
    real = DualContrast.forward

    def watched(self: DualContrast, batch: Batch, phase: str = "main") -> Losses:
        losses = real(self, batch, phase)
        if self.training:
            seen.append((batch.epoch, losses.total.item()))
        return losses

    monkeypatch.setattr(DualContrast, "forward", watched)
    resume(run, epochs=3)
    first = next(line for line in run.read_log() if "loss" in line)
    totals = [total for epoch, total in seen if epoch == 0]
    images, _ = training_and_validation(run.images(), run.recipe().training)
    assert len(totals) == len(images) // 40  # all batches of the epoch
    assert first["loss"]["total"] == pytest.approx(sum(totals) / len(totals), rel=1e-4)
    assert first["step"] == 4 + len(totals)


def test_minutes_lead_to_the_next_stage_as_epochs_do(two_stages: type[TwoStages], tmp_path: Path) -> None:
    small_run(tmp_path / "run", {"training": {"minutes": 0.05, "epochs": 100_000}})
    (epoch, _), *others = two_stages.begun
    assert 0 < epoch < 100_000 / 3
    assert not others


def test_mixed_precision_trains(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", {"training": {"precision": "bf16-mixed"}})
    first, *_, last, _ = run.read_log()
    assert last["validation"]["total"] < first["validation"]["total"]
    assert all(value.dtype == torch.float32 for value in weights_of(run).values())


def test_a_signal_ends_in_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loop.Training._step

    def signalling(self: loop.Training, batch: Batch) -> None:
        real(self, batch)
        if self.state.step == 12:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(loop.Training, "_step", signalling)
    with pytest.raises(SystemExit) as end:
        small_run(tmp_path / "run")
    assert end.value.code == 143
    assert Run.open(tmp_path / "run").read_log()[-1]["stopped"] == "signal"


def test_a_signal_during_the_finishing_of_the_weights_ends_training(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(loop.Training, "_finish_weights", lambda self: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        small_run(tmp_path / "run", {"training": {"epochs": 1}})
    run = Run.open(tmp_path / "run")
    assert run.kept_weights() == ["best", "last"]
    assert run.read_log()[-1]["stopped"] == "epochs"


def test_reading_ahead_changes_nothing(tmp_path: Path) -> None:
    assert_same_run(small_run(tmp_path / "a"), small_run(tmp_path / "b", {"training": {"workers": 2}}))
