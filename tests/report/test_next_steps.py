from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import starfile
import yaml
from tests.support.maps import CodedRun, untrained_run
from tests.support.particles import angles_and_origins, write_particles_of
from tests.support.report import page_of

from dualcontrast.api import Run
from dualcontrast.maps import relion
from dualcontrast.report import next_steps


def test_there_are_commands_for_every_cluster(maps: CodedRun) -> None:
    text = page_of(maps.report(how="pca").path).texts["relion"]
    folder = maps.averages_folder("main").resolve()
    assert f"dualcontrast export {maps.path} --per-class" in text
    assert f"cd {maps.path.parent / 'sim'}" in text
    for content, part in ((1, 1), (1, 2), (2, 1)):
        star = folder / f"content{content}_transformation{part}.star"
        assert text.count(f"relion_reconstruct --i {star} ") == text.count(f"relion_refine --i {star} ") == 1
    assert text.count("--ctf") >= 6


def test_the_ctf_advice_depends_on_premultiplication(maps: CodedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """RELION 4 and 5 expect squared CTF volumes; those of a simulation are not squared."""
    monkeypatch.setattr(relion, "takes_premultiplied", lambda: False)
    assert "add --ctf3d_not_squared there" in next_steps._ctf_advice(ctf=True, premultiplied=False)
    stars = list(maps.averages_folder("main").glob("content*.star"))
    before = {star: star.read_bytes() for star in stars}
    for star in stars:
        blocks = starfile.read(star)
        blocks["optics"] = blocks["optics"].assign(rlnCtfDataAreCtfPremultiplied=1)
        starfile.write(blocks, star)
    text = page_of(maps.report(how="pca").path).texts["relion"]
    assert "The particles are multiplied by their CTF" in text
    assert "add --ctf3d_not_squared" not in text
    for star, kept in before.items():
        star.write_bytes(kept)


def test_commands_start_in_the_present_folder_of_the_particles(maps: CodedRun, tmp_path: Path) -> None:
    shutil.copytree(maps.path, tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    config["data"]["options"]["datadir"] = str(tmp_path / "before")
    config["data"]["source"] = str(tmp_path / "before" / "particles.star")
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.copytree(maps.path.parent / "sim", tmp_path / "after")
    copy = Run.open(tmp_path / "run")
    text = page_of(copy.report(how="pca", datadir=tmp_path / "after").path).texts["relion"]
    assert f"cd {tmp_path / 'after'}" in text
    assert f"dualcontrast export {copy.path} --per-class --datadir {tmp_path / 'after'}" in text
    assert str(tmp_path / "before") not in text


@pytest.mark.parametrize(
    ("box", "invert", "sentence"),
    [(8, True, "RELION averages and refines white ones"), (9, False, "The boxes are odd, but RELION needs even")],
)
def test_relion_needs_white_particles_and_even_boxes(
    box: int, invert: bool, sentence: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    columns = angles_and_origins(rng.uniform(-90, 90, (12, 3)), np.zeros((12, 3)))
    volumes = rng.normal(size=(12, box, box, box))
    volumes[:, 3:6, 3:6, 3:6] += -3 if invert else 3
    star = write_particles_of(volumes, tmp_path / "data", **columns)
    run = untrained_run(tmp_path / "run", star, invert=invert)
    run.keep_codes(rng.normal(size=(12, 4)), rng.normal(size=(12, 3)))
    run.cluster(content=1, transformation=1)
    run.average()
    done = run.report(how="pca")
    assert sentence in done.left_out["Continue in RELION"]
    text = page_of(done.path).texts["relion"]
    assert "dualcontrast export" in text
    assert "relion_refine" not in text
