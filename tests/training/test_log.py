from __future__ import annotations

from pathlib import Path

from dualcontrast.runs import RunFolder
from dualcontrast.training.log import TrainingLog
from dualcontrast.training.state import TrainingState

STATE = TrainingState(epoch=1, batch=4, step=8, images_seen=320, seconds=1.23456)


def test_lines_are_stored_on_writing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    log = TrainingLog(run, enabled=True)
    log.add_epoch(STATE, {"total": 1.23456789}, {"total": 1e-9 / 3}, rate=99.87)
    log.add_stage(STATE, {"clusters": 3})
    log.add_stop(STATE, "minutes")
    assert run.read_log() == []
    log.write()
    assert run.read_log() == [
        {
            "epoch": 2,
            "step": 8,
            "images_seen": 320,
            "loss": {"total": 1.23457},
            "validation": {"total": 3.33333e-10},
            "rate": 99.9,
            "seconds": 1.235,
        },
        {"epoch": 1, "stage": 1, "clusters": 3},
        {"stopped": "minutes", "step": 8, "images_seen": 320, "epoch": 1, "seconds": 1.235},
    ]


def test_resuming_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    stop = {"stopped": "signal", "epoch": 1}
    run.write_log([{"epoch": 1}, {"epoch": 1, "stage": 2}, stop, {"epoch": 2}])
    log = TrainingLog(run, enabled=True)
    log.rewind(1)
    log.write()
    assert run.read_log() == [{"epoch": 1}, {"epoch": 1, "stage": 2}]


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    log = TrainingLog(RunFolder(tmp_path), enabled=False)
    with log.tensorboard(0):
        log.add_epoch(STATE, {"total": 1.0}, {}, rate=1.0)
    log.write()
    assert list(tmp_path.iterdir()) == []


def test_curves_have_a_point_an_epoch(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TrainingLog(RunFolder(tmp_path), enabled=True)
    with log.tensorboard(0):
        log.add_epoch(STATE, {"total": 2.0}, {"total": 3.0}, rate=1.0)
    log.add_epoch(STATE, {"total": 9.0}, {}, rate=1.0)  # the file is closed
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    points = {tag: [(each.step, each.value) for each in curves.Scalars(tag)] for tag in curves.Tags()["scalars"]}
    assert points == {"total/train": [(8, 2.0)], "total/validation": [(8, 3.0)]}
