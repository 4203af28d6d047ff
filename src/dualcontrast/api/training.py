"""Train a method on images, in a run folder."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dualcontrast.api.codes import Images
from dualcontrast.api.run import Run
from dualcontrast.errors import MethodError, RunError, refuse_both
from dualcontrast.images import ImageSet, open_images
from dualcontrast.methods import Method
from dualcontrast.progress import Progress, silent
from dualcontrast.recipe import Recipe, read_recipe, recipe_of
from dualcontrast.runs import DataDescription, RunFolder, prepared_images
from dualcontrast.settings import merged
from dualcontrast.version import __version__

PAIRED = 8  # images of which pairs are drawn


def train(
    images: Images,
    *,
    out: str | Path,
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, object] | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    show_pairs: bool = False,
    key: str | None = None,
    labels: str | None = None,
    datadir: str | Path | None = None,
    invert: bool = False,
    bin: int = 1,  # noqa: A002
    poses: bool = False,
    mask: str | Path | None = None,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
) -> Run:
    """Train a method on images, in a run folder.

    Parameters
    ----------
    images
        A source (see `open_images`), or images in memory: (N, spatial...) or (N, C, spatial...).
    out
        The run folder.
    recipe
        Name of a packaged recipe, a YAML file, or a Recipe. The default is `images` for pictures and
        `subtomograms` for volumes.
    settings
        Nested changes to the recipe, such as {"training": {"epochs": 10}, "method": {"gamma_z": 1}}.
    device
        auto, cpu, cuda or cuda:1.
    resume
        Continue from the last checkpoint in `out` with its own recipe; `settings` may only change training.epochs
        and training.minutes.
    overwrite
        Replace an existing run.
    show_pairs
        Draw the pairs made from a batch (figures 2 and 9 of the paper): RUN/figures/pairs.png.
    key, labels, datadir, invert, bin, poses, mask
        Options of the reader of a source, as in `open_images`.
    progress
        Called as training advances.
    clock
        The clock that training.minutes refers to, in seconds. `time.process_time` counts CPU time, so that one
        thread trains as long on a busy machine as on an idle one.

    Returns
    -------
    Run
        The trained run.

    Raises
    ------
    SourceError
        The images cannot be read.
    RecipeError
        The recipe or a setting is unknown or not valid, or does not suit the images.
    RunError
        The folder holds a run already, or one that cannot be resumed.
    MethodError
        The method makes no pairs to draw.
    UsageError
        Both `resume` and `overwrite` are set.

    Examples
    --------
    >>> run = dualcontrast.train("digits.npz", out="runs/a")  # doctest: +SKIP
    """
    from dualcontrast.training.batches import training_and_validation
    from dualcontrast.training.fabric import make_fabric
    from dualcontrast.training.loop import Training

    refuse_both(resume, overwrite)
    run = Run(out)
    opened = open_images(
        images, key=key, labels=labels, datadir=datadir, invert=invert, bin=bin, poses=poses, mask=mask
    )
    if recipe is None:
        recipe = _default_recipe(opened.shape, settings or {})
    recipe = _resumed(run, settings or {}) if resume else _requested(recipe, settings or {}, opened)
    prepared = prepared_images(opened, recipe.training.limit, recipe.training.seed)
    torch.manual_seed(recipe.training.seed)
    method = recipe.build(opened.shape)
    if show_pairs and type(method).pairs is Method.pairs:
        raise MethodError(
            f"{recipe.method.name} makes no pairs, so there are none to draw; leave out `show_pairs`"
        )
    fabric = make_fabric(device, recipe.training.precision, len(method.phases) > 1 or len(method.stages) > 1)
    training, validation = training_and_validation(prepared, recipe.training, fabric.world_size)
    fabric.launch()
    with run.locked() if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            if not resume:
                run.clear(overwrite)
            data = run.config().data if resume else DataDescription.of(prepared, _source(images), opened.options)
            run.write_config(recipe, data, _made_by(fabric.device))
        fabric.barrier()
        run.attach(opened)
        torch.manual_seed(recipe.training.seed + fabric.global_rank)  # each process draws its own views
        training_loop = Training(run, method, training, validation, recipe.training, fabric, progress, clock)
        if resume:
            training_loop.resume()
        if show_pairs and fabric.is_global_zero:
            _draw_pairs(run, method, fabric.device)
        training_loop.fit()
        if show_pairs and fabric.is_global_zero:
            _draw_pairs(run, method, fabric.device)
    return run


def _source(images: Images) -> str | None:
    """Name the source for config.yaml: a path is made absolute, so that it is found from anywhere."""
    if not isinstance(images, (str, Path)):
        return None
    return str(Path(images).resolve()) if Path(images).exists() else str(images)


def _default_recipe(shape: tuple[int, ...], settings: Mapping[str, object]) -> str:
    """Name the default recipe for images (C, spatial...): the best, or that for another method if one is set."""
    best, other = ("images", "images-paper") if len(shape) == 3 else ("subtomograms", "subtomograms-infonce")
    method = settings.get("method")
    name = method.get("name") if isinstance(method, Mapping) else None
    return best if name in (None, "dualcontrast_plus") else other


def _requested(recipe: str | Path | Recipe, settings: Mapping[str, object], images: ImageSet) -> Recipe:
    """Apply the changes to a recipe, and adapt it to the tilt range of the images."""
    if isinstance(recipe, Recipe):
        requested = recipe_of(merged(recipe.model_dump(mode="json"), settings))
    else:
        requested = read_recipe(recipe, settings)
    tilts = images.tilt_range()
    return requested if tilts is None else requested.for_tilts(tilts)


def _resumed(run: RunFolder, settings: Mapping[str, Any]) -> Recipe:
    """Return the run's recipe, with a longer training if requested; unchanged settings may be repeated."""
    recipe = run.config().recipe
    nested = {key: value for key, value in settings.items() if key != "training"}
    changed = [key for key, value in nested.items() if merged(recipe, {key: value}) != recipe]
    for key, value in settings.get("training", {}).items():
        if key not in ("epochs", "minutes") and recipe["training"].get(key) != value:
            changed.append(f"training.{key}")
    if changed:
        raise RunError(
            f"{run.path}: a resumed run keeps its own settings, so {', '.join(changed)} cannot change; only "
            "training.epochs and training.minutes can"
        )
    return recipe_of(merged(recipe, settings), where=str(run.config_path))


def _made_by(device: torch.device) -> dict[str, str | int]:
    return {
        "command": shlex.join([_program(), *sys.argv[1:]]),
        "dualcontrast": __version__,
        "torch": str(torch.__version__),
        "python": sys.version.split()[0],
        "device": str(device),
        "threads": torch.get_num_threads(),
    }


def _program() -> str:
    """Return the name of the running program; `python -m dualcontrast` counts as `dualcontrast`."""
    program = Path(sys.argv[0])
    return "dualcontrast" if program.parts[-2:] == ("dualcontrast", "__main__.py") else program.name


def _draw_pairs(run: RunFolder, method: Method, device: torch.device) -> None:
    """Draw the pairs that the method makes of some images with its present weights."""
    from dualcontrast.figures.drawing import draw_pairs
    from dualcontrast.runs.encoding import inference

    seed, count = run.recipe().training.seed, len(run.images())
    chosen = np.random.default_rng(seed).choice(count, size=min(PAIRED, count), replace=False)
    with inference(method, device, seed):
        (batch,) = method.batches(run.images().select(chosen), PAIRED, device)
        pairs = method.pairs(batch)
    draw_pairs(pairs, run.figure_path("pairs"))
