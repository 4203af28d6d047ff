"""A cell of a table: one training and its scores, stored as a small JSON file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from dualcontrast.errors import RunError
from dualcontrast.files import JSONObject, write_json
from dualcontrast.images.imageset import ReaderOptions
from dualcontrast.settings import SettingsMapping

FORMAT = 1
EMBEDDING: Final = "tsne"  # the method that lays out the codes of a cell in the plane


@dataclass(frozen=True)
class CellKey:
    """What identifies a cell: a row, a data set and a seed, and all that its result depends on.

    Attributes
    ----------
    table, row, data : str
        The table, its row, and the data set.
    seed : int
        Seed of the training, and of the choice and the split of the images.
    data_digest : str or None
        Digest of the images; None where none are given.
    recipe : mapping
        The whole configuration as plain values, with the budget and the seed.
    """

    table: str
    row: str
    data: str
    seed: int
    data_digest: str | None
    recipe: SettingsMapping

    @property
    def digest(self) -> str:
        """Digest of the configuration and the images: if one of them changes, it is another cell."""
        inputs = json.dumps([FORMAT, self.recipe, self.data_digest], sort_keys=True)
        return hashlib.sha256(inputs.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """The name of the stored result, without the table."""
        return f"{self.data}-{_in_file_name(self.row)}-seed{self.seed}-{self.digest}"

    @property
    def run_name(self) -> str:
        """The name of the run folder, which tables share if their trainings are the same."""
        return f"{self.data}-{_in_file_name(self.recipe['method']['name'])}-seed{self.seed}-{self.digest}"


@dataclass(frozen=True)
class Cell(CellKey):
    """A cell, and where its images are.

    Attributes
    ----------
    source : str or None
        Where the images are; None where none are given.
    options : mapping
        Options of the reader of the source.
    """

    source: str | None
    options: ReaderOptions

    @property
    def key(self) -> CellKey:
        """What identifies the cell, without the place of its images."""
        return CellKey(self.table, self.row, self.data, self.seed, self.data_digest, self.recipe)

    def to_json(self) -> str:
        """Write the cell as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Cell:
        """Read the line that `to_json` wrote."""
        return cls(**json.loads(text))


def _in_file_name(name: str) -> str:
    """Write package.module:Class without the colon, which some file systems refuse."""
    return name.replace(":", ".")


@dataclass(frozen=True)
class TrainingCost:
    """What the training of a cell took.

    Attributes
    ----------
    steps, images_seen, epochs : int
        Updates, images and whole epochs.
    seconds : float
        Training time.
    stopped_by : str
        epochs or minutes.
    peak_memory : int or None
        The most memory that the training used, in bytes; None where it was not measured.
    device : str
        cpu, or the name of the GPU.
    threads : int
        Threads of torch.
    """

    steps: int
    images_seen: int
    epochs: int
    seconds: float
    stopped_by: str
    peak_memory: int | None
    device: str
    threads: int


@dataclass(frozen=True)
class CellResult:
    """The stored result of a cell.

    Attributes
    ----------
    cell : CellKey
        The cell.
    scores : mapping
        The scores of its run, as in scores.json.
    images : int
        Number of images, for training and test together.
    shape : list of int
        The shape of an image, (C, spatial...).
    training : TrainingCost
        What its training took.
    versions : mapping
        Versions of dualcontrast, torch and Python.
    """

    cell: CellKey
    scores: Mapping[str, object]
    images: int
    shape: list[int]
    training: TrainingCost
    versions: Mapping[str, str]

    def number(self, *path: str) -> float | None:
        """Look up a number of the scores or of the training, such as `number("scores", "content", "gap")`.

        Returns
        -------
        float or None
            None where the result has no such number.
        """
        value: object = {"scores": self.scores, "training": vars(self.training)}
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return float(value) if isinstance(value, (int, float)) else None

    @property
    def classes(self) -> int | None:
        """Number of content classes that were scored; None where it is not known."""
        classes = self.number("scores", "protocol", "classes")
        return None if classes is None else int(classes)

    def to_json(self) -> dict[str, object]:
        """Convert the result to the content of its file."""
        return {
            "format": FORMAT,
            "cell": vars(self.cell),
            "scores": self.scores,
            "data": {"images": self.images, "shape": self.shape},
            "training": vars(self.training),
            "versions": self.versions,
        }

    @classmethod
    def from_json(cls, content: JSONObject) -> CellResult:
        """Convert the content of a file to a result.

        Raises
        ------
        KeyError, TypeError
            Something is missing, or is unknown.
        """
        return cls(
            CellKey(**content["cell"]),
            content["scores"],
            **content["data"],
            training=TrainingCost(**content["training"]),
            versions=content["versions"],
        )


def result_path(results: Path, cell: CellKey) -> Path:
    """Return the path of the result of a cell."""
    return results / cell.table / f"{cell.name}.json"


def write_result(results: Path, result: CellResult) -> None:
    """Store the result of a cell."""
    write_json(result_path(results, result.cell), result.to_json())


def read_results(results: Path, table: str) -> list[CellResult]:
    """Read all stored results of a table, sorted by name.

    Raises
    ------
    RunError
        A file is damaged, or was written by a newer version.
    """
    return [_read_result(path) for path in sorted((results / table).glob("*.json"))]


def _read_result(path: Path) -> CellResult:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stored_format = int(content["format"])
        if stored_format <= FORMAT:
            return CellResult.from_json(content)
    except (ValueError, KeyError, TypeError):
        raise RunError(f"{path}: damaged; remove it, and the benchmark trains this cell again") from None
    raise RunError(f"{path}: written by a newer version (format {stored_format}); update dualcontrast")


def find_result(cell: CellKey, results: Iterable[CellResult]) -> CellResult | None:
    """Find the result of a cell; None where there is none.

    A cell without images takes the result of its configuration on any images.

    Raises
    ------
    RunError
        There are results on different images.
    """
    found = [result for result in results if _belongs_to(result.cell, cell)]
    if len(found) > 1:
        raise RunError(
            f"{cell.data}, {cell.row}, seed {cell.seed}: there are results on {len(found)} different sets of "
            f"images; say which by giving the images with `{cell.data}`"
        )
    return found[0] if found else None


def _belongs_to(stored: CellKey, cell: CellKey) -> bool:
    if (stored.data, stored.row, stored.seed) != (cell.data, cell.row, cell.seed):
        return False
    return stored.recipe == cell.recipe and cell.data_digest in (None, stored.data_digest)
