from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.optim import Adam

from dualcontrast.errors import RunError
from dualcontrast.methods import Batch, Method
from dualcontrast.recipe import recipe_of
from dualcontrast.training.checkpoint import Standing, load_checkpoint, save_checkpoint

SHAPE = (1, 16, 16)
Parts = tuple[Method, dict[str, Adam]]


def parts_of(preset: str = "authors-code") -> Parts:
    stated = {"preset": preset, "network": {"encoder": {"channels": [4]}, "decoder": {"hidden": [8]}}}
    method = recipe_of(stated).build(SHAPE)
    return method, {phase: Adam(method.parameters_of(phase), lr=0.01) for phase in method.phases}


def update(parts: Parts) -> None:
    method, optimizers = parts
    for phase, optimizer in optimizers.items():
        loss = method(Batch.of(torch.rand(4, *SHAPE)), phase).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_going_on_equals_never_having_stopped(tmp_path: Path) -> None:
    torch.manual_seed(0)
    parts = parts_of()
    update(parts)
    standing = Standing(epoch=2, batch=3, step=7, sums={"total": 1.5})
    save_checkpoint(tmp_path / "last.pt", standing, *parts)
    update(parts)

    torch.manual_seed(99)
    others = parts_of()
    update(others)
    assert load_checkpoint(tmp_path / "last.pt", *others) == standing
    update(others)
    for one, other in zip(parts[0].parameters(), others[0].parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_missing_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no checkpoint to continue from; train again without `resume`"):
        load_checkpoint(tmp_path / "last.pt", *parts_of())


@pytest.mark.parametrize("damage", ["cut", "empty", "other method"])
def test_a_damaged_checkpoint_is_told_in_one_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, Standing(), *parts_of("paper" if damage == "other method" else "authors-code"))
    if damage != "other method":
        path.write_bytes(path.read_bytes()[: 1000 if damage == "cut" else 0])
    with pytest.raises(RunError, match="damaged or of another run") as refusal:
        load_checkpoint(path, *parts_of())
    assert "\n" not in str(refusal.value)
