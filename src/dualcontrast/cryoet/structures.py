"""From structures to density: atoms or maps become templates on the simulator's grid."""

from __future__ import annotations

import logging
import re
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from dualcontrast.cryoet.ctf import low_pass
from dualcontrast.cryoet.mrc import read_map
from dualcontrast.errors import SourceError
from dualcontrast.files import cache_folder
from dualcontrast.transforms.fourier import filtered

STRUCTURES_URL = "https://files.rcsb.org/download/"
PACKAGED = Path(str(resources.files("dualcontrast"))) / "data"  # models/6vxx.pdb.gz and others, coarse
MAPS = (".mrc", ".map", ".mrc.gz", ".map.gz")
OVERSAMPLING = 4  # of the grid on which density is made, before it is cropped in Fourier space
LARGEST_OUTSIDE = 0.01


def structure_path(name: str, data: Path | None = None) -> Path:
    """Find a structure: a file, a file within `data`, or an entry of the Protein Data Bank, downloaded once.

    Parameters
    ----------
    name
        The path of a file that gemmi reads (PDB, mmCIF, either gzipped) or of an MRC map; a packaged coarse
        model such as models/6vxx.pdb.gz; or an entry's identifier such as 6vxx.
    data
        Folder to look in after the current one.

    Raises
    ------
    SourceError
        There is no such file, and the name is not an identifier, or its entry cannot be downloaded.
    """
    for path in [Path(name), *([data / name] if data else []), PACKAGED / name]:
        if path.is_file():
            return path
    if re.fullmatch(r"[0-9][A-Za-z0-9]{3}|pdb_[0-9a-z]{8}", name):
        return download_structure(name)
    where = f" here or in {data}" if data else "; give the folder of the files as `data`"
    raise SourceError(f"{name}: no such structure{where}, and it is not an identifier such as 6vxx")


def download_structure(entry: str, base_url: str = STRUCTURES_URL) -> Path:
    """Download an entry of the Protein Data Bank as mmCIF unless it is cached, and return its file.

    The cache is the folder `structures` in $DUALCONTRAST_CACHE, or else in the user's cache folder. A download
    is kept only if it can be read and is the requested entry.

    Raises
    ------
    SourceError
        There is no connection or no such entry, or the download is something else.
    """
    import pooch

    name = f"{entry.lower()}.cif.gz"
    folder = cache_folder("structures")
    if (folder / name).is_file():
        return folder / name
    pooch.get_logger().setLevel(logging.CRITICAL)  # the error says what went wrong
    by_hand = f"try again, or download it by hand as {folder / name}"
    try:
        path = Path(pooch.retrieve(base_url + name, known_hash=None, fname=f"unchecked-{name}", path=folder))
    except OSError:
        raise SourceError(f"{base_url}{name}: cannot be downloaded; {by_hand}") from None
    try:
        found = read_atoms(path).name
        if found.lower() != entry.lower():
            raise SourceError(f"{base_url}{name}: is the entry {found or 'without a name'}; {by_hand}")
        path.replace(folder / name)
    except SourceError as error:
        raise SourceError(f"{base_url}{name}: not the requested structure ({error}); {by_hand}") from None
    finally:
        path.unlink(missing_ok=True)
    return folder / name


def read_atoms(path: Path):  # type: ignore[no-untyped-def]
    """Read a structure with gemmi, without waters and hydrogens.

    Raises
    ------
    SourceError
        The file is damaged, or has no atoms.
    """
    import gemmi

    try:
        structure = gemmi.read_structure(str(path))
        structure.setup_entities()
        structure.remove_waters()
        structure.remove_hydrogens()
    except (OSError, RuntimeError, ValueError):
        raise SourceError(f"{path}: damaged, or neither PDB nor mmCIF; replace it with an intact copy") from None
    if not len(structure) or not structure[0].count_atom_sites():
        raise SourceError(f"{path}: has no atoms; use a structure with coordinates")
    return structure


def template_of(path: Path, box: int, voxel_size: float, resolution: float) -> np.ndarray:
    """Compute the density of a structure about its centre of mass.

    Atoms scatter electrons (gemmi's form factors) and are blurred by a Gaussian whose Fourier transform falls to
    1/e at the resolution. Density is made on a finer grid and cropped in Fourier space to the sphere of the
    Nyquist frequency, so that nothing is aliased and all directions are alike.

    Parameters
    ----------
    path
        A file of atoms, of which the first model is used, or an MRC map.
    box, voxel_size
        Box size N in voxels, and voxel size in Angstrom.
    resolution
        In Angstrom; a map already has its own and is not blurred.

    Returns
    -------
    numpy.ndarray
        (N, N, N), z first; the centre of mass is at the voxel N // 2.

    Raises
    ------
    SourceError
        The file cannot be read, or more than a hundredth of the structure lies outside the box's sphere.
    """
    is_map = path.name.lower().endswith(MAPS)
    fine = _map_density(path, box, voxel_size) if is_map else _atom_density(path, box, voxel_size, resolution)
    smooth = filtered(torch.from_numpy(fine), torch.from_numpy(low_pass(len(fine), box / 2)))
    return smooth[::OVERSAMPLING, ::OVERSAMPLING, ::OVERSAMPLING].numpy()


def _atom_density(path: Path, box: int, voxel_size: float, resolution: float) -> np.ndarray:
    """Compute the density of atoms on the finer grid."""
    import gemmi

    model = read_atoms(path)[0]
    side, centre = box * voxel_size, (box // 2) * voxel_size
    shift = gemmi.Position(centre, centre, centre) - model.calculate_center_of_mass()
    reach = min(centre, side - centre)
    blur = 4 * resolution**2  # exp(-B k^2 / 4) is 1/e at k = 1 / resolution
    outside = 0
    for site in model.all():
        atom = site.atom
        atom.pos = atom.pos + shift
        atom.b_iso, atom.aniso = blur, gemmi.SMat33f(0, 0, 0, 0, 0, 0)
        if atom.pos.dist(gemmi.Position(centre, centre, centre)) > reach:
            atom.occ = 0  # the grid is periodic: the atom would wrap around to the other side
            outside += 1
    _check_inside(outside / model.count_atom_sites(), path, side)
    calculator = gemmi.DensityCalculatorE()
    calculator.grid.set_unit_cell(gemmi.UnitCell(side, side, side, 90, 90, 90))
    calculator.grid.set_size(*[OVERSAMPLING * box] * 3)
    calculator.add_model_density_to_grid(model)
    density: np.ndarray = np.array(calculator.grid.array, np.float64).transpose(2, 1, 0)
    return density


def _map_density(path: Path, box: int, voxel_size: float) -> np.ndarray:
    """Resample a density map on the finer grid by cubic splines."""
    density, own_size = read_map(path)
    if own_size is None:
        raise SourceError(
            f"{path}: its header states no voxel size; set it, for example with relion_image_handler"
        )
    values = density.astype(np.float64)
    if own_size < voxel_size:  # otherwise its fine detail would be aliased
        reach = min(values.shape) / 2 * own_size / voxel_size
        values = _low_passed_map(values, reach)
    weights = np.clip(density, 0, None)
    if not weights.sum() > 0:
        raise SourceError(f"{path}: has no positive density; protein must be white")
    middle = np.array(ndimage.center_of_mass(weights))
    positions = np.indices(density.shape) - middle[:, None, None, None]
    far = np.linalg.norm(positions, axis=0) * own_size > min(box // 2, box - box // 2) * voxel_size
    _check_inside(weights[far].sum() / weights.sum(), path, box * voxel_size)
    step = voxel_size / OVERSAMPLING / own_size
    offset = middle - step * OVERSAMPLING * (box // 2)
    resampled = ndimage.affine_transform(values, np.full(3, step), offset, (OVERSAMPLING * box,) * 3, order=3)
    return np.asarray(resampled)


def _low_passed_map(values: np.ndarray, cutoff: float) -> np.ndarray:
    side = max(values.shape)
    padded = np.zeros((side,) * 3)
    padded[tuple(slice(n) for n in values.shape)] = values
    smooth = filtered(
        torch.from_numpy(padded), torch.from_numpy(low_pass(side, cutoff * side / min(values.shape)))
    )
    return smooth.numpy()[tuple(slice(n) for n in values.shape)]


def _check_inside(outside: float, path: Path, side: float) -> None:
    if outside > LARGEST_OUTSIDE:
        raise SourceError(
            f"{path}: {100 * outside:.0f} % of it lies outside a sphere of {side:g} A; choose a larger `box` or "
            "`voxel_size`"
        )
