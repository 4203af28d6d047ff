"""Make the packaged coarse models of proteins from coordinates of the Protein Data Bank, which are CC0.

    python scripts/coarse_models.py FOLDER_OF_PROTEINS

Of each structure every second residue leaves its CA or P atom, to whole Angstrom. That is enough at some 25 A and
worse, and `simulate` reads these PDB files as it does any others.
"""

import gzip
import sys
from pathlib import Path

import gemmi

from dualcontrast.cryoet.structures import read_atoms
from dualcontrast.files import written_whole

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
    """Return the lines of a PDB file of every second residue's CA or P."""
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
    """Write a gzipped PDB file of each structure."""
    for name in STRUCTURES:
        lines = coarse(read_atoms(Path(folder) / f"{name}.pdb.gz"))
        target = TARGET / f"{Path(name).name}.pdb.gz"
        with written_whole(target) as temporary:
            # Neither a name nor a time in the file, so that it is the same each time.
            temporary.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n", mtime=0))
        print(f"{target.name}: {len(lines) - 1} atoms, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
