"""Make the packaged coarse protein models from coordinates of the Protein Data Bank, which are CC0.

    python scripts/coarse_models.py FOLDER_OF_PROTEINS

The models keep the CA or P atom of every second residue, rounded to whole Angstrom. This is enough for
resolutions of 25 A or worse, and `simulate` reads these PDB files like any others.
"""

import gzip
import sys
from pathlib import Path

import gemmi

from dualcontrast.cryoet.structures import read_atoms
from dualcontrast.files import atomic_write

TARGET = Path(__file__).parent.parent / "src" / "dualcontrast" / "data" / "models"
STRUCTURES = (
    "nucleosome/2pyo",
    "spike/6vxx",
    "spike/6vyb",
    "spike/6xra",
)
EVERY = 2  # residues
ATOMS = ("CA", "P")


def coarse(structure: gemmi.Structure) -> list[str]:
    """Write the lines of a PDB file with the CA or P atom of every second residue."""
    centre = structure[0].calculate_center_of_mass()
    lines = []
    atoms = [atom for chain in structure[0] for residue in chain for atom in residue if atom.name in ATOMS]
    for number, atom in enumerate(atoms[::EVERY], start=1):
        x, y, z = (round(value) for value in (atom.pos - centre).tolist())
        name, residue, element = (" CA ", "ALA", "C") if atom.name == "CA" else (" P  ", " DA", "P")
        lines.append(
            f"ATOM  {number:5d} {name} {residue} A{number % 10000:4d}    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {element:>2}"
        )
    return [*lines, "END"]


def main(folder: str) -> None:
    """Write a gzipped PDB file for each structure."""
    for name in STRUCTURES:
        lines = coarse(read_atoms(Path(folder) / f"{name}.pdb.gz"))
        target = TARGET / f"{Path(name).name}.pdb.gz"
        with atomic_write(target) as temporary:
            # The file contains no name and no time, so that its bytes are always the same.
            temporary.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n", mtime=0))
        print(f"{target.name}: {len(lines) - 1} atoms, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
