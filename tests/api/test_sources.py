"""Showing and simulating sources from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import dualcontrast
from dualcontrast.api import show, simulate
from dualcontrast.cryoet.mrc import read_header, read_volume, write_volume
from dualcontrast.cryoet.particles import read_particles
from dualcontrast.cryoet.simulation import Simulation
from dualcontrast.errors import RecipeError, RunError, SourceError, UsageError
from dualcontrast.figures import isosurface
from dualcontrast.images import open_images

TINY: dict[str, Any] = {"per_state": 1, "box": 8, "voxel_size": 30.0, "resolution": 60.0, "snr": 2.0}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(isosurface, "FINE", 16)  # fast


def is_picture(path: Path) -> bool:
    with Image.open(path) as picture:
        return bool(min(picture.size) > 100)


def volumes_of(simulation: Simulation) -> np.ndarray:
    names = read_particles(simulation.star).image_names
    return np.stack([read_volume(read_header(simulation.path / name)) for name in names])


# ---- show


def test_images_in_memory_are_shown() -> None:
    done = show(torch.zeros(4, 1, 5, 5), out="t.png", count=2)
    assert len(done.rows) == 2
    assert done.figure == Path("t.png")
    assert is_picture(done.figure)
    images = open_images(np.zeros((3, 4, 4), np.uint8))
    assert show(images).figure == Path("images-in-memory-pictures.png")
    assert is_picture(Path("images-in-memory-pictures.png"))


def test_the_seed_chooses_the_images() -> None:
    images = np.zeros((100, 4, 4), np.uint8)
    first, again, other = (show(images, out="a.png", count=5, seed=seed).rows for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_options_of_the_reader_are_used() -> None:
    np.savez("a.npz", stacks=np.random.default_rng(0).random((4, 1, 8, 8, 8)), kind=np.array(list("xxyy")))
    done = show("a.npz", key="stacks", labels="kind")
    assert (done.images, done.description) == (4, "4 volumes, 8 x 8 x 8 voxels, 2 contents")
    volumes = np.random.default_rng(0).normal(size=(2, 8, 8, 8))
    volumes[:, 2:6, 2:6, 2:6] += 5
    write_volume("stack.mrcs", volumes.reshape(16, 8, 8), 10)
    assert show("stack.mrcs", bin=2).description == "2 volumes, 4 x 4 x 4 voxels of 20 Å"


def test_density_maps_are_shown_together_and_other_sources_alone() -> None:
    density = np.random.default_rng(0).random((8, 8, 8)).astype(np.float32)
    for name in ("a.mrc", "b.mrc"):
        write_volume(name, density, 10)
    np.save("some.npy", density)
    assert show("a.mrc", Path("b.mrc"), out="maps.png").images == 2
    assert show("a.mrc", bin=1, invert=False, poses=False, out="map.png").images == 1  # the defaults
    for sources, options, sentence in (
        (("a.mrc",), {"key": "x", "bin": 2}, r"^a.mrc: a density map is shown as it is; leave out `key`, `bin`$"),
        (("a.mrc", "b.mrc"), {"poses": True}, r"^a.mrc: a density map .* leave out `poses`$"),
        (("a.mrc", "some.npy"), {}, "^a.mrc, some.npy: only density maps are shown together; give one source$"),
        ((density, "a.mrc"), {}, "^a.mrc: only density maps are shown together; give one source$"),
        (("some.npy",), {"poses": True}, "some.npy: `poses` applies only to a STAR file"),
    ):
        with pytest.raises(SourceError, match=sentence):
            show(*sources, out="no.png", **options)
    assert not Path("no.png").exists()


# ---- simulate


def test_a_simulation_is_made_and_drawn() -> None:
    done = simulate("sim", recipe="demo", settings=TINY)
    assert done.star.resolve() == Path("sim/particles.star").resolve()
    images = dualcontrast.open_images(done.star)
    assert images.shape == (1, 8, 8, 8)
    assert images.table["content"].tolist() == ["nucleosome"] * 2 + ["spike"] * 2  # a share of 2
    assert (done.settings.per_state, done.settings.box, done.settings.snr) == (1, 8, 2.0)
    assert done.settings.tilt_range == 60  # of the recipe
    for name in ("templates", "subtomograms"):
        assert is_picture(Path("sim") / "figures" / f"{name}.png")
    assert Simulation.open("sim").settings == done.settings


def test_structures_take_the_place_of_a_recipe() -> None:
    structures = ["nucleosome=models/2pyo.pdb.gz", "models/6vxx.pdb.gz"]
    done = simulate("sim", structures=iter(structures), settings=TINY)
    assert [(state.identity, state.conformation) for state in done.settings.states] == [
        ("nucleosome", "2pyo"),
        ("6vxx", "6vxx"),
    ]
    assert len(volumes_of(done)) == 2


def test_structures_are_looked_for_in_the_data_folder() -> None:
    density = np.zeros((16, 16, 16), np.float32)
    density[6:10, 5:11, 7:9] = 1
    Path("data").mkdir()
    write_volume("data/mine.mrc", density, 20)
    simulate("sim", structures=["mine.mrc"], settings=TINY, data="data")
    with pytest.raises(SourceError, match=r"mine\.mrc"):
        simulate("other", structures=["mine.mrc"], settings=TINY)


def test_a_simulation_in_use_is_refused_continued_or_replaced() -> None:
    options: dict[str, Any] = {"structures": ["models/2pyo.pdb.gz"]}
    calls: list[str] = []
    first = volumes_of(
        simulate("sim", **options, settings=TINY, progress=lambda what, *_, **__: calls.append(what))
    )
    assert set(calls) == {"making templates", "simulating"}
    with pytest.raises(RunError, match="`resume=True`"):
        simulate("sim", **options, settings=TINY)
    np.testing.assert_array_equal(volumes_of(simulate("sim", **options, settings=TINY, resume=True)), first)
    changed = {**TINY, "seed": 5}
    with pytest.raises(RunError, match="holds another simulation"):
        simulate("sim", **options, settings=changed, resume=True)
    with pytest.raises(UsageError, match="`resume=True` continues and `overwrite=True` starts over"):
        simulate("sim", **options, settings=changed, resume=True, overwrite=True)
    assert not np.allclose(volumes_of(simulate("sim", **options, settings=changed, overwrite=True)), first)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"recipe": "dmeo"}, "no recipe is called dmeo and no such file exists; did you mean demo"),
        ({"recipe": "demo", "settings": {"bix": 8}}, "no setting is called bix; did you mean box"),
        ({}, "either a recipe"),
        ({"recipe": "demo", "structures": ["6vxx"]}, "either a recipe"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        simulate("sim", **options)
    assert not Path("sim").exists()
