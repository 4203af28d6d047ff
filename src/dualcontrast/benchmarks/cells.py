"""A cell of a table: one training and its scores, stored as a small file by the digest of all it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dualcontrast.errors import RunError
from dualcontrast.files import write_json

FORMAT = 1
EMBEDDING = "tsne"  # by which the codes of a cell are laid out in the plane


@dataclass(frozen=True)
class Cell:
    """One training of a table: a row, a data set and a seed.

    Attributes
    ----------
    table, row, data : str
        Where in the tables it belongs.
    seed : int
        Of the training, and of the images drawn and split.
    recipe : mapping
        The whole configuration, the budget and the seed among it, as plain values.
    source : str or None
        Where the images are; None where no data are at hand.
    options : mapping
        Of the reader of the source.
    data_digest : str or None
        Fingerprint of the images; None where no data are at hand.
    """

    table: str
    row: str
    data: str
    seed: int
    recipe: Mapping[str, Any]
    source: str | None
    options: Mapping[str, Any]
    data_digest: str | None

    @property
    def digest(self) -> str:
        """A fingerprint of the configuration and the data: another one is another cell."""
        stated = json.dumps([FORMAT, self.recipe, self.data_digest], sort_keys=True)
        return hashlib.sha256(stated.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """The name of its stored result, without the table."""
        return f"{self.data}-{self.row}-seed{self.seed}-{self.digest}"

    @property
    def run_name(self) -> str:
        """The name of its run folder, which tables share where they train the same."""
        return f"{self.data}-{self.recipe['method']['name']}-seed{self.seed}-{self.digest}"

    def to_json(self) -> str:
        """Return the cell on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Cell:
        """Return the cell that `to_json` wrote."""
        return cls(**json.loads(text))


def result_path(results: Path, cell: Cell) -> Path:
    """Return the file of a cell's result."""
    return results / cell.table / f"{cell.name}.json"


def write_result(results: Path, cell: Cell, result: Mapping[str, Any]) -> None:
    """Store what a cell gave."""
    where = {"table": cell.table, "row": cell.row, "data": cell.data, "seed": cell.seed}
    stored = {
        "format": FORMAT,
        "cell": {**where, "data_digest": cell.data_digest, "recipe": cell.recipe},
        **result,
    }
    write_json(result_path(results, cell), stored)


def stored_results(results: Path, table: str) -> list[dict[str, Any]]:
    """Read every stored result of a table, in the order of their names.

    Raises
    ------
    RunError
        A file is damaged, or was written by a newer version.
    """
    stored = []
    for path in sorted((results / table).glob("*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            made = int(result["format"])
            _ = result["cell"]["recipe"], result["scores"]["content"], result["training"]["seconds"]
        except (ValueError, KeyError, TypeError):
            raise RunError(f"{path}: damaged; remove it, and the benchmark makes it again") from None
        if made > FORMAT:
            raise RunError(f"{path}: written by a newer version (format {made}); update dualcontrast")
        stored.append(result)
    return stored


def result_of(cell: Cell, stored: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the stored result of a cell; None where there is none.

    A cell without data at hand takes the result of its configuration on whatever data.

    Raises
    ------
    RunError
        There are results on several data.
    """
    fitting = [result for result in stored if _is_of(result["cell"], cell)]
    if len(fitting) > 1:
        raise RunError(
            f"{cell.data}, {cell.row}, seed {cell.seed}: there are results on {len(fitting)} different sets of "
            f"images; say which with `{cell.data}`"
        )
    return fitting[0] if fitting else None


def _is_of(stored: Mapping[str, Any], cell: Cell) -> bool:
    if (stored["data"], stored["row"], stored["seed"]) != (cell.data, cell.row, cell.seed):
        return False
    return stored["recipe"] == cell.recipe and cell.data_digest in (None, stored["data_digest"])
