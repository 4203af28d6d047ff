"""The run folder: one trained model, and everything made from it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import load_file, save_file
from typing_extensions import Self

from dualcontrast.errors import RunError, SourceError, nearest_path
from dualcontrast.files import JSONObject, atomic_write, read_json, write_json, write_text
from dualcontrast.images import ImageSet, limited, open_images, with_split
from dualcontrast.methods import Method
from dualcontrast.recipe import Recipe, recipe_of
from dualcontrast.runs.config import DataDescription, RunConfig

# The files of a run; overwriting a run removes these and nothing else.
RUN_FILES = (
    "config.yaml",
    "weights.safetensors",
    "log.jsonl",
    "report*.html",
    "checkpoints",
    "tensorboard",
    "figures",
    "clusters",
    "averages",
    "export",
    "codes*",
    "scores*.json",
)


class RunFolder:
    """The files of one run.

    Parameters
    ----------
    path
        The folder. It need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._images: ImageSet | None = None

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a trained run.

        Raises
        ------
        RunError
            There is no such folder, or it has no configuration or no weights.
        """
        run = cls(path)
        if not run.path.is_dir():
            make = f"make one with `dualcontrast.train(images, out={str(path)!r})`"
            raise RunError(f"{path}: no such run folder; {nearest_path(run.path, otherwise=make)}")
        if not run.config_path.is_file():
            raise RunError(f"{path}: not a run folder, since it has no config.yaml; give a folder made by train")
        if not run.weights_path("best").is_file():
            raise RunError(
                f"{path}: the run has no weights.safetensors yet; continue it with "
                f"`dualcontrast.train(images, out={str(path)!r}, resume=True)`"
            )
        return run

    # ---- configuration

    @property
    def config_path(self) -> Path:
        """Recipe, data and what made the run."""
        return self.path / "config.yaml"

    def write_config(self, recipe: Recipe, data: DataDescription, made_by: Mapping[str, str | int]) -> None:
        """Write config.yaml: enough to train the run again.

        Parameters
        ----------
        recipe
            The recipe of the training.
        data
            The images.
        made_by
            The command and versions.
        """
        RunConfig(recipe.model_dump(mode="json"), data, dict(made_by)).write(self.config_path)

    def config(self) -> RunConfig:
        """Read config.yaml.

        Raises
        ------
        RunError
            It is missing, damaged, or was written by a newer version.
        """
        return RunConfig.read(self.config_path)

    def recipe(self) -> Recipe:
        """Return the recipe of the training."""
        return recipe_of(self.config().recipe, where=str(self.config_path))

    # ---- images

    def images(self) -> ImageSet:
        """Open the run's images again, limited and split as in training.

        Raises
        ------
        RunError
            The images were arrays in memory, or have changed since training.
        SourceError
            The source is not where it was.
        """
        if self._images is None:
            data = self.config().data
            if data.source is None:
                raise RunError(
                    f"{self.path}: trained on images in memory, which are no longer there; give a source of images"
                )
            path = Path(data.source)
            if path.is_absolute() and not path.exists():  # a name such as mnist is no path
                raise SourceError(
                    f"{self.path}: its images are no longer there, looked for at {path}; put them back, or give "
                    "their folder as `datadir`"
                )
            self.attach(open_images(data.source, **data.options))
        assert self._images is not None
        return self._images

    def attach(self, images: ImageSet) -> None:
        """Use `images` as the run's source, after a check that it was trained on them."""
        training = self.recipe().training
        prepared = prepared_images(images, training.limit, training.seed)
        if not self.config().data.matches(prepared):
            raise RunError(
                f"{images.source}: not the images that {self.path} was trained on, or changed since; put those "
                "back, rows in the same order, or encode other images with `run.encode(images)`"
            )
        self._images = prepared

    # ---- weights

    def weights_path(self, name: str) -> Path:
        """Return the file of weights: "best" (lowest validation loss), "last" or "epoch-N"."""
        if name == "best":
            return self.path / "weights.safetensors"
        return self.path / "checkpoints" / f"{name}.safetensors"

    def kept_weights(self) -> list[str]:
        """List the names of all weights in the folder."""
        names = [path.stem for path in (self.path / "checkpoints").glob("*.safetensors")]
        return sorted([*names, *(["best"] if self.weights_path("best").is_file() else [])])

    def require_weights(self, name: str) -> None:
        """Check that there are weights of a name.

        Raises
        ------
        RunError
            There are none.
        """
        if not self.weights_path(name).is_file():
            names = self.kept_weights()
            fix = f"it has {', '.join(names)}" if names else "train it first"
            raise RunError(f"{self.path}: has no weights {name!r}; {fix}")

    def save_weights(self, method: Method, name: str) -> None:
        """Write a method's weights under a name."""
        with atomic_write(self.weights_path(name)) as temporary:
            # Copies, since safetensors refuses tensors that share memory.
            weights = {key: value.contiguous().clone() for key, value in method.state_dict().items()}
            save_file(weights, temporary)

    def load_method(self, weights: str = "best") -> Method:
        """Load the trained method, in evaluation mode, on the CPU.

        Raises
        ------
        RunError
            There are no such weights.
        """
        self.require_weights(weights)
        method = self.recipe().build(self.config().data.shape)
        self.read_weights(method, weights)
        return method.eval()

    def read_weights(self, method: Method, weights: str) -> None:
        """Load weights into a method.

        Raises
        ------
        RunError
            They are damaged, or belong to another method.
        """
        path = self.weights_path(weights)
        try:
            method.load_state_dict(load_file(path))
        except Exception as error:  # safetensors has its own error type for damaged files
            reason = str(error).splitlines()[0].rstrip(":")
            raise RunError(f"{path}: damaged, or not the weights of this run ({reason})") from None

    # ---- codes, scores, figures

    def codes_folder(self, weights: str = "best") -> Path:
        """Return the folder of the codes of some weights."""
        return self.path / ("codes" if weights == "best" else f"codes-{weights}")

    def scores_path(self, weights: str = "best") -> Path:
        """Return the file of the scores of some weights."""
        return self.path / ("scores.json" if weights == "best" else f"scores-{weights}.json")

    def write_scores(self, scores: Mapping[str, object], weights: str = "best") -> None:
        """Write scores, as JSON."""
        write_json(self.scores_path(weights), scores)

    def read_scores(self, weights: str = "best") -> JSONObject | None:
        """Read scores as JSON; None if there are none. See `evaluation.scores.read_scores` for typed ones."""
        return read_json(self.scores_path(weights), "remove it, and make it again with evaluate")

    def figure_path(self, name: str, weights: str = "best") -> Path:
        """Return the file of a figure, drawn with some weights."""
        return self.path / "figures" / (f"{name}.png" if weights == "best" else f"{name}-{weights}.png")

    def report_path(self, weights: str = "best") -> Path:
        """Return the file of the report of some weights."""
        return self.path / ("report.html" if weights == "best" else f"report-{weights}.html")

    def clusters_path(self, name: str) -> Path:
        """Return the file of the clusters of a name."""
        return self.path / "clusters" / f"{name}.csv"

    def export_folder(self, name: str) -> Path:
        """Return the folder of the export with the clusters of a name."""
        return self.path / "export" / name

    def averages_folder(self, name: str) -> Path:
        """Return the folder of the averages of the clusters of a name."""
        return self.path / "averages" / name

    # ---- log

    @property
    def log_path(self) -> Path:
        """One JSON line per epoch."""
        return self.path / "log.jsonl"

    def read_log(self) -> list[JSONObject]:
        """Read the log, without a last line that a crash cut short."""
        if not self.log_path.is_file():
            return []
        lines = []
        for line in self.log_path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return lines

    def write_log(self, lines: Iterable[Mapping[str, object]]) -> None:
        """Write the whole log."""
        write_text(self.log_path, "".join(json.dumps(line) + "\n" for line in lines))

    # ---- one writer at a time

    def clear(self, overwrite: bool) -> None:
        """Prepare the folder for a new run.

        Parameters
        ----------
        overwrite
            Remove the files of an earlier run, and no others.

        Raises
        ------
        RunError
            The folder is not empty, and not to be overwritten.
        """
        names = sorted(path.name for path in self.path.iterdir() if path.name != ".lock")
        if names and not overwrite:
            raise RunError(
                f"{self.path}: already holds {names[0]}; continue it with `resume=True`, replace it with "
                "`overwrite=True`, or choose another `out`"
            )
        for pattern in RUN_FILES:
            for path in self.path.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against a second writer; the lock ends with the process, however that ends.

        Raises
        ------
        RunError
            Another process is writing to the folder.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"{self.path}: another process is writing to this run; wait for it, or choose another `out`"
                ) from None
            yield
        finally:
            os.close(handle)


def prepared_images(images: ImageSet, limit: int | None, seed: int) -> ImageSet:
    """Prepare the images that a run works on: at most `limit` of the source, each in a split."""
    return with_split(limited(images, limit, seed), seed)
