from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import starfile
from pandas.testing import assert_frame_equal
from tests.support.dialects import RELION4, RELION30, RELION31

from dualcontrast.cryoet.particles import Particles, read_particles
from dualcontrast.cryoet.star import as_table, read_blocks, write_particles
from dualcontrast.errors import SourceError


def read(text: str, folder: Path) -> Particles:
    (folder / "p.star").write_text(text)
    return read_particles(folder / "p.star")


# ---- reading


def test_other_blocks_are_returned_by_name(tmp_path: Path) -> None:
    path = tmp_path / "p.star"
    path.write_text(RELION31)
    table, others = read_blocks(path)
    assert list(others) == ["optics"]
    assert table["rlnImageName"].tolist() == read_particles(path).image_names.tolist()
    path.write_text(RELION30)
    table, others = read_blocks(path)
    assert others == {}
    assert len(table) == 2


def test_names_stay_strings_and_numbers_become_numbers(tmp_path: Path) -> None:
    path = tmp_path / "p.star"
    path.write_text(RELION31)
    table, others = read_blocks(path)
    assert table["rlnTomoName"].tolist() == ["002", "001", "002"]
    assert table["rlnMyColumn"].tolist() == [0.25, 0.5, 0.75]
    assert others["optics"]["rlnImagePixelSize"].tolist() == [2.5, 7]


def test_a_list_of_names_and_values_is_a_table_of_one_row() -> None:
    assert_frame_equal(as_table({"a": 1, "b": "x"}), pd.DataFrame({"a": [1], "b": ["x"]}))


def test_a_file_without_particles_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.star"
    with pytest.raises(SourceError, match=r"p\.star: no such STAR file"):
        read_blocks(path)
    path.write_text("data_movies\n\n_rlnVoltage 300\n")
    with pytest.raises(SourceError, match="no block data_particles; it has data_movies"):
        read_blocks(path)


# ---- writing


@pytest.mark.parametrize("text", [RELION31, RELION4])
def test_what_is_written_is_read_again(text: str, tmp_path: Path) -> None:
    particles = read(text, tmp_path)
    table = particles.table.assign(dualcontrastCode=[1e-9, 1234567.8901, -1 / 3][: len(particles)])
    general: Any = particles.others.get("general")
    assert particles.optics is not None
    write_particles(tmp_path / "out" / "q.star", table, particles.optics, particles.others)
    again = read_particles(tmp_path / "out" / "q.star")
    assert_frame_equal(again.table, table, rtol=1e-11, check_dtype=False)
    assert again.optics is not None
    assert_frame_equal(again.optics, particles.optics, check_dtype=False)
    assert again.others == particles.others
    blocks = starfile.read(tmp_path / "out" / "q.star", always_dict=True)
    assert list(blocks) == ["general"] * (general is not None) + ["optics", "particles"]


def test_a_file_that_is_there_stays_where_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    particles = read(RELION31, tmp_path)

    def half_written(blocks: object, path: Path, **options: object) -> None:
        path.write_text("data_optics")
        raise OSError("no space left")

    monkeypatch.setattr(starfile, "write", half_written)
    assert particles.optics is not None
    with pytest.raises(OSError, match="no space left"):
        write_particles(particles.path, particles.table, particles.optics)
    assert particles.path.read_text() == RELION31
    assert [path.name for path in tmp_path.iterdir()] == ["p.star"]
