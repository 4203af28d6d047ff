from __future__ import annotations

import multiprocessing
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.particles import PIXEL_SIZE, angles_and_origins, write_mrc, write_particles_of, write_star
from torch.utils.data import DataLoader, Dataset

from dualcontrast.cryoet.ctf import CTFSettings, ctf_volume, wedge_volume
from dualcontrast.cryoet.geometry import matrices_of_angles
from dualcontrast.errors import DualContrastWarning, SourceError
from dualcontrast.images import ImageSet, cache, open_images, subtomograms, with_split
from dualcontrast.images.preparation import Preparation, soft_sphere
from dualcontrast.images.subtomograms import Subtomograms

BOX = 8


@pytest.fixture
def volumes(rng: np.random.Generator) -> np.ndarray:
    """Five bright balls in noise."""
    ball = np.linalg.norm(np.indices((BOX,) * 3) - BOX // 2, axis=0) < 2
    return (rng.normal(size=(5, BOX, BOX, BOX)) + 3 * ball).astype(np.float32)


def opened(source: Path, **options: Any) -> Subtomograms:
    images = open_images(source, **options)
    assert isinstance(images, Subtomograms)
    return images


def prepared(volumes: np.ndarray, preparation: Preparation | None = None) -> np.ndarray:
    tensor = torch.from_numpy(volumes)[:, None]
    return np.asarray((preparation or Preparation(volumes.shape[-1]))(tensor, np.arange(len(volumes))))


def refused(source: Path, **options: Any) -> str:
    with pytest.raises(SourceError) as error:
        opened(source, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- STAR files


def test_a_star_file_of_single_volumes(volumes: np.ndarray, tmp_path: Path) -> None:
    star = write_particles_of(volumes, tmp_path)
    images = opened(star)
    assert (images.source, len(images), images.shape) == (str(star), 5, (1, BOX, BOX, BOX))
    assert images.pixel_size == PIXEL_SIZE
    assert images.table.to_dict("list") == {"row": [0, 1, 2, 3, 4]}
    assert images.particles is not None
    assert len(images.particles) == 5
    read = images.read(np.array([3, 0, 3]))
    assert read.dtype == torch.float32
    np.testing.assert_array_equal(read[0], read[2])
    np.testing.assert_allclose(read[:2], prepared(volumes[[3, 0]]), atol=1e-5)
    np.testing.assert_array_equal(images.raw(np.array([4, 1]))[:, 0], volumes[[4, 1]])


def test_stacks_are_counted_from_one(volumes: np.ndarray, tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrcs", volumes[:3])
    write_mrc(tmp_path / "b.mrcs", volumes[3:])
    star = write_star(tmp_path / "p.star", ["000002@b.mrcs", "3@a.mrcs", "000001@a.mrcs", "1@b.mrcs"])
    np.testing.assert_array_equal(opened(star).raw(np.arange(4))[:, 0], volumes[[4, 2, 0, 3]])


def test_labels_ride_in_the_star_file(volumes: np.ndarray, tmp_path: Path) -> None:
    columns = {
        "dualcontrastIdentity": ["7", "7", "8", "8", "8"],
        "dualcontrastConformation": ["open", "shut", "open", "shut", "open"],
        "rlnTomoName": ["001", "001", "002", "002", "002"],
        "rlnClassNumber": [1, 2, 1, 2, 3],
    }
    star = write_particles_of(volumes, tmp_path, **columns)
    table = opened(star).table
    assert list(table) == ["row", "content", "transformation"]
    assert table["content"].tolist() == columns["dualcontrastIdentity"]
    assert table["transformation"].tolist() == columns["dualcontrastConformation"]
    assert opened(star, labels="rlnTomoName").table["content"].tolist() == columns["rlnTomoName"]
    assert opened(star, labels="rlnClassNumber").table["content"].tolist() == [1, 2, 1, 2, 3]
    assert "particles have no column rlnClass; did you mean rlnClassNumber?" in refused(star, labels="rlnClass")
    assert "integers or strings" in refused(write_particles_of(volumes, tmp_path, score=0.5), labels="score")


# ---- preparation


@pytest.mark.parametrize("unit", ["Angst", "pixels"])
def test_poses_are_those_of_relion(unit: str, rng: np.random.Generator, tmp_path: Path) -> None:
    """A ball of the reference at one place is found there in every aligned volume."""
    place, box = np.array([3.0, -2.0, 1.0]), 16
    angles, offsets = rng.uniform(-180, 180, (6, 3)), rng.uniform(-1.5, 1.5, (6, 3))
    angles[:, 1] = np.abs(angles[:, 1])
    z, y, x = np.indices((box,) * 3) - box // 2
    volumes = 1e-2 * rng.normal(size=(6, box, box, box))
    for row, (matrix, offset) in enumerate(zip(matrices_of_angles(angles), offsets, strict=True)):
        at = matrix @ place + offset
        volumes[row] += np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2) / 3)
    columns = angles_and_origins(angles, -offsets * (PIXEL_SIZE if unit == "Angst" else 1))
    star = write_particles_of(volumes, tmp_path, **columns)
    if unit == "pixels":
        star.write_text(star.read_text().replace("Angst", ""))
    for volume in opened(star, poses=True).read(np.arange(6))[:, 0]:
        assert (np.array(np.unravel_index(int(volume.argmax()), volume.shape))[::-1] - box // 2 == place).all()


def test_options_of_preparation(volumes: np.ndarray, rng: np.random.Generator, tmp_path: Path) -> None:
    star = write_particles_of(-volumes, tmp_path)
    half = opened(star, invert=True, bin=2, mask="sphere")
    assert (half.shape, half.pixel_size) == ((1, 4, 4, 4), 2 * PIXEL_SIZE)
    expected = prepared(-volumes, Preparation(BOX, True, 2, mask=soft_sphere(4)))
    np.testing.assert_allclose(half.read(np.arange(5)), expected, atol=1e-5)
    mask = rng.random((BOX,) * 3, np.float32)
    path = write_mrc(tmp_path / "mask.mrc", mask)
    masked = opened(star, invert=True, mask=path).read(np.arange(5))
    np.testing.assert_allclose(masked, mask * prepared(-volumes, Preparation(BOX, True)), atol=1e-5)


def test_a_mask_of_either_box(volumes: np.ndarray, tmp_path: Path) -> None:
    star = write_particles_of(volumes, tmp_path)
    wave = 0.5 + 0.25 * np.cos(2 * np.pi * np.indices((BOX,) * 3)[0] / BOX)  # as good on every other voxel
    large, small = write_mrc(tmp_path / "l.mrc", wave), write_mrc(tmp_path / "s.mrc", wave[::2, ::2, ::2])
    masked = [opened(star, bin=2, mask=mask).read(np.arange(5)) for mask in (large, small)]
    np.testing.assert_allclose(masked[0], masked[1], atol=1e-5)
    assert not np.allclose(masked[0], opened(star, bin=2).read(np.arange(5)), atol=0.1)


@pytest.mark.parametrize(("factor", "said"), [(255.0, "divided by 255"), (1.05, "clipped to 0 and 1")])
def test_masks_of_bytes_and_resampled_masks_are_taken_with_a_word(
    factor: float, said: str, volumes: np.ndarray, tmp_path: Path
) -> None:
    star = write_particles_of(volumes, tmp_path)
    mask = np.zeros((BOX,) * 3)
    mask[2:6, 2:6, 2:6] = 1
    whole = write_mrc(tmp_path / "whole.mrc", mask)
    scaled = write_mrc(tmp_path / "scaled.mrc", factor * mask)
    with pytest.warns(DualContrastWarning, match=said):
        read = opened(star, mask=scaled).read(np.arange(5))
    np.testing.assert_allclose(read, opened(star, mask=whole).read(np.arange(5)), rtol=1e-6)


def test_options_that_do_not_fit(volumes: np.ndarray, tmp_path: Path) -> None:
    star = write_particles_of(volumes, tmp_path)
    for factor in (0, -2, 3, 8):
        assert f"boxes of 8 voxels cannot be binned by {factor}" in refused(star, bin=factor)
    assert "choose one of 1, 2, 4" in refused(star, bin=3)
    assert "leave out `poses`" in refused(star, poses=True)
    small = write_mrc(tmp_path / "small.mrc", np.ones((4, 4, 4)))
    assert "small.mrc: the mask has 4 x 4 x 4 voxels, but the boxes have 8" in refused(star, mask=small)
    density = write_mrc(tmp_path / "density.mrc", volumes[0])
    assert "density.mrc: has values from" in refused(star, mask=density)
    assert "nowhere.mrc: no such MRC file" in refused(star, mask=tmp_path / "nowhere.mrc")


def test_odd_boxes_are_read_but_not_binned(rng: np.random.Generator, tmp_path: Path) -> None:
    star = write_particles_of(rng.normal(size=(3, 9, 9, 9)), tmp_path)
    assert opened(star).shape == (1, 9, 9, 9)
    assert "choose one of 1" in refused(star, bin=3)


# ---- CTFs


def even_spectrum(rng: np.random.Generator) -> np.ndarray:
    """A spectrum with zero frequency at N // 2, and no symmetry but F(-k) = F(k)."""
    spectrum, opposite = rng.random((BOX,) * 3), -np.arange(BOX) % BOX
    return np.fft.fftshift((spectrum + spectrum[np.ix_(opposite, opposite, opposite)]) / 2).astype(np.float32)


def test_ctfs_whole_or_half(volumes: np.ndarray, rng: np.random.Generator, tmp_path: Path) -> None:
    spectra = [even_spectrum(rng) for _ in range(2)]
    write_mrc(tmp_path / "whole.mrc", spectra[0])
    write_mrc(tmp_path / "half.mrc", np.fft.ifftshift(spectra[0])[..., : BOX // 2 + 1])
    write_mrc(tmp_path / "halves.mrcs", np.stack([np.fft.ifftshift(s)[..., : BOX // 2 + 1] for s in spectra]))
    names = ["whole.mrc", "half.mrc", "1@halves.mrcs", "2@halves.mrcs", "whole.mrc"]
    star = write_particles_of(volumes, tmp_path, rlnCtfImage=names)
    for factor, inner in ((1, slice(0, 8)), (2, slice(2, 6))):
        ctfs = opened(star, bin=factor).ctf(np.array([3, 0, 1, 2, 4]))
        assert ctfs is not None
        for ctf, which in zip(ctfs, (1, 0, 0, 0, 0), strict=True):
            np.testing.assert_array_equal(ctf, spectra[which][inner, inner, inner])
            assert ctf[(len(ctf) // 2,) * 3] == spectra[which][4, 4, 4]


@pytest.mark.parametrize("tilts", [30, 45, 60, 90])
@pytest.mark.parametrize("box", [16, 32])
def test_tilts_are_told_by_what_the_ctfs_leave_out(tilts: int, box: int, tmp_path: Path) -> None:
    ctf = wedge_volume(box, tilts) * ctf_volume(box, 10.0, CTFSettings())
    turned = np.ascontiguousarray(ctf.transpose(1, 2, 0))  # of a tomogram with other axes: it changes nothing
    write_mrc(tmp_path / "a.mrc", ctf)
    write_mrc(tmp_path / "b.mrc", turned)
    noise = np.random.default_rng(0).normal(size=(4, box, box, box)).astype(np.float32)
    star = write_particles_of(noise, tmp_path, rlnCtfImage=["a.mrc", "b.mrc", "b.mrc", "a.mrc"])
    found = opened(star).tilt_range()
    assert found == pytest.approx(tilts, abs=0 if tilts == 90 else 5)  # voxels on the edge count as measured


def test_no_ctfs(volumes: np.ndarray, tmp_path: Path) -> None:
    images = opened(write_particles_of(volumes, tmp_path))
    assert images.ctf(np.arange(2)) is None
    assert images.tilt_range() is None


def test_ctfs_turn_with_their_particles(volumes: np.ndarray, rng: np.random.Generator, tmp_path: Path) -> None:
    write_mrc(tmp_path / "ctf.mrc", even_spectrum(rng))
    quarter = np.zeros((5, 3))
    quarter[:, 0] = 90
    columns = angles_and_origins(quarter, np.ones((5, 3)))
    star = write_particles_of(volumes, tmp_path, rlnCtfImage="ctf.mrc", **columns)
    plain, turned = (opened(star, poses=poses).ctf(np.array([2])) for poses in (False, True))
    assert plain is not None
    assert turned is not None
    (matrix,) = matrices_of_angles(quarter[:1])
    for z, y, x in np.ndindex(7, 7, 7):  # ctf(k) = stored(A k)
        k = np.array([x, y, z]) - 3
        at = np.rint(matrix @ k).astype(int)[::-1] + BOX // 2
        assert turned[0, z + 1, y + 1, x + 1] == pytest.approx(float(plain[(0, *at)]), abs=1e-5)


def test_a_ctf_that_many_share_is_read_once(
    volumes: np.ndarray, rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mrc(tmp_path / "ctf.mrc", even_spectrum(rng))
    images = opened(write_particles_of(volumes, tmp_path, rlnCtfImage="ctf.mrc"))
    read = []
    monkeypatch.setattr(
        subtomograms, "read_volume", lambda file, place: read.append(file) or np.ones(file.shape, np.float32)
    )
    images.ctf(np.arange(5))
    images.ctf(np.arange(5))
    assert len(read) == 1


def test_ctfs_that_do_not_fit(volumes: np.ndarray, tmp_path: Path) -> None:
    write_mrc(tmp_path / "ctf.mrc", np.ones((6, 6, 6)))
    star = write_particles_of(volumes, tmp_path, rlnCtfImage="ctf.mrc")
    assert "row 1: the CTF ctf.mrc has 6 x 6 x 6 voxels, but its subtomogram has a box of 8" in refused(star)
    (tmp_path / "ctf.mrc").unlink()
    assert "ctf.mrc: no such MRC file" in refused(star)


def test_options_are_kept_as_plain_values(
    volumes: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    star = write_particles_of(volumes, tmp_path)
    write_mrc(tmp_path / "mask.mrc", np.ones((BOX,) * 3))
    monkeypatch.chdir(tmp_path)
    images = opened(star, mask=Path("mask.mrc"), bin=2, invert=False)
    assert images.options == {"bin": 2, "mask": str(tmp_path / "mask.mrc"), "datadir": str(tmp_path)}
    assert opened(star, mask="sphere").options == {"mask": "sphere", "datadir": str(tmp_path)}


# ---- what is wrong


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_finite_are_found_when_they_are_read(
    value: float, volumes: np.ndarray, tmp_path: Path
) -> None:
    star = write_particles_of(volumes, tmp_path)
    images = opened(star)
    volumes[3, 1, 1, 1] = value
    write_mrc(tmp_path / "sub/003.mrc", volumes[3])
    images.read(np.array([0, 4]))
    for read in (images.read, images.raw):
        with pytest.raises(SourceError, match=r"row 4 \(sub/003\.mrc\) holds NaN or infinite values"):
            read(np.array([0, 3]))


def test_a_masked_subtomogram_is_named(
    volumes: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes[2] *= np.linalg.norm(np.indices((BOX,) * 3) - BOX // 2, axis=0) < 3
    sentence = "row 3 (sub/002.mrc) is constant outside the sphere"
    star = write_particles_of(volumes, tmp_path)
    assert sentence in refused(star)
    monkeypatch.setattr(subtomograms, "SAMPLES", 2)  # then it is found when it is read
    with pytest.raises(SourceError, match=re.escape(sentence)):
        opened(star, bin=2).read(np.arange(5))


# ---- warnings


def test_dark_particles_are_warned_of(volumes: np.ndarray, tmp_path: Path) -> None:
    star = write_particles_of(-volumes, tmp_path)
    with pytest.warns(DualContrastWarning, match=r"particles\.star: particles are darker .* pass `invert=True`"):
        opened(star)
    opened(star, invert=True)
    star = write_particles_of(volumes, tmp_path)
    opened(star)
    with pytest.warns(DualContrastWarning, match="leave out `invert`"):
        opened(star, invert=True)


def test_noise_alone_is_not_warned_of(rng: np.random.Generator, tmp_path: Path) -> None:
    opened(write_particles_of(rng.normal(size=(40, 8, 8, 8)), tmp_path))


def test_pixel_sizes_that_differ_are_warned_of_once(volumes: np.ndarray, tmp_path: Path) -> None:
    star = write_particles_of(volumes, tmp_path)
    write_mrc(tmp_path / "sub/001.mrc", volumes[1], 1.04 * PIXEL_SIZE)
    opened(star)
    for place in (2, 3):
        write_mrc(tmp_path / f"sub/00{place}.mrc", volumes[place], 2 * PIXEL_SIZE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert opened(star).pixel_size == PIXEL_SIZE
    assert len(caught) == 1
    assert "row 3 (sub/002.mrc) states a voxel size of 4 A, but 2 A is used" in str(caught[0].message)
    write_mrc(tmp_path / "sub/002.mrc", volumes[2], 0)  # it says nothing
    write_mrc(tmp_path / "sub/003.mrc", volumes[3])
    opened(star)


# ---- MRC files alone


def test_a_stack_of_volumes(volumes: np.ndarray, tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "a.mrcs", volumes)
    images = opened(path, bin=2)
    assert (len(images), images.shape, images.pixel_size) == (5, (1, 4, 4, 4), 2 * PIXEL_SIZE)
    assert images.particles is None
    assert images.ctf(np.arange(5)) is None
    assert images.options == {"bin": 2}
    np.testing.assert_allclose(images.read(np.arange(5)), prepared(volumes, Preparation(BOX, bin=2)), atol=1e-5)
    assert opened(write_mrc(tmp_path / "b.mrc", volumes, 0)).pixel_size is None


def test_a_folder_of_volumes_in_order_of_names(volumes: np.ndarray, tmp_path: Path) -> None:
    for name, volume in zip(("c.mrc", "a.mrc", "b.MRC"), volumes, strict=False):
        write_mrc(tmp_path / name, volume)
    write_mrc(tmp_path / ".hidden.mrc", volumes[4])
    (tmp_path / "notes.txt").write_text("taken on Monday")
    images = opened(tmp_path)
    assert images.table["file"].tolist() == ["a.mrc", "b.MRC", "c.mrc"]
    np.testing.assert_array_equal(images.raw(np.arange(3))[:, 0], volumes[[1, 2, 0]])
    write_mrc(tmp_path / "b.MRC", volumes[:2])
    assert "row 2: b.MRC holds 2 volumes" in refused(tmp_path)


def test_one_volume_is_too_few(volumes: np.ndarray, tmp_path: Path) -> None:
    assert "at least two images" in refused(write_mrc(tmp_path / "a.mrc", volumes[0]))


# ---- memory, processes, fingerprints


def test_what_was_read_stays_in_memory(volumes: np.ndarray, tmp_path: Path) -> None:
    images = opened(write_particles_of(volumes, tmp_path))
    first = images.read(np.array([3, 1, 3]))
    for path in (tmp_path / "sub").iterdir():
        path.unlink()
    np.testing.assert_array_equal(images.read(np.array([1, 3, 3])), first[[1, 0, 0]])
    with pytest.raises(SourceError, match=r"000\.mrc: no such MRC file"):
        images.read(np.array([1, 0]))
    with pytest.raises(SourceError, match=r"001\.mrc: no such MRC file"):  # a copy starts empty
        pickle.loads(pickle.dumps(images)).read(np.array([1]))


def test_what_is_read_is_not_the_memory_itself(volumes: np.ndarray, tmp_path: Path) -> None:
    images = opened(write_particles_of(volumes, tmp_path))
    before = images.read(np.arange(5)).clone()
    images.read(np.arange(5)).zero_()
    np.testing.assert_array_equal(images.read(np.arange(5)), before)


def test_a_large_set_does_not_stay(volumes: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CACHED_BYTES", volumes.nbytes - 1)
    monkeypatch.setattr(subtomograms, "VOXELS_AT_ONCE", 2 * BOX**3)
    images = opened(write_particles_of(volumes, tmp_path))
    np.testing.assert_allclose(images.read(np.arange(5)), prepared(volumes), atol=1e-5)
    (tmp_path / "sub/001.mrc").unlink()
    with pytest.raises(SourceError, match="no such MRC file"):
        images.read(np.array([1]))


class Batches(Dataset[torch.Tensor]):
    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __len__(self) -> int:
        return 5

    def __getitem__(self, place: int) -> torch.Tensor:
        return self.images.read(np.array([4 - place, place]))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_workers_read_the_same(volumes: np.ndarray, tmp_path: Path) -> None:
    images = with_split(opened(write_particles_of(volumes, tmp_path)), 0)
    images.read(np.arange(2))
    loader = DataLoader(Batches(images), batch_size=None, num_workers=2, multiprocessing_context="fork")
    expected = prepared(volumes)
    for _ in range(2):
        for place, read in enumerate(loader):
            np.testing.assert_allclose(read, expected[[4 - place, place]], atol=1e-5)


def test_the_digest_is_of_the_files_and_the_preparation(volumes: np.ndarray, tmp_path: Path) -> None:
    columns = angles_and_origins(np.full((5, 3), 30.0), np.zeros((5, 3)))
    star = write_particles_of(volumes, tmp_path, **columns)
    images = opened(star)
    digest = images.digest()
    images.read(np.arange(3))
    assert images.digest() == opened(star).digest() == digest
    mask = write_mrc(tmp_path / "mask.mrc", np.ones((BOX,) * 3))
    others = [{"bin": 2}, {"poses": True}, {"mask": "sphere"}, {"mask": mask}]
    digests = {opened(star, **options).digest() for options in others}
    with pytest.warns(DualContrastWarning):
        digests.add(opened(star, invert=True).digest())
    write_particles_of(volumes, tmp_path, **(columns | {"rlnAngleRot": 31.0}))
    assert opened(star).digest() == digest  # the pose plays no part
    digests.add(opened(star, poses=True).digest())
    volumes[4, 0, 0, 0] += 1e-3
    write_mrc(tmp_path / "sub/004.mrc", volumes[4])
    digests.add(opened(star).digest())
    assert len(digests | {digest}) == 8


def test_the_digest_does_not_depend_on_the_last_bits_of_what_is_computed(
    volumes: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    star = write_particles_of(volumes, tmp_path)
    digest = with_split(opened(star, bin=2), 0).digest()
    monkeypatch.setattr(Preparation, "__call__", lambda self, volumes, index: 1.0001 * volumes)
    assert with_split(opened(star, bin=2), 0).digest() == digest
