"""Averages of subtomograms of known poses, and how much of them can be trusted.

A subtomogram is X = C R V + noise: V rotated by A and shifted, seen through the transfer function C, the CTF
within the wedge that was measured. With equal, white noise, the least squares solution is a Wiener filter:

    V = sum of R^-1 (C X) / (sum of R^-1 (C^2) + tau)

and zero where nothing was measured. The numerator is summed in real space, where undoing a rotation takes one
interpolation, and the denominator in Fourier space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dualcontrast.poses import Poses
from dualcontrast.transforms.fourier import filtered, resized

THRESHOLD = 0.143  # of the Fourier shell correlation of halves (P. Rosenthal and R. Henderson, J. Mol. Biol. 2003)
FLOOR = 0.01  # the least tau, as a share of a shell's mean denominator
# Interpolation leaks a little of the numerator into frequencies that no particle measured, where the denominator
# is small: a frequency below this share of a shell's mean denominator fades.
MEASURED = 0.1
OVERSAMPLING = 2  # volumes are interpolated on a grid so many times finer


@dataclass(frozen=True)
class WeightedVolumes:
    """Subtomograms multiplied by their transfer functions, and the weights of their frequencies.

    Attributes
    ----------
    data : Tensor
        C X, (B, N, N, N).
    weight : Tensor
        C^2, (B, N, N, N), zero frequency at N // 2.
    """

    data: Tensor
    weight: Tensor

    @classmethod
    def of(cls, volumes: Tensor, ctf: Tensor | None, premultiplied: bool = False) -> WeightedVolumes:
        """Weight volumes (B, N, N, N) by their CTF volumes.

        Parameters
        ----------
        volumes
            X, or C X where `premultiplied`.
        ctf
            C, (B, N, N, N), or C^2 where `premultiplied`; None where it is 1.
        """
        if ctf is None:
            return cls(volumes, torch.ones_like(volumes))
        if premultiplied:
            return cls(volumes, ctf)
        return cls(filtered(volumes, ctf), ctf.square())

    def __len__(self) -> int:
        return len(self.data)


class Sums:
    """Numerator and denominator of an average.

    Attributes
    ----------
    data : Tensor
        Sum of R^-1 (C X), (N, N, N), in real space.
    weight : Tensor
        Sum of R^-1 (C^2), (N, N, N), zero frequency at N // 2.
    count : int
        How many subtomograms.
    """

    def __init__(self, box: int, device: torch.device | str = "cpu") -> None:
        self.data, self.weight = torch.zeros((2, box, box, box), device=device)
        self.count = 0

    def add(self, volumes: WeightedVolumes, poses: Poses) -> None:
        """Add subtomograms whose poses are known."""
        self.data += aligned(volumes.data, *poses).sum(dim=0)
        self.weight += poses.undo_spectra(volumes.weight).sum(dim=0)
        self.count += len(volumes)

    def __add__(self, other: Sums) -> Sums:
        total = Sums(len(self.data), self.data.device)
        total.data, total.weight = self.data + other.data, self.weight + other.weight
        total.count = self.count + other.count
        return total

    def aligned(self, pose: Poses) -> Sums:
        """Return the sums in the frame of another reference, in which their average has a pose, (1, ...)."""
        other = Sums(len(self.data), self.data.device)
        other.data = aligned(self.data[None], *pose)[0]
        other.weight = pose.undo_spectra(self.weight[None])[0]
        other.count = self.count
        return other

    def volume(self, fsc: np.ndarray | None = None) -> np.ndarray:
        """Return the average, (N, N, N), within the sphere of the Nyquist frequency.

        Parameters
        ----------
        fsc
            Of the halves of these sums, (N // 2 + 1,): tau is then, in each shell, the mean denominator by the
            signal-to-noise ratio 2 FSC / (1 - FSC), so that frequencies on which they disagree fade. Without it,
            and at least, tau is a hundredth of the mean denominator.
        """
        box = len(self.data)
        device = self.data.device
        shells = torch.from_numpy(shells_of(box)).to(device)
        inside = shells <= box // 2
        sums = torch.zeros(box // 2 + 1, device=device).index_add_(0, shells[inside], self.weight[inside])
        mean = sums / torch.bincount(shells[inside], minlength=box // 2 + 1)
        tau = FLOOR * mean
        if fsc is not None:
            trusted = torch.from_numpy(np.clip(fsc, 1e-3, 1 - 1e-3)).float().to(device)
            tau = torch.maximum(mean * (1 - trusted) / (2 * trusted), tau)
        shells = shells.clamp(max=box // 2)
        wiener = 1 / (self.weight + tau[shells])
        measured = self.weight / (self.weight + (MEASURED * mean)[shells])
        response = torch.where(inside & (self.weight > 0), wiener * measured, 0.0)
        return filtered(self.data, response).cpu().numpy()


def aligned(volumes: Tensor, matrices: Tensor, shifts: Tensor) -> Tensor:
    """Undo poses: aligned(p) = volume(A p + shift), by trilinear interpolation on a grid twice as fine.

    Parameters
    ----------
    volumes
        (B, N, N, N).
    matrices
        A, (B, 3, 3), acting on (x, y, z) about the voxel N // 2.
    shifts
        (B, 3), x first, in voxels.

    Returns
    -------
    Tensor
        (B, N, N, N); zeros come in from outside.
    """
    box = volumes.shape[-1]
    fine = resized(volumes, OVERSAMPLING * box)
    axis = torch.arange(box, dtype=torch.float32, device=volumes.device) - box // 2
    positions = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], dim=-1).reshape(-1, 3)
    places = positions @ matrices.float().mT + shifts[:, None].float()  # A p + shift, as rows
    voxels = OVERSAMPLING * places + (OVERSAMPLING * box) // 2  # of the finer grid, about its centre
    grid = ((2 * voxels + 1) / (OVERSAMPLING * box) - 1).reshape(-1, box, box, box, 3)
    return F.grid_sample(fine[:, None], grid, padding_mode="zeros", align_corners=False)[:, 0]


def shells_of(box: int) -> np.ndarray:
    """Return each frequency's distance from zero, rounded, in cycles a box, (N, N, N), zero at N // 2."""
    k = np.arange(box) - box // 2
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2)
    return np.asarray(np.rint(radius), np.int64)


def shell_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the Fourier shell correlation of two volumes (N, N, N), from zero to N // 2 cycles a box.

    FSC(k) = Re sum F G* / sqrt(sum |F|^2 sum |G|^2), the sums over a shell one cycle wide; 0 where a volume has
    nothing there.
    """
    box = len(one)
    shells = shells_of(box).ravel()
    f, g = (np.fft.fftshift(np.fft.fftn(volume)).ravel() for volume in (one, other))

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(shells, values)[: box // 2 + 1]

    power = np.sqrt(summed(np.abs(f) ** 2) * summed(np.abs(g) ** 2))
    shared = summed((f * g.conj()).real)
    return np.asarray(np.divide(shared, power, out=np.zeros_like(power), where=power > 0))


def resolution(fsc: np.ndarray, box: int, voxel_size: float, threshold: float = THRESHOLD) -> float:
    """Return the resolution in Angstrom where an FSC first falls below a threshold, linear between shells.

    Where it never does, that is the Nyquist frequency, 2 voxels.
    """
    below = np.flatnonzero(fsc[1:] < threshold) + 1
    if not len(below):
        return 2 * voxel_size
    k = int(below[0])
    fallen = (fsc[k - 1] - threshold) / (fsc[k - 1] - fsc[k]) if fsc[k - 1] > threshold else 0.0
    return float(box * voxel_size / max(k - 1 + fallen, 0.5))
