"""What is exported stands on the user's own rows, with every column that was there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import starfile
from pandas.testing import assert_frame_equal
from tests.support.maps import CodedRun, untrained_run
from tests.support.particles import PIXEL_SIZE, write_mrc, write_particles_of, write_star

from dualcontrast.analysis.clusters import cluster
from dualcontrast.api import Run
from dualcontrast.cryoet.star import read_particles
from dualcontrast.errors import DualContrastError, RunError, SourceError
from dualcontrast.images import open_images

COUNT, BOX = 24, 8
GROUPS = np.arange(COUNT) % 3 == 0  # 8 of these, 16 of the others


@pytest.fixture
def volumes() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(COUNT, BOX, BOX, BOX)).astype(np.float32)


def columns() -> dict[str, Any]:
    """Columns such as a user's file has, numbers that look like names among them."""
    return {
        "rlnTomoName": [f"{place % 4:03}" for place in range(COUNT)],
        "rlnTomoParticleName": [f"{place % 4:03}/{place}" for place in range(COUNT)],
        "rlnAngleRot": np.linspace(-170, 170, COUNT),
        "rlnAngleTilt": np.linspace(1, 179, COUNT),
        "rlnAnglePsi": 0.5,
        "rlnClassNumber": np.arange(COUNT) % 5 + 1,
        "userScore": np.random.default_rng(1).normal(size=COUNT),
        "userRemark": "good one",
    }


def clustered(run: CodedRun) -> CodedRun:
    """Give a run codes that tell the groups, and sort its images by them."""
    rng = np.random.default_rng(0)
    rows = run.images().table["row"].to_numpy()
    content = 9 * np.eye(2, 3)[GROUPS[rows].astype(int)] + rng.normal(size=(len(rows), 3))
    transformation = 9 * np.eye(2)[(rows // 3) % 2] + rng.normal(size=(len(rows), 2))
    run.keep_codes(content, transformation)
    cluster(run, content=2, transformation=2)
    return run


@pytest.fixture
def run(volumes: np.ndarray, tmp_path: Path) -> Run:
    return clustered(untrained_run(tmp_path / "run", write_particles_of(volumes, tmp_path / "data", **columns())))


def read(path: Path) -> pd.DataFrame:
    table: pd.DataFrame = starfile.read(path, always_dict=True, parse_as_string=["rlnTomoName"])["particles"]
    return table


def test_every_row_and_column_stays_and_codes_are_added(run: Run, tmp_path: Path) -> None:
    done = run.export()
    assert done.files == [run.path / "export" / "main" / "particles.star"]
    assert (done.rows, done.left_out, done.starts_from) == (COUNT, 0, tmp_path / "data")
    given, written = read(tmp_path / "data" / "particles.star"), read(done.files[0])
    kept = given.drop(columns="rlnClassNumber")
    assert_frame_equal(written[list(kept)], kept, check_dtype=False, rtol=1e-9)
    assert written["dualcontrastGivenClassNumber"].tolist() == given["rlnClassNumber"].tolist()
    np.testing.assert_array_equal(written["rlnClassNumber"], GROUPS + 1)
    np.testing.assert_array_equal(written["dualcontrastContentCluster"], GROUPS + 1)
    codes = np.load(run.path / "codes" / "content.npy")
    np.testing.assert_allclose(written[[f"dualcontrastContent{i}" for i in (1, 2, 3)]], codes, rtol=1e-6)
    codes = np.load(run.path / "codes" / "transformation.npy")
    np.testing.assert_allclose(written[[f"dualcontrastTransformation{i}" for i in (1, 2)]], codes, rtol=1e-6)
    assert written["dualcontrastContentProbability"].between(0.5, 1).all()
    again = read_particles(done.files[0])
    assert (len(again), again.pixel_size) == (COUNT, PIXEL_SIZE)


def test_a_file_of_each_class_and_of_its_parts(run: Run) -> None:
    done = run.export(per_class=True)
    whole = read(done.files[0])
    names = [path.name for path in done.files[1:]]
    assert names == [
        "class001.star", "class001_transformation1.star", "class001_transformation2.star",
        "class002.star", "class002_transformation1.star", "class002_transformation2.star",
    ]  # fmt: skip
    for path in done.files[1:]:
        number, *part = path.stem.removeprefix("class").split("_transformation")
        chosen = whole["rlnClassNumber"] == int(number)
        if part:
            chosen &= whole["dualcontrastTransformationCluster"] == int(part[0])
        assert_frame_equal(read(path), whole[chosen].reset_index(drop=True))
        assert np.loadtxt(path.with_suffix(".txt"), dtype=int).tolist() == np.flatnonzero(chosen).tolist()
    assert done.indices == [path.with_suffix(".txt") for path in done.files[1:]]


def test_an_export_is_replaced_only_when_it_is_said_and_by_a_whole_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = run.export().files
    path.write_text("mine")
    with pytest.raises(RunError, match=r"already holds particles\.star; replace it with --overwrite"):
        run.export()
    assert path.read_text() == "mine"

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("dualcontrast.maps.export.write_text", stopped)
        run.export(overwrite=True, per_class=True)
    assert path.read_text() == "mine"
    run.export(overwrite=True)
    assert len(read(path)) == COUNT
    assert [one.name for one in run.path.joinpath("export").iterdir()] == ["main"]


def test_rows_that_the_run_left_out_are_told(volumes: np.ndarray, tmp_path: Path) -> None:
    star = write_particles_of(volumes, tmp_path / "data", **columns())
    run = clustered(untrained_run(tmp_path / "run", star, {"training": {"limit": 15}}))
    done = run.export()
    assert (done.rows, done.left_out) == (15, COUNT - 15)
    given = read(star)["rlnTomoParticleName"].to_numpy()
    done = run.export(per_class=True, overwrite=True)
    for path, index in zip(done.files[1:], done.indices, strict=True):
        assert given[np.loadtxt(index, dtype=int)].tolist() == read(path)["rlnTomoParticleName"].tolist()
    rows = run.images().table["row"].to_numpy()
    assert read(done.files[0])["rlnImageName"].tolist() == read(star)["rlnImageName"].iloc[rows].tolist()


def test_an_older_dialect_gains_its_optics(volumes: np.ndarray, tmp_path: Path) -> None:
    star = write_particles_of(volumes, tmp_path / "data")
    block = starfile.read(star)["particles"].drop(columns="rlnOpticsGroup")
    block = block.assign(rlnPixelSize=PIXEL_SIZE, rlnVoltage=np.where(GROUPS, 200.0, 300.0), rlnOriginX=1.0)
    block = block.assign(rlnOriginY=np.arange(COUNT) / 2, rlnOriginZ=-2.0)
    starfile.write({"": block}, star)
    (path,) = clustered(untrained_run(tmp_path / "run", star)).export().files
    blocks = starfile.read(path)
    assert list(blocks) == ["optics", "particles"]
    optics, written = blocks["optics"], blocks["particles"]
    assert optics["rlnVoltage"].tolist() == [200, 300]
    assert optics["rlnImagePixelSize"].tolist() == [PIXEL_SIZE] * 2
    assert optics["rlnImageSize"].tolist() == [BOX, BOX]
    np.testing.assert_array_equal(written["rlnOpticsGroup"], np.where(GROUPS, 1, 2))
    np.testing.assert_allclose(written["rlnOriginYAngst"], PIXEL_SIZE * np.arange(COUNT) / 2)
    assert_frame_equal(written[list(block)], block, check_dtype=False)


def test_clusters_are_joined_onto_a_star_of_2d_stacks(run: Run, tmp_path: Path) -> None:
    """Its rows are others, in another order, and it is not read as subtomograms."""
    order = np.random.default_rng(3).permutation(COUNT)[:20]
    theirs = pd.DataFrame({"rlnTomoParticleName": [f"{place % 4:03}/{place}" for place in order]})
    theirs["rlnTomoName"] = theirs["rlnTomoParticleName"].str[:3]
    theirs.loc[20] = ["004/99", "004"]
    theirs["rlnImageName"] = [f"{place}_stack2d.mrcs" for place in range(21)]
    theirs["rlnOpticsGroup"] = 1
    optics = pd.DataFrame({"rlnOpticsGroup": [1], "rlnImagePixelSize": [1.5], "rlnImageDimensionality": [2]})
    general = {"rlnTomoSubTomosAre2DStacks": 1}
    starfile.write({"general": general, "optics": optics, "particles": theirs}, tmp_path / "stacks.star")
    done = run.export(join=tmp_path / "stacks.star", per_class=True)
    assert (done.rows, done.left_out, done.not_joined) == (20, 1, COUNT - 20)
    blocks = starfile.read(done.files[0], parse_as_string=["rlnTomoName"])
    assert list(blocks) == ["general", "optics", "particles"]
    assert blocks["general"] == general
    written = blocks["particles"]
    assert_frame_equal(written[list(theirs)], theirs.iloc[:20], check_dtype=False)
    np.testing.assert_array_equal(written["rlnClassNumber"], GROUPS[order] + 1)
    codes = np.load(run.path / "codes" / "content.npy")[order]
    np.testing.assert_allclose(written["dualcontrastContent2"], codes[:, 1], rtol=1e-6)
    assert sum(len(starfile.read(path)["particles"]) for path in done.files[1:] if "_" not in path.stem) == 20
    for path, index in zip(done.files[1:], done.indices, strict=True):
        names = starfile.read(path)["particles"]["rlnTomoParticleName"].tolist()
        assert theirs["rlnTomoParticleName"].iloc[np.loadtxt(index, dtype=int)].tolist() == names


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda table: table.drop(columns="rlnTomoParticleName"), "have no rlnTomoParticleName, by which rows"),
        (
            lambda table: table.assign(rlnTomoParticleName="000/0"),
            "row 2 has the rlnTomoParticleName 000/0",
        ),
        (lambda table: table.assign(rlnTomoParticleName=[f"x/{i}" for i in range(COUNT)]), "such as 000/0; join"),
    ],
)
def test_what_cannot_be_joined(run: Run, change: Any, sentence: str, tmp_path: Path) -> None:
    run.export()
    blocks = starfile.read(tmp_path / "data" / "particles.star")
    blocks["particles"] = change(blocks["particles"])
    starfile.write(blocks, tmp_path / "other.star")
    with pytest.raises(SourceError) as error:
        run.export(join=tmp_path / "other.star", overwrite=True)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert len(read(run.path / "export" / "main" / "particles.star")) == COUNT  # what was there stays


def test_a_source_that_is_no_star_is_exported_as_a_table(volumes: np.ndarray, tmp_path: Path) -> None:
    for place, volume in enumerate(volumes):
        write_mrc(tmp_path / "data" / f"{place:03}.mrc", volume)
    run = clustered(untrained_run(tmp_path / "run", tmp_path / "data"))
    done = run.export(per_class=True)
    table = pd.read_csv(done.files[0])
    assert table["file"].tolist() == [f"{place:03}.mrc" for place in range(COUNT)]
    assert table["row"].tolist() == list(range(COUNT))
    np.testing.assert_array_equal(table["dualcontrastContentCluster"], GROUPS + 1)
    assert len(pd.read_csv(run.path / "export" / "main" / "class002.csv")) == GROUPS.sum()
    rows = np.loadtxt(run.path / "export" / "main" / "class002.txt", dtype=int)
    assert rows.tolist() == np.flatnonzero(GROUPS).tolist()
    with pytest.raises(SourceError, match="not a STAR file, so nothing can be joined to it"):
        run.export(join=tmp_path / "x.star", overwrite=True)


def test_a_source_that_was_moved_is_looked_for(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    run = Run(run.path)
    with pytest.raises(SourceError, match=r"no longer there, looked for at .*particles\.star; put them back"):
        run.export()
    with pytest.raises(SourceError, match=r"particles\.star and .*/run/particles\.star; put them back"):
        run.export(datadir=run.path)
    done = run.export(datadir=tmp_path / "elsewhere")
    assert done.starts_from == tmp_path / "elsewhere"
    assert len(read(done.files[0])) == COUNT


def test_a_project_that_was_moved_is_found_with_what_lies_below_it(volumes: np.ndarray, tmp_path: Path) -> None:
    """RELION's STAR files lie in folders of its jobs, and the paths in them start from the project."""
    before, after = tmp_path / "project", tmp_path / "elsewhere"
    star = write_particles_of(volumes, before, **columns())
    (before / "Extract" / "job007").mkdir(parents=True)
    star = star.rename(before / "Extract" / "job007" / "particles.star")
    write_mrc(before / "mask.mrc", np.ones((BOX,) * 3))
    run = clustered(
        untrained_run(tmp_path / "run", star, datadir=before.resolve(), mask=str(before.resolve() / "mask.mrc"))
    )
    before.rename(after)
    done = Run(run.path).export(datadir=after)
    assert done.starts_from == after
    assert len(read(done.files[0])) == COUNT


def test_a_source_that_changed_is_refused(run: Run, tmp_path: Path) -> None:
    blocks = starfile.read(tmp_path / "data" / "particles.star")
    blocks["particles"] = blocks["particles"].iloc[::-1]
    starfile.write(blocks, tmp_path / "data" / "particles.star")
    with pytest.raises(RunError, match=r"not the images that .* was trained on, or changed since"):
        Run(run.path).export()


def test_rows_that_changed_places_are_refused_wherever_they_are(tmp_path: Path) -> None:
    """Of a large set, the fingerprint of the data reads a few volumes alone; names are all looked at."""
    write_mrc(tmp_path / "stack.mrc", np.random.default_rng(0).normal(size=(300, 8, 8, 8)).astype(np.float32))
    names = np.array([f"{place}@stack.mrc" for place in range(1, 301)])
    star = write_star(tmp_path / "particles.star", names)
    run = untrained_run(tmp_path / "run", star)
    before = open_images(star).digest()
    seen = set(np.linspace(0, 299, 256).astype(int))
    unseen = [place for place in range(300) if place not in seen][:2]
    names[unseen] = names[unseen[::-1]]
    write_star(star, names)
    assert open_images(star).digest() == before
    with pytest.raises(RunError, match=r"not the images that .* was trained on, or changed since"):
        Run(run.path).attach(open_images(star))


def test_without_clusters_there_is_nothing_to_export(run: Run) -> None:
    with pytest.raises(DualContrastError, match=r"has no clusters called other; did you mean|known are main"):
        run.export(clusters="other")
    assert not (run.path / "export").exists()
