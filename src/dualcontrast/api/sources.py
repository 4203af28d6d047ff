"""Show a source of images, and simulate one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dualcontrast.api.codes import Images
from dualcontrast.errors import SourceError
from dualcontrast.images import open_images
from dualcontrast.images.open import non_default
from dualcontrast.progress import Progress, silent

if TYPE_CHECKING:
    from dualcontrast.cryoet.simulation import Simulation
    from dualcontrast.figures.show import Preview


def simulate(
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    structures: Iterable[str] = (),
    settings: Mapping[str, object] | None = None,
    data: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Simulation:
    """Simulate subtomograms into a folder, and draw the templates and some subtomograms.

    Parameters
    ----------
    out
        The folder, for particles.star, subtomograms/, templates/, ctf.mrc and figures/.
    recipe
        Name of a packaged simulation (demo, protein18, protein-local, protein-local-hard), or a YAML file.
    structures
        Instead of a recipe: files or identifiers, or IDENTITY=STRUCTURE; see
        `cryoet.simulation.simulation_settings`.
    settings
        Changes to either, such as {"snr": 0.05, "tilt_range": 60}; lengths are in Angstrom, angles in degrees.
    data
        Folder of the structures' files.
    resume, overwrite
        Continue a simulation in `out`, or replace it.
    progress
        Called with the number of templates and of subtomograms.

    Returns
    -------
    Simulation
        The folder with its settings; `star` is the path of particles.star.

    Raises
    ------
    RecipeError
        The recipe or a setting is unknown or not valid.
    SourceError
        A structure cannot be found or read.
    RunError
        The folder holds another simulation.
    UsageError
        Both `resume` and `overwrite` are set.

    Examples
    --------
    >>> simulation = dualcontrast.simulate("sim", recipe="demo")  # doctest: +SKIP
    """
    from dualcontrast.cryoet.simulation import simulation_settings
    from dualcontrast.cryoet.simulator import simulate as run_simulation
    from dualcontrast.evaluation.ideal_observer import draw_simulation

    requested = simulation_settings(recipe, structures, settings)
    simulation = run_simulation(requested, out, data=data, resume=resume, overwrite=overwrite, progress=progress)
    draw_simulation(simulation)
    return simulation


def show(
    images: Images,
    *more: Images,
    out: str | Path | None = None,
    count: int | None = None,
    surface: bool = False,
    seed: int = 0,
    key: str | None = None,
    labels: str | None = None,
    datadir: str | Path | None = None,
    invert: bool = False,
    bin: int = 1,  # noqa: A002
    poses: bool = False,
    mask: str | Path | None = None,
) -> Preview:
    """Draw some images of a source, to check how it is read.

    Parameters
    ----------
    images
        A source (see `open_images`), or images in memory; or a density map: an MRC file, plain or gzipped.
    *more
        More density maps.
    out
        The PNG to write or replace; by default named after the source, in the current folder.
    count
        Number of images to draw; by default 6 volumes or 24 pictures.
    surface
        Draw volumes as isosurfaces instead of slices.
    seed
        Seed of the choice of images.
    key, labels, datadir, invert, bin, poses, mask
        Options of the reader of a source, as in `open_images`.

    Returns
    -------
    Preview
        The figure, and a description of the source.

    Raises
    ------
    SourceError
        The source cannot be read, or an option does not apply to it.

    Examples
    --------
    >>> shown = dualcontrast.show("particles.star", bin=2)  # doctest: +SKIP
    """
    from dualcontrast.figures.show import are_maps, show_images, show_maps

    options = non_default(key=key, labels=labels, datadir=datadir, invert=invert, bin=bin, poses=poses, mask=mask)
    sources = [images, *more]
    paths = [source for source in sources if isinstance(source, (str, Path))]
    if len(paths) == len(sources) and are_maps(paths):
        if options:
            raise SourceError(f"{paths[0]}: a density map is shown as it is; leave out `{'`, `'.join(options)}`")
        return show_maps(paths, out, surface=surface)
    if more:
        raise SourceError(f"{', '.join(map(str, paths))}: only density maps are shown together; give one source")
    opened = open_images(images, **options)
    return show_images(opened, out, count=count, seed=seed, surface=surface)
