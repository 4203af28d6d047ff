"""The way of a cryo-ET user, by the command line: simulate, look, train from the STAR, score, draw."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import starfile
from PIL import Image
from tests.support.command import assert_refused, call, command

from dualcontrast.cryoet.mrc import read_header, read_volume
from dualcontrast.evaluation import swap

STATES = (
    "nucleosome=nucleosome/2pyo.pdb.gz",
    "nucleosome=nucleosome/unwrapped_nucl.pdb.gz",
    "spike=spike/6vxx.pdb.gz",
)
SMALL = ("--box", 16, "--voxel-size", 21, "--snr", 0.5, "--set", "resolution=40", "--set", "shift=1")
TINY = (
    *("--recipe", "subtomograms", "--epochs", 2, "--set", "training.batch_size=20", "--set", "training.workers=0"),
    *("--set", "network.encoder.channels=[4,8]", "--set", "network.decoder.channels=[8,8]", "--device", "cpu"),
    *("--set", "method.clusters=3"),
)


def simulate(out: Path, proteins: Path, *words: object) -> list[object]:
    states = [word for state in STATES for word in ("--structures", state)]
    return ["simulate", *states, "--data", proteins, "--out", out, *SMALL, *words]


@pytest.fixture(scope="module")
def folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cryoet") / "sim"
    ended = call(*simulate(out, shared_data / "proteins", "--per-state", 30, "--json", "--quiet"))
    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    assert told == {"star": str(out / "particles.star"), "subtomograms": 90, "states": 3}
    return out


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    out = folder.parent / "run"
    ended = call(
        "train", folder / "particles.star", "--out", out, "--bin", 2, "--mask", "sphere", *TINY, "--quiet"
    )
    assert ended.status == 0, ended.err
    return out


def test_a_run_from_a_star_is_scored_against_the_ideal_observer(run: Path) -> None:
    ended = call("evaluate", run, "--json", "--quiet", "--device", "cpu")
    assert ended.status == 0, ended.err
    scores = json.loads(ended.out)
    assert scores["protocol"]["test_images"] == 18
    assert scores["ideal_observer"]["content"] == 1
    assert set(scores["transformation"]["by_content"]) == {"nucleosome"}
    assert scores["transformation_pooled"] is not None
    words = call("evaluate", run, "--device", "cpu").out
    assert "An ideal observer, who knows every template, pose and CTF, reaches 100.0 % for the content" in words


def test_codes_keep_the_rows_of_the_star(run: Path, folder: Path) -> None:
    assert call("encode", run, "--quiet", "--device", "cpu").status == 0
    rows = (run / "codes" / "table.csv").read_text().splitlines()
    particles = starfile.read(folder / "particles.star")["particles"]
    assert len(rows) == 91
    for place in (0, 40, 89):
        assert particles["dualcontrastIdentity"][place] in rows[place + 1]


def test_figures_are_drawn_for_volumes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "CLASSIFIER_STEPS", 20)
    for verb in (
        ["transfer", "--count", 3],
        ["embed", "--how", "pca"],
        ["embed", "--how", "pca", "--code", "transformation"],
    ):
        ended = call(verb[0], run, *verb[1:], "--quiet", "--device", "cpu")
        assert ended.status == 0, ended.err
    for name in ("transfer", "embedding_content_pca", "embedding_transformation_pca"):
        with Image.open(run / "figures" / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5


def test_a_simulation_ended_by_a_signal_goes_on_where_it_stopped(shared_data: Path, tmp_path: Path) -> None:
    words = simulate(tmp_path / "sim", shared_data / "proteins", "--per-state", 600)
    whole = tmp_path / "sim" / "subtomograms" / "0000"
    process = subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(2400):
        if whole.is_dir():
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not (tmp_path / "sim" / "particles.star").exists()
    kept = read_volume(read_header(whole / "000001.mrc")), (whole / "000001.mrc").stat().st_mtime_ns
    refused = call(*words)
    assert_refused(refused, "continue it with --resume, replace it with --overwrite")
    ended = call(*words, "--resume", "--quiet")
    assert ended.status == 0, ended.err
    assert (whole / "000001.mrc").stat().st_mtime_ns == kept[1]
    names = starfile.read(tmp_path / "sim" / "particles.star")["particles"]["rlnImageName"]
    assert len(names) == 1800
    assert all((tmp_path / "sim" / name).is_file() for name in names)


def test_the_recipe_of_the_local_data_asks_for_its_folder(tmp_path: Path) -> None:
    ended = call("simulate", "--recipe", "protein-local", "--out", tmp_path / "sim", "--quiet")
    assert_refused(
        ended, "proteins/nucleosome/2pyo.pdb.gz: no such structure; give the folder of the files as --data"
    )
    assert not (tmp_path / "sim").exists()


def test_the_papers_network_makes_volumes_of_32(tmp_path: Path) -> None:
    """Built on the meta device: its 178 million weights would take 2.6 GiB with their gradients and moments."""
    import torch

    from dualcontrast.recipe import read_recipe

    with torch.device("meta"):
        method = read_recipe("subtomograms-paper").build((1, 32, 32, 32))
    assert sum(parameter.numel() for parameter in method.parameters()) > 164_000_000
    assert [tuple(m.weight.shape) for m in method.encoder.trunk if isinstance(m, torch.nn.Linear)] == [
        (512, 128 * 4**3),
        (1024, 512),
    ]


@pytest.mark.parametrize(("tilts", "widths"), [(90, []), (60, [60])])
def test_views_lose_the_wedge_that_is_missing(tilts: int, widths: list[int], tmp_path: Path) -> None:
    import dualcontrast

    changes = {"tilt_range": tilts, "per_state": 6, "box": 16, "voxel_size": 16.0}
    simulation = dualcontrast.simulate(tmp_path / "sim", recipe="demo", settings=changes)
    quick = {
        "method": {"name": "simclr"},
        "views": ["rotation", "wedge"],
        "network": {"encoder": {"channels": [4, 4]}},
        "training": {"minutes": 1e-6, "batch_size": 4},
    }
    run = dualcontrast.train(simulation.star, out=tmp_path / "run", settings=quick)
    views = run.config().recipe["views"]
    assert [view["degrees"] for view in views if view["name"] == "wedge"] == pytest.approx(widths, abs=3)


def test_other_subtomograms_are_prepared_as_those_of_the_training(run: Path, folder: Path, tmp_path: Path) -> None:
    blocks = starfile.read(folder / "particles.star", parse_as_string=["dualcontrastConformation"])
    blocks["particles"] = blocks["particles"].iloc[[3, 50, 7]]
    starfile.write(blocks, folder / "some.star")
    ended = call("encode", run, folder / "some.star", "--out", tmp_path / "codes", "--quiet", "--device", "cpu")
    assert ended.status == 0, ended.err
    assert call("encode", run, "--quiet", "--device", "cpu").status == 0
    some, own = (np.load(place / "content.npy") for place in (tmp_path / "codes", run / "codes"))
    # probabilities are steep in codes, which differ by rounding with the size of a batch
    np.testing.assert_allclose(some, own[[3, 50, 7]], rtol=0, atol=1e-3)
