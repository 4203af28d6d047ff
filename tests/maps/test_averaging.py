"""Averages of known poses against a slow reference, and the Fourier shell correlation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dualcontrast.cryoet.ctf import CTFSettings, ctf_volume, low_pass, wedge_volume
from dualcontrast.cryoet.simulator import Oversampled
from dualcontrast.maps.averaging import Sums, WeightedVolumes, aligned, resolution, shell_correlation, shells_of
from dualcontrast.poses import Poses
from dualcontrast.transforms.fourier import filtered, resized

BOX = 16


def blob(seed: int = 0, box: int = BOX) -> torch.Tensor:
    """Make a smooth volume without any symmetry, that fades towards the sides."""
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=(box,) * 3)).float()
    smooth = filtered(noise, torch.from_numpy(low_pass(box, box / 4)).float())
    distance = torch.from_numpy(np.linalg.norm(np.indices((box,) * 3) - box // 2, axis=0)).float()
    return smooth * torch.exp(-((distance / (box / 5)) ** 2))


def turned(volume: torch.Tensor, count: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return turned and shifted copies, with their poses."""
    rng = np.random.default_rng(seed)
    matrices = torch.from_numpy(Rotation.random(count, random_state=rng).as_matrix()).float()
    shifts = torch.from_numpy(rng.uniform(-1.5, 1.5, (count, 3))).float()
    return Oversampled(volume).transformed(matrices, shifts), matrices, shifts


def likeness(one: np.ndarray | torch.Tensor, other: np.ndarray | torch.Tensor) -> float:
    return float(np.corrcoef(np.ravel(one), np.ravel(other))[0, 1])


def test_undone_poses_give_the_volume_back() -> None:
    volume = blob()
    copies, matrices, shifts = turned(volume, 5)
    for copy in aligned(copies, matrices, shifts):
        assert likeness(copy, volume) > 0.99
    assert likeness(aligned(copies, matrices.mT, shifts)[0], volume) < 0.9
    assert likeness(aligned(copies, matrices, -shifts)[0], volume) < 0.98


@pytest.mark.parametrize("box", [BOX, 15])
def test_a_bright_voxel_lands_where_its_pose_says(box: int) -> None:
    volume, middle = torch.zeros(1, box, box, box), box // 2
    volume[0, middle + 2, middle + 1, middle + 4] = 1  # (x, y, z) = (4, 1, 2) from the centre
    # A turns x towards y; the particle stands 1 voxel along x. aligned(p) = volume(A p + shift)
    matrix = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    undone = aligned(volume, matrix, torch.tensor([[1.0, 0, 0]]))[0]
    # A p + (1, 0, 0) = (4, 1, 2) where p = (1, -3, 2)
    expected = torch.zeros(box, box, box)
    expected[middle + 2, middle - 3, middle + 1] = 1
    torch.testing.assert_close(undone, expected, atol=1e-5, rtol=0)


def test_resizing_keeps_a_band_limited_volume() -> None:
    volume = blob()
    larger = resized(volume, 2 * BOX)
    torch.testing.assert_close(larger[::2, ::2, ::2], volume, atol=1e-5, rtol=0)
    torch.testing.assert_close(resized(larger, BOX), volume, atol=1e-4, rtol=0)
    limited = resized(resized(volume, 12), BOX)
    assert likeness(limited, volume) > 0.99  # it holds little beyond 4 cycles a box


def test_the_average_is_the_quotient_of_the_sums() -> None:
    """Without turns, sum C X / (sum C^2 + tau) can be written with numpy alone."""
    rng = np.random.default_rng(0)
    volumes = rng.normal(size=(4, BOX, BOX, BOX)).astype(np.float32)
    ctf = ctf_volume(BOX, 10.0, CTFSettings()) * wedge_volume(BOX, 60)
    ctf = 0.5 * (ctf + np.roll(ctf[::-1, ::-1, ::-1], (1, 1, 1), axis=(0, 1, 2)))
    sums = Sums(BOX)
    observed = WeightedVolumes.of(torch.from_numpy(volumes), torch.from_numpy(ctf).float().expand(4, -1, -1, -1))
    sums.add(observed, Poses.identity(4))
    k = np.arange(BOX) - BOX // 2
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2)
    shells = np.rint(radius).astype(int)
    spectrum = np.fft.fftshift(np.fft.fftn(volumes.sum(axis=0))) * ctf
    expected = np.zeros_like(spectrum)
    for shell in range(BOX // 2 + 1):
        inside = shells == shell
        weight = 4 * ctf[inside] ** 2
        wiener = spectrum[inside] / (weight + 0.01 * weight.mean())
        expected[inside] = wiener * weight / (weight + 0.1 * weight.mean())
    # The outermost shell is left out of the comparison: the grid cuts it off on one side.
    inner = shells < BOX // 2
    found = np.fft.fftshift(np.fft.fftn(sums.volume()))
    np.testing.assert_allclose(found[inner], expected[inner], rtol=2e-3, atol=2e-2)
    assert sums.count == 4


def test_premultiplied_volumes_give_the_same_average() -> None:
    volume = blob()
    copies, matrices, shifts = turned(volume, 6)
    ctf = torch.from_numpy(ctf_volume(BOX, 10.0, CTFSettings())).float().expand(6, -1, -1, -1)
    seen = filtered(copies, ctf)
    one, other = Sums(BOX), Sums(BOX)
    one.add(WeightedVolumes.of(seen, ctf), Poses(matrices, shifts))
    other.add(WeightedVolumes.of(filtered(seen, ctf), ctf**2, premultiplied=True), Poses(matrices, shifts))
    np.testing.assert_allclose(one.volume(), other.volume(), atol=1e-5)


def test_the_average_corrects_the_ctf_and_the_wedge() -> None:
    volume = blob()
    copies, matrices, shifts = turned(volume, 30)
    transfer = ctf_volume(BOX, 10.0, CTFSettings()) * wedge_volume(BOX, 50)
    ctf = torch.from_numpy(transfer).float().expand(30, -1, -1, -1)
    noise = torch.from_numpy(np.random.default_rng(2).normal(size=copies.shape)).float()
    observed = filtered(copies, ctf) + 0.5 * copies.std() * noise
    corrected, plain = Sums(BOX), Sums(BOX)
    corrected.add(WeightedVolumes.of(observed, ctf), Poses(matrices, shifts))
    plain.add(WeightedVolumes.of(observed, None), Poses(matrices, shifts))
    inside = low_pass(BOX, 6)
    limited = filtered(volume, torch.from_numpy(inside).float())
    found, uncorrected = (
        filtered(torch.from_numpy(sums.volume()), torch.from_numpy(inside).float()) for sums in (corrected, plain)
    )
    assert likeness(found, limited) > 0.95
    assert likeness(found, limited) > likeness(uncorrected, limited) + 0.03


def test_sums_add_up_and_turn() -> None:
    volume = blob()
    copies, matrices, shifts = turned(volume, 8)
    whole, first, second = Sums(BOX), Sums(BOX), Sums(BOX)
    whole.add(WeightedVolumes.of(copies, None), Poses(matrices, shifts))
    first.add(WeightedVolumes.of(copies[:3], None), Poses(matrices[:3], shifts[:3]))
    second.add(WeightedVolumes.of(copies[3:], None), Poses(matrices[3:], shifts[3:]))
    np.testing.assert_allclose((first + second).volume(), whole.volume(), atol=1e-5)
    (other,), matrix, shift = turned(volume, 1, seed=5)
    away = Sums(BOX)
    away.add(WeightedVolumes.of(other[None], None), Poses.identity(1))
    assert likeness(away.aligned(Poses(matrix, shift)).volume(), volume) > 0.98


def test_what_the_halves_do_not_share_fades() -> None:
    volume = blob()
    sums = Sums(BOX)
    sums.add(WeightedVolumes.of(volume[None], None), Poses.identity(1))
    fsc = np.where(np.arange(BOX // 2 + 1) <= 3, 1.0, 0.0)
    power = np.abs(np.fft.fftshift(np.fft.fftn(sums.volume(fsc)))) ** 2
    whole = np.abs(np.fft.fftshift(np.fft.fftn(sums.volume()))) ** 2
    k = np.arange(BOX) - BOX // 2
    shells = np.rint(np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2))
    assert power[shells == 2].sum() == pytest.approx(whole[shells == 2].sum(), rel=0.05)
    assert power[shells == 5].sum() < 1e-3 * whole[shells == 5].sum()


def test_what_no_particle_measured_is_not_made_up() -> None:
    """All six share one wedge: what interpolation leaks into it stays small."""
    volume = blob()
    wedge = torch.from_numpy(wedge_volume(BOX, 40)).float().expand(6, -1, -1, -1)
    noise = torch.from_numpy(np.random.default_rng(2).normal(size=wedge.shape)).float()
    seen = filtered(volume + volume.std() * noise, wedge)
    turns = torch.from_numpy(
        Rotation.from_euler("x", np.linspace(0, 10, 6)[:, None], degrees=True).as_matrix()
    ).float()
    sums = Sums(BOX)
    sums.add(WeightedVolumes.of(seen, wedge), Poses(turns, torch.zeros(6, 3)))
    power = np.abs(np.fft.fftshift(np.fft.fftn(sums.volume()))) ** 2
    measured = sums.weight.numpy() > 0
    k = np.arange(BOX) - BOX // 2
    inside = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2) < 7
    assert (inside & ~measured).sum() > 200
    assert power[inside & ~measured].mean() < 0.3 * power[inside & measured].mean()


def test_the_shell_correlation_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(8, 8, 8))
    other = one + rng.normal(size=(8, 8, 8))
    f, g = (np.fft.fftshift(np.fft.fftn(volume)) for volume in (one, other))
    found = shell_correlation(one, other)
    for shell in range(5):
        total, f_power, g_power = 0.0, 0.0, 0.0
        for z in range(8):
            for y in range(8):
                for x in range(8):
                    if round(float(np.linalg.norm([z - 4, y - 4, x - 4]))) == shell:
                        total += (f[z, y, x] * np.conj(g[z, y, x])).real
                        f_power += abs(f[z, y, x]) ** 2
                        g_power += abs(g[z, y, x]) ** 2
        assert found[shell] == pytest.approx(total / np.sqrt(f_power * g_power))
    np.testing.assert_allclose(shell_correlation(one, 3 * one), 1)
    assert shell_correlation(one, np.zeros((8, 8, 8))).tolist() == [0] * 5


def test_the_shell_correlation_does_not_depend_on_brightness() -> None:
    one = np.random.default_rng(0).normal(size=(9, 9, 9))
    np.testing.assert_allclose(shell_correlation(1e-4 * one, 1e-4 * one), 1)
    flat = np.ones((9, 9, 9))  # has nothing but its mean
    assert shell_correlation(flat, flat) == pytest.approx([1, 0, 0, 0, 0], abs=1e-6)
    with np.errstate(all="raise"):
        assert shell_correlation(0 * one, one).tolist() == [0] * 5


def test_shells_are_counted_from_the_voxel_in_the_middle() -> None:
    for box in (6, 7):
        shells = shells_of(box)
        for z, y, x in np.ndindex(shells.shape):
            radius = np.linalg.norm([z - box // 2, y - box // 2, x - box // 2])
            assert shells[z, y, x] == round(float(radius))


def response_of(weight: torch.Tensor, fsc: np.ndarray | None = None) -> np.ndarray:
    """Return the transfer function of an average with these weights: the spectrum of a point's average."""
    box = len(weight)
    sums = Sums(box)
    sums.data[box // 2, box // 2, box // 2] = 1
    sums.weight = weight
    average = np.fft.ifftshift(sums.volume(fsc))
    return np.fft.fftshift(np.fft.fftn(average)).real


def test_equal_weights_and_the_halves_agreement_give_one_factor_per_shell() -> None:
    """An odd box has all frequencies of its outermost shell."""
    shells = shells_of(9)
    response = response_of(torch.full((9, 9, 9), 5.0))
    np.testing.assert_allclose(response[shells <= 4], 1 / (5 * 1.01 * 1.1), rtol=1e-4)
    np.testing.assert_allclose(response[shells > 4], 0, atol=1e-6)
    fsc = np.array([1.2, 0.999, 0.8, 0.25, -0.5])
    response = response_of(torch.full((9, 9, 9), 5.0), fsc)
    # tau / mean weight: (1 - FSC) / (2 FSC), at least 0.01, with an FSC of at least 0.001
    for shell, tau in enumerate([0.01, 0.01, 0.125, 1.5, 0.999 / 0.002]):
        np.testing.assert_allclose(response[shells == shell], 1 / (5 * (1 + tau) * 1.1), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(response[shells > 4], 0, atol=1e-6)


def test_a_shell_that_nobody_measured_is_empty() -> None:
    shells = shells_of(9)
    weight = torch.from_numpy(np.where(shells == 2, 0, 3.0)).float()
    for fsc in (None, np.full(5, 0.5)):
        response = response_of(weight, fsc)
        assert np.isfinite(response).all()
        np.testing.assert_allclose(response[shells == 2], 0, atol=1e-6)
        assert response[shells == 3].min() > 0.15


def test_unequal_weights_within_a_shell() -> None:
    shells = shells_of(9)
    side = np.abs(np.arange(9) - 4)  # even in all frequencies
    values = 1.0 + side[:, None, None] + 2 * side[None, :, None] + 0 * side
    response = response_of(torch.from_numpy(values).float())
    for shell in range(5):
        weight = values[shells == shell]
        mean = weight.mean()
        expected = weight / ((weight + 0.01 * mean) * (weight + 0.1 * mean))
        np.testing.assert_allclose(response[shells == shell], expected, rtol=1e-4)


def test_sums_accumulate_and_count() -> None:
    rng = np.random.default_rng(0)
    data, weight = torch.from_numpy(rng.uniform(1, 2, (2, 5, 8, 8, 8))).float()
    sums, parts = Sums(8), []
    for chosen in (slice(0, 2), slice(2, 5)):
        part = WeightedVolumes(data[chosen], weight[chosen])
        sums.add(part, Poses.identity(len(part)))
        parts.append(Sums(8))
        parts[-1].add(part, Poses.identity(len(part)))
    for found in (sums, parts[0] + parts[1]):
        torch.testing.assert_close(found.data, data.sum(dim=0), atol=1e-4, rtol=0)
        torch.testing.assert_close(found.weight, weight.sum(dim=0), atol=1e-4, rtol=0)
        assert found.count == 5
    turned_sums = parts[1].aligned(Poses.identity(1))
    assert turned_sums.count == 3
    torch.testing.assert_close(turned_sums.data, parts[1].data, atol=1e-4, rtol=0)
    torch.testing.assert_close(turned_sums.weight, parts[1].weight, atol=1e-4, rtol=0)


def test_volumes_without_a_ctf_and_premultiplied_ones_keep_their_values() -> None:
    volumes, ctf = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 8, 8, 8))).float()
    plain = WeightedVolumes.of(volumes, None)
    assert torch.equal(plain.data, volumes)
    assert torch.equal(plain.weight, torch.ones_like(volumes))
    premultiplied = WeightedVolumes.of(volumes, ctf, premultiplied=True)
    assert torch.equal(premultiplied.data, volumes)
    assert torch.equal(premultiplied.weight, ctf)
    flat = WeightedVolumes.of(volumes, torch.full_like(volumes, -3.0))
    torch.testing.assert_close(flat.data, -3 * volumes)
    assert torch.equal(flat.weight, torch.full_like(volumes, 9.0))
    assert len(flat) == 3


def test_sums_stay_on_their_device() -> None:
    """The meta device computes shapes alone."""
    sums = Sums(8, "meta")
    for other in (sums, sums + sums):
        assert (other.data.device.type, other.weight.device.type) == ("meta", "meta")
    assert aligned(torch.zeros(1, 8, 8, 8, device="meta"), *Poses.identity(1, "meta")).device.type == "meta"


def test_resolution_lies_between_shells() -> None:
    fsc = np.array([1, 0.9, 0.343, 0.043, 0.3])
    assert resolution(fsc, 8, 10.0) == pytest.approx(80 / (2 + 0.2 / 0.3))
    assert resolution(fsc, 8, 10.0, threshold=0.5) == pytest.approx(80 / (1 + 0.4 / 0.557))
    assert resolution(np.ones(5), 8, 10.0) == 20
    assert resolution(np.array([1, 0.1, 0, 0, 0]), 8, 10.0) >= 80


@pytest.mark.parametrize(
    ("fsc", "shell"),
    [
        ([1, 0.643, 0.143, 0.5, 0.5], 4),  # touches the threshold, and does not fall below it
        ([1, 0.643, 0.143, 0.1, 0.5], 2),
        ([1, 0.943, -0.057, 0.9, 0], 1.8),  # the first fall counts
        ([0, 0.643, 0.043, 0, 0], 1.5 / 1.8 + 1),  # whatever the mean
        ([-1, 0.1, 0, 0, 0.9], 0.5),  # at most 2 boxes
        ([0.1, 0.1, 0, 0, 0], 0.5),
        ([1, 0, 0, 0, 0], 0.857),
        ([1, 0.143, 0.143, 0.143, 0.043], 3),
    ],
)
def test_resolution_by_hand(fsc: list[float], shell: float) -> None:
    assert resolution(np.array(fsc), 8, 10.0) == pytest.approx(80 / shell)
