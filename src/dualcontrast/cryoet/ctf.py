"""The contrast transfer function (CTF) and the missing wedge as volumes.

Volumes in Fourier space are cubes with zero frequency at voxel N // 2, in z, y, x order, as in `rlnCtfImage`.
The beam runs along z and the tilt axis along y.
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import BaseModel, ConfigDict, Field


class CTFSettings(BaseModel):
    """The optics of a microscope, and its defocus."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defocus: float = Field(50_000, gt=0, description="underfocus, in Angstrom")
    spherical_aberration: float = Field(1.7, ge=0, description="in mm")
    voltage: float = Field(300, gt=0, description="in kV")
    amplitude_contrast: float = Field(0.1, ge=0, lt=1)

    @property
    def wavelength(self) -> float:
        """Relativistic electron wavelength, in Angstrom."""
        volts = 1e3 * self.voltage
        return 12.2643247 / math.sqrt(volts * (1 + 0.978466e-6 * volts))

    def at(self, frequency: np.ndarray) -> np.ndarray:
        """Evaluate the CTF at spatial frequencies in 1/Angstrom.

        CTF(k) = sin(pi lambda D k^2 - pi/2 Cs lambda^3 k^4 + arcsin(w)), with underfocus D and amplitude
        contrast w: positive at low frequencies, which is RELION's sign for white protein.
        """
        squared = frequency**2
        focus = math.pi * self.wavelength * self.defocus * squared
        aberration = 0.5 * math.pi * 1e7 * self.spherical_aberration * self.wavelength**3 * squared**2
        return np.asarray(np.sin(focus - aberration + math.asin(self.amplitude_contrast)))


def ctf_volume(box: int, voxel_size: float, settings: CTFSettings) -> np.ndarray:
    """Make the CTF volume of a tilt series taken at one defocus, the same in every direction, (N, N, N)."""
    return settings.at(_radius(box) / (box * voxel_size))


def wedge_volume(box: int, tilt_range: float) -> np.ndarray:
    """Mark the frequencies measured by tilts between -`tilt_range` and `tilt_range` degrees.

    The central slice of a tilt contains the tilt axis y and leaves the x axis at the tilt angle: between the
    outermost two lie the frequencies with |k_z| <= |k_x| tan(tilt_range); the rest is the missing wedge.

    Returns
    -------
    numpy.ndarray
        (N, N, N), 1 where measured and 0 elsewhere.
    """
    z, _, x = _frequencies(box)
    if tilt_range >= 90:
        return np.ones((box, box, box))
    measured = np.abs(z) <= np.abs(x) * math.tan(math.radians(tilt_range)) + 1e-9
    return np.broadcast_to(measured, (box, box, box)).astype(float)


def low_pass(box: int, cutoff: float) -> np.ndarray:
    """Make a low-pass filter (N, N, N): 1 below 90 % of `cutoff` and 0 above it, with a raised cosine between.

    Parameters
    ----------
    cutoff
        In cycles per box: N / 2 is the Nyquist frequency.
    """
    edge = np.clip((_radius(box) / cutoff - 0.9) / 0.1, 0, 1)
    return np.asarray(0.5 * (1 + np.cos(math.pi * edge)))


def _frequencies(box: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the frequencies along z, y and x in cycles per box, ready to broadcast."""
    k = np.arange(box, dtype=float) - box // 2
    return k[:, None, None], k[None, :, None], k[None, None, :]


def _radius(box: int) -> np.ndarray:
    z, y, x = _frequencies(box)
    return np.asarray(np.sqrt(z**2 + y**2 + x**2))
