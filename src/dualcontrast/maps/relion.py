"""RELION's programs: their arguments, and how they are called. Checked with RELION 3.1.3."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import FrameType

from dualcontrast.cryoet.mrc import ZYX
from dualcontrast.errors import RunError
from dualcontrast.images.volume_files import StoredVolume

RECONSTRUCT, REFINE = "relion_reconstruct", "relion_refine"
NOT_SQUARED = "--ctf3d_not_squared"  # since version 4, which takes CTF volumes for squared ones
HEALPIX_DEGREES = 60.0  # from one rotation to the next at order 0; halved with each order


def installed() -> bool:
    """Return whether both programs are on the path."""
    return shutil.which(RECONSTRUCT) is not None and shutil.which(REFINE) is not None


def takes_premultiplied() -> bool:
    """Return whether the installed version takes volumes multiplied by their CTF, beside squared CTF volumes."""
    return NOT_SQUARED in _help_of(RECONSTRUCT)


def misreading(volume: StoredVolume) -> str | None:
    """Say how RELION would misread a volume, mostly without a message; None if it reads it as it is meant."""
    file = volume.file
    if file.count > 1 or "@" in volume.name or not volume.name.endswith(".mrc"):
        return "it reads a volume only from a file of its own that ends in .mrc, and a 2D section from others"
    if file.dtype.kind == "u":
        return "it reads unsigned numbers as signed ones"
    if file.dtype.itemsize == 2 and file.dtype.kind == "f":
        return "it does not read 16-bit floats"
    return None if file.axes == ZYX else "it ignores the order of the axes in the header"


def reconstruct_command(
    star: Path, out: Path, *, ctf: bool, premultiplied: bool = False, half: int | None = None
) -> list[str]:
    """Build the command that averages the subtomograms of a STAR file with the poses in it.

    Parameters
    ----------
    star
        Its paths start from the folder that the program is called in.
    out
        The MRC to write.
    ctf
        Whether rlnCtfImage is to be corrected for.
    premultiplied
        Whether the subtomograms are multiplied by their CTF, and rlnCtfImage is squared.
    half
        1 or 2: of rlnRandomSubset.
    """
    words = [RECONSTRUCT, "--i", str(star), "--o", str(out), "--3d_rot"]
    words += ["--subset", str(half)] if half is not None else []
    return words + _ctf_options(RECONSTRUCT, ctf, premultiplied)


def refine_command(
    star: Path,
    out: Path,
    reference: Path,
    *,
    ctf: bool,
    premultiplied: bool = False,
    box: int,
    voxel_size: float,
    iterations: int,
    degrees: float,
    threads: int = 1,
    seed: int = 0,
) -> list[str]:
    """Build the command that aligns the subtomograms of a STAR file to a reference, over all orientations.

    Parameters
    ----------
    star, ctf, premultiplied
        As in `reconstruct_command`.
    out
        The root of the names of files to write.
    reference
        An MRC, used only up to 60 A.
    box, voxel_size
        Of the subtomograms.
    iterations
        Of expectation and maximisation.
    degrees
        From one rotation to the next; RELION takes the next of 60, 30, 15 and so on, and refines it once.
    threads
        Number of threads.
    seed
        Of its random numbers.
    """
    order = 0
    while HEALPIX_DEGREES / 2**order > degrees and order < 8:
        order += 1
    diameter = round((box - 2) * voxel_size)
    options = {
        "--i": star, "--o": out, "--ref": reference, "--ini_high": 60, "--K": 1, "--iter": iterations,
        "--tau2_fudge": 4, "--particle_diameter": diameter, "--healpix_order": order, "--oversampling": 1,
        "--offset_range": max(2, box // 8), "--offset_step": 1, "--pad": 1, "--j": threads, "--random_seed": seed,
    }  # fmt: skip
    words = [REFINE, *(str(word) for option in options.items() for word in option)]
    words += ["--firstiter_cc", "--flatten_solvent", "--zero_mask"]
    return words + _ctf_options(REFINE, ctf, premultiplied)


def run_relion(words: list[str], project: Path) -> None:
    """Call a program in a folder, from which the paths in its STAR file start.

    It ends with this process: after Ctrl-C, and after SIGTERM.

    Raises
    ------
    RunError
        The program failed; the message holds its error.
    """
    with _ended_by_sigterm():
        done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        reasons = [line for line in lines if "error" in line.lower() and len(line) > len("ERROR:")]
        reason = (reasons or lines or ["no output"])[0]
        raise RunError(
            f"{words[0]} failed ({reason[:300]}); call it again in {project} to see all: {' '.join(words)}; or "
            'average without RELION, with `by="builtin"`'
        )


@lru_cache(maxsize=4)
def _help_of(program: str) -> str:
    if shutil.which(program) is None:
        return ""  # commands are also shown where RELION is not installed
    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    return shown.stdout + shown.stderr


def _ctf_options(program: str, ctf: bool, premultiplied: bool) -> list[str]:
    """Return the options that correct the CTF; newer versions need to know that CTF volumes are not squared."""
    if not ctf:
        return []
    return ["--ctf", *([NOT_SQUARED] if not premultiplied and NOT_SQUARED in _help_of(program) else [])]


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that a program called within is ended with this one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def thread_count() -> int:
    """Return the number of threads for a program: OMP_NUM_THREADS, or the number of processors."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    return int(setting) if setting.isdigit() else (os.cpu_count() or 1)
