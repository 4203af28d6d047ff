"""Files of codes: what is written comes back, and damage is reported in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dualcontrast.runs.codes
from dualcontrast.errors import RunError
from dualcontrast.runs import SavedCodes, read_codes, write_codes


def codes_of(count: int = 6) -> SavedCodes:
    rng = np.random.default_rng(0)
    content, latent = rng.standard_normal((2, count, 4)).astype(np.float32)
    transformation, other = rng.standard_normal((2, count, 3)).astype(np.float32)
    table = pd.DataFrame(
        {
            "row": np.arange(count) * 2,
            "split": ["train", "test"] * (count // 2),
            "content": ["a, b", 'c"d', "Å", "1", "", "e"][:count],
        }
    )
    return SavedCodes(content, transformation, latent, other, table)


def test_codes_come_back_to_the_last_bit(tmp_path: Path) -> None:
    codes = codes_of()
    write_codes(tmp_path / "codes", codes)
    again = read_codes(tmp_path / "codes")
    for name in ("content", "transformation", "content_latent", "transformation_latent"):
        expected, array = getattr(codes, name), getattr(again, name)
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, expected)
    assert list(again.table["row"]) == list(codes.table["row"])
    assert list(again.table["split"]) == list(codes.table["split"])
    assert list(again.table["content"].fillna("")) == list(codes.table["content"])


def test_codes_are_missing_until_all_of_them_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = np.save

    def failing(file: Path, array: np.ndarray) -> None:
        if "transformation" in file.name:
            raise OSError("the disk is full")
        save(file, array)

    monkeypatch.setattr(np, "save", failing)
    with pytest.raises(OSError, match="full"):
        write_codes(tmp_path, codes_of())
    with pytest.raises(RunError, match=r"no codes there; make them with `run\.encode\(\)`"):
        read_codes(tmp_path)


def test_codes_cut_off_while_written_anew_are_not_read_as_a_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_codes(tmp_path, codes_of())
    new = codes_of()
    monkeypatch.setattr(dualcontrast.runs.codes, "write_text", lambda *_: pytest.fail())
    with pytest.raises(pytest.fail.Exception):
        write_codes(tmp_path, SavedCodes(-new.content, *(new.transformation,) * 3, new.table))
    with pytest.raises(RunError):
        read_codes(tmp_path)


@pytest.mark.parametrize("name", ["content.npy", "transformation_latent.npy"])
@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "other", "pickle"])
def test_damaged_codes_are_refused(tmp_path: Path, name: str, damage: str) -> None:
    write_codes(tmp_path, codes_of())
    path = tmp_path / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "missing":
        path.unlink()
    elif damage == "pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(b"these are no codes")
    with pytest.raises(RunError, match=r"damaged codes .*; make them again with `run\.encode\(\)`"):
        read_codes(tmp_path)


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    write_codes(tmp_path, codes_of())
    table = tmp_path / "table.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-2]))
    with pytest.raises(RunError, match="codes and table differ in length"):
        read_codes(tmp_path)
    for text in ("", 'row\n1\n"2,3\n', "row\n1\n2,3,4\n"):
        table.write_text(text)
        with pytest.raises(RunError, match=r"make them again with `run\.encode\(\)`"):
            read_codes(tmp_path)
