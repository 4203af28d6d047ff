"""The Python way: train a run, load one, and draw from it."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dualcontrast.devices import device_named
from dualcontrast.errors import MethodError, RunError, SourceError, refuse_both
from dualcontrast.images import ImageSet, open_images
from dualcontrast.methods import Method
from dualcontrast.progress import Progress, silent
from dualcontrast.recipe import Recipe, read_recipe, recipe_of
from dualcontrast.runs import RunFolder, SavedCodes, prepared_images
from dualcontrast.settings import merged
from dualcontrast.version import __version__

if TYPE_CHECKING:
    from dualcontrast.analysis.clusters import Clusters
    from dualcontrast.analysis.transfer import Transfer
    from dualcontrast.cryoet.simulation import Simulation
    from dualcontrast.figures.show import Shown
    from dualcontrast.maps.average import Averages
    from dualcontrast.maps.export import Export
    from dualcontrast.report.report import Report

Images = ImageSet | np.ndarray | torch.Tensor | str | Path
PAIRED = 8  # images that pairs are drawn of

__all__ = ["Run", "load", "open_images", "show", "simulate", "train"]


class Run(RunFolder):
    """A trained run: its folder, and what can be drawn from it."""

    def encode(
        self,
        images: Images | None = None,
        *,
        weights: str = "best",
        device: str = "auto",
        progress: Progress = silent,
        **options: Any,
    ) -> SavedCodes:
        """Return the codes of images; of the run's own where none are given, which are kept in the run folder.

        Parameters
        ----------
        images
            A source, or images in memory, of the shape that the run was trained on.
        weights
            "best", "last" or "epoch-N".
        device
            auto, cpu, cuda or cuda:1.
        progress
            Told of images encoded.
        **options
            For the reader of a source, as in `open_images`. Subtomograms are inverted, binned, aligned and
            masked as those of the training were, where nothing else is said.

        Returns
        -------
        SavedCodes
            Posterior means and a draw of both latents, and the table of the images.

        Raises
        ------
        RunError
            The images have another shape.
        """
        from dualcontrast.runs.encoding import encode, encode_run

        if images is None:
            return encode_run(self, weights=weights, device=device_named(device), progress=progress)
        opened = open_images(images, **{**self._preparation_for(images), **options})
        shape = tuple(self.config()["data"]["shape"])
        if opened.shape != shape:
            raise RunError(f"{opened.source}: images of shape {opened.shape}, but {self.path} takes {shape}")
        size = self.recipe().training.batch_size
        method = self.load_method(weights)
        return encode(method, opened, batch_size=size, device=device_named(device), progress=progress)

    def _preparation_for(self, images: Images) -> dict[str, Any]:
        """Return how the run's own images were prepared, as far as a source of others can be."""
        from dualcontrast.images.open import PREPARATION, options_of

        if not isinstance(images, (str, Path)):
            return {}
        own, taken = self.config()["data"]["options"], options_of(images)
        return {name: own[name] for name in PREPARATION if name in own and name in taken}

    def evaluate(self, *, device: str = "auto", **options: Any) -> dict[str, Any]:
        """Return the scores of the run; see `analysis.scores.evaluate`."""
        from dualcontrast.evaluation.scores import evaluate

        return evaluate(self, device=device_named(device), **options)

    def transfer(self, *, device: str = "auto", **options: Any) -> Transfer:
        """Draw the grid of transfers and return it with the swap score; see `analysis.transfer.transfer`."""
        from dualcontrast.analysis.transfer import transfer

        return transfer(self, device=device_named(device), **options)

    def embed(self, *, device: str = "auto", **options: Any) -> np.ndarray:
        """Draw a code in the plane and return the points; see `analysis.embedding.embed`."""
        from dualcontrast.analysis.embedding import embed

        return embed(self, device=device_named(device), **options)

    def cluster(self, *, device: str = "auto", **options: Any) -> Clusters:
        """Sort images into clusters of content, then of transformation; see `analysis.clusters.cluster`."""
        from dualcontrast.analysis.clusters import cluster

        return cluster(self, device=device_named(device), **options)

    def average(self, **options: Any) -> Averages:
        """Average the subtomograms of every cluster; see `maps.average.average`."""
        from dualcontrast.maps.average import average

        return average(self, **options)

    def export(self, *, device: str = "auto", **options: Any) -> Export:
        """Write the source's rows with codes and clusters; see `analysis.export.export`."""
        from dualcontrast.maps.export import export

        return export(self, device=device_named(device), **options)

    def report(self, *, device: str = "auto", **options: Any) -> Report:
        """Write one HTML page of all that was drawn from the run; see `report.report.report`."""
        from dualcontrast.report.report import report

        return report(self, device=device_named(device), **options)


def load(path: str | Path) -> Run:
    """Open a trained run.

    Raises
    ------
    RunError
        There is no run, or it has no weights.
    """
    return Run.open(path)


def train(
    images: Images,
    *,
    out: str | Path,
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    show_pairs: bool = False,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> Run:
    """Train a method on images, and keep it in a run folder.

    Parameters
    ----------
    images
        A source (see `open_images`), or images in memory: (N, spatial...) or (N, C, spatial...).
    out
        The run folder to make.
    recipe
        The name of a packaged recipe, a YAML file, or a Recipe. Where none is given, it is `images` for pictures
        and `subtomograms` for volumes.
    settings
        Nested changes to the recipe, such as {"training": {"epochs": 10}, "method": {"gamma_z": 1}}.
    device
        auto, cpu, cuda or cuda:1.
    resume
        Go on from the last checkpoint of `out`, by its own recipe; `settings` may then change
        training.epochs and training.minutes alone.
    overwrite
        Replace the run that is there.
    show_pairs
        Draw the pairs made of a batch (figures 2 and 9 of the paper): RUN/figures/pairs.png.
    progress
        Told how far training is.
    clock
        What training.minutes are counted by, in seconds. `time.process_time` counts those that processors worked,
        so that one thread learns as much on a busy machine as on an idle one.
    **options
        For the reader of a source, as in `open_images`.

    Returns
    -------
    Run
        Ready to encode, evaluate and transfer.

    Raises
    ------
    SourceError, RecipeError, RunError, MethodError, UsageError
        With one sentence that says what to mend.
    """
    from dualcontrast.training.batches import training_and_validation
    from dualcontrast.training.loop import Training, fabric_of

    refuse_both(resume, overwrite)
    run = Run(out)
    opened = open_images(images, **options)
    if recipe is None:
        recipe = _default_recipe(opened.shape, settings or {})
    recipe = _resumed(run, settings or {}) if resume else _asked_for(recipe, settings or {}, opened)
    prepared = prepared_images(opened, recipe.training.limit, recipe.training.seed)
    torch.manual_seed(recipe.training.seed)
    method = recipe.build(opened.shape)
    if show_pairs and type(method).pairs is Method.pairs:
        raise MethodError(
            f"{recipe.method.name} makes no pairs, so there are none to draw; leave out --show-pairs"
        )
    fabric = fabric_of(device, recipe.training.precision, len(method.phases) > 1 or len(method.stages) > 1)
    training, validation = training_and_validation(prepared, recipe.training, fabric.world_size)
    fabric.launch()
    with run.locked() if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            if not resume:
                run.make_way(overwrite)
            config = run.config()["data"] if resume else _described(images, prepared, opened.options)
            run.write_config(recipe, config, _made_by(fabric.device))
        fabric.barrier()
        run.attach(opened)
        torch.manual_seed(recipe.training.seed + fabric.global_rank)  # views of its own for each process
        sitting = Training(run, method, training, validation, recipe.training, fabric, progress, clock)
        if resume:
            sitting.resume()
        if show_pairs and fabric.is_global_zero:
            _draw_pairs(run, method, fabric.device)
        sitting.fit()
        if show_pairs and fabric.is_global_zero:
            _draw_pairs(run, method, fabric.device)
    return run


def simulate(
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    structures: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Simulation:
    """Simulate subtomograms into a folder, and draw the templates and some subtomograms.

    Parameters
    ----------
    out
        The folder to make: particles.star, subtomograms/, templates/, ctf.mrc, figures/.
    recipe
        The name of a packaged simulation (demo, protein18, protein-local, protein-local-hard), or a YAML file.
    structures
        In place of a recipe: files or identifiers, or IDENTITY=STRUCTURE; see
        `cryoet.simulate.simulation_settings`.
    settings
        Changes to either, such as {"snr": 0.05, "tilt_range": 60}.
    data
        Folder in which the structures' files are looked for.
    resume, overwrite
        Go on with the simulation that is there, or replace it.
    progress
        Told of templates and subtomograms.

    Raises
    ------
    RecipeError, SourceError, RunError, UsageError
        With one sentence that says what to mend.
    """
    from dualcontrast.cryoet.simulation import simulation_settings
    from dualcontrast.cryoet.simulator import simulate as run_simulation
    from dualcontrast.evaluation.ideal_observer import draw_simulation

    wanted = simulation_settings(recipe, structures, settings)
    done = run_simulation(wanted, out, data=data, resume=resume, overwrite=overwrite, progress=progress)
    draw_simulation(done)
    return done


def show(
    images: Images,
    *more: Images,
    out: str | Path | None = None,
    count: int | None = None,
    surface: bool = False,
    seed: int = 0,
    **options: Any,
) -> Shown:
    """Draw some images of a source, to see what is read.

    Parameters
    ----------
    images
        A source (see `open_images`), or images in memory; or a density map: an MRC file, plain or gzipped.
    *more
        More density maps.
    out
        The PNG to write, in place of one that is there; named after the source, in the current folder, where
        none is given.
    count
        How many images of a source are drawn: 6 volumes or 24 pictures where none is given.
    surface
        Draw volumes as surfaces of equal density in place of slices.
    seed
        Of the choice of images.
    **options
        For the reader of a source, as in `open_images`.

    Returns
    -------
    Shown
        The figure, and what the source holds.

    Raises
    ------
    SourceError
        With one sentence that says what to mend.
    """
    from dualcontrast.figures.show import are_maps, show_images, show_maps

    sources = [images, *more]
    paths = [source for source in sources if isinstance(source, (str, Path))]
    if len(paths) == len(sources) and are_maps(paths):
        if options:
            raise SourceError(f"{paths[0]}: a density map is shown as it is; leave out {', '.join(options)}")
        return show_maps(paths, out, surface=surface)
    if more:
        raise SourceError(f"{', '.join(map(str, paths))}: only density maps are shown together; give one source")
    opened = open_images(images, **options)
    return show_images(opened, out, count=count, seed=seed, surface=surface)


def _described(images: Images, prepared: ImageSet, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what config.yaml says of the data; a path is kept absolute, to be found from anywhere."""
    source = None
    if isinstance(images, (str, Path)):
        source = str(Path(images).resolve()) if Path(images).exists() else str(images)
    return {
        "source": source,
        "options": dict(options),
        "digest": prepared.digest(),
        "names": prepared.names_digest(),
        "images": len(prepared),
        "shape": list(prepared.shape),
        "pixel_size": prepared.pixel_size,
    }


def _default_recipe(shape: tuple[int, ...], settings: Mapping[str, Any]) -> str:
    """Return the recipe of images (C, spatial...): the best, or that of other methods where one is named."""
    best, other = ("images", "images-paper") if len(shape) == 3 else ("subtomograms", "subtomograms-infonce")
    asked = settings.get("method")
    named = asked.get("name") if isinstance(asked, Mapping) else None
    return best if named in (None, "dualcontrast_plus") else other


def _asked_for(recipe: str | Path | Recipe, settings: Mapping[str, Any], images: ImageSet) -> Recipe:
    """Return the recipe with its changes, and what it leaves to the images."""
    if isinstance(recipe, Recipe):
        asked = recipe_of(merged(recipe.model_dump(mode="json"), settings))
    else:
        asked = read_recipe(recipe, settings)
    tilts = images.tilt_range()
    return asked if tilts is None else asked.for_tilts(tilts)


def _resumed(run: RunFolder, settings: Mapping[str, Any]) -> Recipe:
    """Return the run's own recipe, longer where that is asked for; what it has already may be said again."""
    own = run.config()["recipe"]
    asked = {key: value for key, value in settings.items() if key != "training"}
    other = [key for key, value in asked.items() if merged(own, {key: value}) != own]
    for key, value in settings.get("training", {}).items():
        if key not in ("epochs", "minutes") and own["training"].get(key) != value:
            other.append(f"training.{key}")
    if other:
        raise RunError(
            f"{run.path}: a resumed run keeps its own settings, so {', '.join(other)} cannot change; only "
            "training.epochs and training.minutes can"
        )
    return recipe_of(merged(own, settings), where=str(run.config_path))


def _made_by(device: torch.device) -> dict[str, Any]:
    return {
        "command": shlex.join([_program(), *sys.argv[1:]]),
        "dualcontrast": __version__,
        "torch": str(torch.__version__),
        "python": sys.version.split()[0],
        "device": str(device),
        "threads": torch.get_num_threads(),
    }


def _program() -> str:
    """Return what this program was called as; `python -m dualcontrast` is the same as `dualcontrast`."""
    called = Path(sys.argv[0])
    return "dualcontrast" if called.parts[-2:] == ("dualcontrast", "__main__.py") else called.name


def _draw_pairs(run: RunFolder, method: Method, device: torch.device) -> None:
    """Draw the pairs that the method, with the weights it has now, makes of some images."""
    from dualcontrast.figures.drawing import draw_pairs
    from dualcontrast.runs.encoding import inference

    seed, count = run.recipe().training.seed, len(run.images())
    chosen = np.random.default_rng(seed).choice(count, size=min(PAIRED, count), replace=False)
    with inference(method, device, seed):
        (batch,) = method.batches(run.images().select(chosen), PAIRED, device)
        pairs = method.pairs(batch)
    draw_pairs(pairs, run.figure_path("pairs"))
