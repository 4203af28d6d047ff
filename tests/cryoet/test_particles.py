from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pandas.testing import assert_frame_equal
from scipy.spatial.transform import Rotation
from tests.support.dialects import RELION4, RELION30, RELION31, WARP

from dualcontrast.cryoet.particles import Particles, read_particles, split_name
from dualcontrast.cryoet.star import write_particles
from dualcontrast.errors import SourceError


def read(text: str, folder: Path) -> Particles:
    (folder / "p.star").write_text(text)
    return read_particles(folder / "p.star")


def refused(text: str, folder: Path) -> str:
    with pytest.raises(SourceError) as error:
        read(text, folder)
    assert str(error.value).startswith(f"{folder / 'p.star'}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


def without(text: str, column: str) -> str:
    """Write a column of another name in place of one."""
    assert f"_{column} " in text
    return text.replace(f"_{column} ", "_rlnOther ")


# ---- dialects


def test_relion_31(tmp_path: Path) -> None:
    particles = read(RELION31, tmp_path)
    assert len(particles) == 3
    assert particles.path == tmp_path / "p.star"
    assert particles.image_names.tolist() == ["000002@a/stack.mrcs", "000001@a/stack.mrcs", "a/3.mrc"]
    assert particles.ctf_names is not None
    assert particles.ctf_names.tolist() == ["a/ctf.mrc", "a/ctf.mrc", "b/ctf.mrc"]
    assert particles.pixel_size == 2.5  # that of the groups in use
    assert not particles.ctf_premultiplied
    np.testing.assert_array_equal(particles.shifts(), [[-1, 2.5, -3], [0, 0, 0], [4, 0, -10]])
    assert particles.optics is not None
    assert particles.optics["rlnOpticsGroupName"].tolist() == ["first", "unused"]
    assert particles.others == {}


def test_rows_and_columns_are_kept_as_they_are(tmp_path: Path) -> None:
    particles = read(RELION31, tmp_path)
    assert particles.table["rlnTomoName"].tolist() == ["002", "001", "002"]
    assert particles.table["rlnMyColumn"].tolist() == [0.25, 0.5, 0.75]
    assert len(particles.table.columns) == 12
    assert particles.table.index.tolist() == [0, 1, 2]


def test_padded_and_missing_numbers_stay(tmp_path: Path) -> None:
    padded = RELION31.replace(" 0.25 ", " 007 ").replace(" 0.5 ", " 010 ").replace(" 0.75 ", " 123 ")
    particles = read(padded, tmp_path)
    assert particles.table["rlnMyColumn"].tolist() == ["007", "010", "123"]
    missing = read(RELION31.replace(" 0.5 ", " nan "), tmp_path)
    assert missing.table["rlnMyColumn"].isna().tolist() == [False, True, False]
    for kept in (particles, missing):
        write_particles(tmp_path / "out.star", kept.table, kept.optics)
        assert_frame_equal(read_particles(tmp_path / "out.star").table, kept.table, check_dtype=False)
    assert "\tnan\t" in (tmp_path / "out.star").read_text()  # RELION stops at <NA>


@pytest.mark.parametrize("name", ["", "images"])
def test_relion_30(name: str, tmp_path: Path) -> None:
    particles = read(RELION30.replace("data_", f"data_{name}"), tmp_path)
    assert particles.optics is None
    assert particles.pixel_size == 2
    assert particles.matrices() is None
    assert particles.ctf_names is None
    np.testing.assert_array_equal(particles.shifts(), [[-2, -4, -6], [2, 0, -1]])  # Angstrom, from pixels


def test_warp(tmp_path: Path) -> None:
    particles = read(WARP, tmp_path)
    assert particles.pixel_size == pytest.approx(10)
    assert particles.image_names[1] == "../sub/TS_1_0001_10.00A.mrc"
    np.testing.assert_array_equal(particles.shifts(), np.zeros((2, 3)))


def test_relion_4_and_5(tmp_path: Path) -> None:
    particles = read(RELION4, tmp_path)
    assert particles.pixel_size == 5.4
    assert particles.ctf_premultiplied
    assert particles.others == {"general": {"rlnTomoSubTomosAre2DStacks": 0}}
    # The subtomogram's own orientation is in its voxels already.
    expected = Rotation.from_euler("ZYZ", [20, 40, 60], degrees=True).inv().as_matrix()
    matrices = particles.matrices()
    assert matrices is not None
    np.testing.assert_allclose(matrices, [expected, np.eye(3)], atol=1e-12)


def test_a_block_of_one_row_may_be_a_list(tmp_path: Path) -> None:
    text = "data_optics\n\n_rlnOpticsGroup 1\n_rlnImagePixelSize 3.5\n\ndata_particles\n\n"
    particles = read(text + "_rlnImageName 1@a.mrcs\n_rlnOpticsGroup 1\n", tmp_path)
    assert (len(particles), particles.pixel_size) == (1, 3.5)


def test_names_of_volumes() -> None:
    assert split_name("000012@a/b.mrcs") == (12, "a/b.mrcs")
    assert split_name("/a/b.mrc") == (None, "/a/b.mrc")
    for name in ("0@a.mrcs", "x@a.mrcs", "-1@a.mrcs", "@a.mrcs", "1@", "1@2@a.mrcs", ""):
        with pytest.raises(ValueError):
            split_name(name)


# ---- labels


def test_labels(tmp_path: Path) -> None:
    particles = read(RELION31, tmp_path)
    assert particles.labels("dualcontrastIdentity").tolist() == ["01", "02", "01"]
    assert particles.labels("rlnOpticsGroup").tolist() == [1, 1, 1]
    assert particles.labels("rlnTomoName").dtype.kind == "U"


def test_labels_that_are_not_there(tmp_path: Path) -> None:
    particles = read(RELION31.replace("0.75 01", "0.75 <NA>"), tmp_path)
    with pytest.raises(SourceError, match="particles have no column rlnTomName; did you mean rlnTomoName"):
        particles.labels("rlnTomName")
    with pytest.raises(SourceError, match="row 3 has no dualcontrastIdentity"):
        particles.labels("dualcontrastIdentity")


# ---- what is wrong


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"p\.star: no such STAR file"):
        read_particles(tmp_path / "p.star")
    assert "no block data_particles; it has no data at all" in refused("some words", tmp_path)
    assert "it has data_movies" in refused("data_movies\n\n_rlnVoltage 300\n", tmp_path)
    assert "damaged, or not a STAR file" in refused(RELION30 + "t1.mrc 7 3.mrc 2 1 2 3 4 5 6\n", tmp_path)


@pytest.mark.parametrize("text", [RELION31, RELION30])
def test_no_particles(text: str, tmp_path: Path) -> None:
    rows = text.splitlines()
    first = next(place for place, row in enumerate(rows) if "@" in row or "a/1.mrc" in row)
    assert "has no particles" in refused("\n".join(rows[:first]) + "\n", tmp_path)


@pytest.mark.parametrize(
    ("text", "column", "sentence"),
    [
        (RELION31, "rlnImageName", "its particle block has no rlnImageName"),
        (RELION31, "rlnOpticsGroup", "has no rlnOpticsGroup"),
        (RELION31, "rlnAngleTilt", "its particle block has no rlnAngleTilt"),
        (RELION31, "rlnOriginZAngst", "its particle block has no rlnOriginZAngst"),
        (RELION30, "rlnOriginZ", "its particle block has no rlnOriginZ"),
        (RELION31, "rlnImagePixelSize", "add a column rlnImagePixelSize, in Angstrom, to data_optics"),
        (RELION30, "rlnPixelSize", "add a column rlnImagePixelSize, in Angstrom, to its particle block"),
        (WARP, "rlnMagnification", "does not state the pixel size"),
    ],
)
def test_columns_that_are_missing(text: str, column: str, sentence: str, tmp_path: Path) -> None:
    assert sentence in refused(without(text, column), tmp_path)


@pytest.mark.parametrize(
    ("text", "old", "new", "sentence"),
    [
        (RELION31, "1 first 2.5", "1 first 0", "optics group 1 has a pixel size of 0 A"),
        (RELION31, "1 first 2.5", "1 first -2.5", "optics group 1 has a pixel size of -2.5 A"),
        (RELION31, "1 first 2.5", "1 first none", "optics group 1 has none as its rlnImagePixelSize"),
        (RELION30, "a/2.mrc 2", "a/2.mrc 0", "row 2 has a pixel size of 0 A"),
        (RELION30, "a/2.mrc 2", "a/2.mrc 4", "row 1 has pixels of 2 A and row 2 of 4 A"),
        (WARP, "1.tomostar 10000.0", "1.tomostar 0", "row 1 has a pixel size of inf A"),
        (RELION31, "b/ctf.mrc 1", "b/ctf.mrc 2", "optics group 1 has pixels of 2.5 A and optics group 2 of 7 A"),
        (RELION31, "b/ctf.mrc 1", "b/ctf.mrc 3", "row 3 belongs to optics group 3, which is not in data_optics"),
        (RELION31, "-170.5", "left", "row 2 has left as its rlnAngleRot; it must be a number"),
        (RELION31, "-170.5", "nan", "row 2 has nan as its rlnAngleRot"),
        (RELION31, "1e1", "near", "row 3 has near as its rlnOriginZAngst"),
        (RELION31, "000001@", "0@", "row 2 has 0@a/stack.mrcs as its rlnImageName; it must be"),
        (RELION31, "000001@", "one@", "row 2 has one@a/stack.mrcs as its rlnImageName"),
        (RELION31, "b/ctf.mrc", "0@ctf.mrc", "row 3 has 0@ctf.mrc as its rlnCtfImage"),
        (RELION31, "a/3.mrc", "<NA>", "row 3 has no rlnImageName"),
        (
            RELION4,
            "Stacks                       0",
            "Stacks 1",
            "2D stacks, not volumes; extract them again as 3D",
        ),
        (RELION31, "1 first 2.5 32 3", "1 first 2.5 32 2", "set 'Write output as 2D stacks?' to No"),
    ],
)
def test_values_that_cannot_be_used(text: str, old: str, new: str, sentence: str, tmp_path: Path) -> None:
    assert old in text
    assert sentence in refused(text.replace(old, new), tmp_path)


def test_groups_that_are_premultiplied_in_part(tmp_path: Path) -> None:
    text = RELION4.replace("5.4 3 1\n", "5.4 3 1\n2 1.35 4.0 5.4 3 0\n")
    assert read(text, tmp_path).ctf_premultiplied  # the second group is in no use
    for word in ("False", "True"):  # RELION reads any word as 0
        assert not read(RELION4.replace("5.4 3 1\n", f"5.4 3 {word}\n"), tmp_path).ctf_premultiplied
    assert "some optics groups are premultiplied" in refused(text.replace("TS_01/2 1", "TS_01/2 2"), tmp_path)


def test_a_file_cut_within_a_row(tmp_path: Path) -> None:
    cut = RELION31[: RELION31.index(" -4 0 1e1")]
    assert "row 3 has nan as its rlnOriginXAngst" in refused(cut + "\n", tmp_path)
