"""The results in a run folder that a report is made from, read once."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from dualcontrast.analysis.clusters import DEFAULT, Clusters, read_clusters
from dualcontrast.errors import RunError, SourceError
from dualcontrast.evaluation.results import Scores, SwapScores
from dualcontrast.evaluation.scores import read_scores, read_swap
from dualcontrast.figures.captions import size_of
from dualcontrast.figures.sampling import balanced_sample
from dualcontrast.files import JSONObject
from dualcontrast.images import ImageSet
from dualcontrast.images.imageset import ReaderOptions
from dualcontrast.maps.cluster_average import ClusterAverage, read_averages
from dualcontrast.progress import Progress, silent
from dualcontrast.recipe import Recipe
from dualcontrast.report.pictures import Thumbnails, sheet_of
from dualcontrast.report.section import Unavailable
from dualcontrast.runs import RunConfig, RunFolder, SavedCodes
from dualcontrast.runs.encoding import made_with_weights, stored_codes
from dualcontrast.runs.source import attached

THUMBNAILS = 3000  # at most
HOW, LIMIT, SEED = "umap", 20_000, 0  # defaults of a layout
_WITH_WEIGHTS = ("encode", "evaluate", "transfer", "embed", "cluster", "report")


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """How a report is made: the arguments of `report.report`."""

    weights: str = "best"
    clusters: str = DEFAULT
    how: str = HOW
    limit: int = LIMIT
    seed: int = SEED
    datadir: str | Path | None = None
    device: str | torch.device = "cpu"
    progress: Progress = silent


@dataclass(frozen=True, kw_only=True)
class Material:
    """The results that the sections of a report show.

    Attributes
    ----------
    run : RunFolder
        The run.
    options : ReportOptions
        How the report is made.
    codes : SavedCodes
        The codes in the run folder.
    scores : Scores or Unavailable
        The scores.
    clusters : Clusters or Unavailable
        The clusters of the requested name.
    images : ImageSet or Unavailable
        The run's images, if they can be read.
    reader_options : mapping
        The options that open the images where they are now.
    thumbnails : Thumbnails
        Small pictures of at most 3,000 images.
    """

    run: RunFolder
    options: ReportOptions
    codes: SavedCodes
    scores: Scores | Unavailable
    clusters: Clusters | Unavailable
    images: ImageSet | Unavailable
    reader_options: ReaderOptions
    thumbnails: Thumbnails

    def __len__(self) -> int:
        return len(self.codes.table)

    @cached_property
    def config(self) -> RunConfig:
        """The run's config.yaml."""
        return self.run.config()

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that the run was trained with."""
        return self.run.recipe()

    @cached_property
    def log(self) -> list[JSONObject]:
        """The log of training."""
        return self.run.read_log()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an image, (C, spatial...)."""
        return self.config.data.shape

    @property
    def size(self) -> str:
        """The size of an image in words."""
        return size_of(self.shape[1:], self.config.data.pixel_size)

    @property
    def are_volumes(self) -> bool:
        """Whether the images are volumes."""
        return len(self.shape) == 4

    @property
    def is_star(self) -> bool:
        """Whether the images are the subtomograms of a STAR file."""
        return Path(str(self.config.data.source)).suffix == ".star"

    @property
    def things(self) -> str:
        """The plural noun for the images."""
        return ("subtomograms" if self.is_star else "volumes") if self.are_volumes else "pictures"

    @cached_property
    def swap(self) -> SwapScores | None:
        """The swap score; None if there is none, or only one of earlier weights."""
        return read_swap(self.run, self.options.weights)

    @cached_property
    def averages(self) -> list[ClusterAverage] | Unavailable:
        """The averages of the clusters."""
        if isinstance(self.clusters, Unavailable):
            return Unavailable("Averages are made of clusters, which are missing.", self.command("cluster"))
        try:
            averages = read_averages(self.run, self.clusters)
        except RunError as error:
            return Unavailable(_problem(error), self.clusters_command("average", "--overwrite"))
        return averages or Unavailable("The clusters are not averaged yet.", self.clusters_command("average"))

    @property
    def report_command(self) -> str:
        """The command that creates this report again."""
        options = self.options
        stated = (("--how", options.how, HOW), ("--limit", options.limit, LIMIT), ("--seed", options.seed, SEED))
        words = [word for flag, value, default in stated if value != default for word in (flag, str(value))]
        return self.clusters_command("report", *words)

    def command(self, verb: str, *words: str) -> str:
        """Return a command for this run, as a user types it."""
        weights, datadir = self.options.weights, self.options.datadir
        chosen = ["--weights", weights] if weights != "best" and verb in _WITH_WEIGHTS else []
        chosen += [] if datadir is None else ["--datadir", str(datadir)]
        return shlex.join(["dualcontrast", verb, str(self.run.path), *words, *chosen])

    def clusters_command(self, verb: str, *words: str) -> str:
        """Return a command for this run's clusters, as a user types it."""
        name = DEFAULT if isinstance(self.clusters, Unavailable) else self.clusters.name
        return self.command(verb, *([] if name == DEFAULT else ["--clusters", name]), *words)


def gather(run: RunFolder, options: ReportOptions) -> Material:
    """Read the results that a report shows.

    Raises
    ------
    RunError, SourceError
        As in `report.report`.
    """
    codes = stored_codes(run, options.weights)
    clusters = _clusters(run, options.clusters, options.weights)
    images, reader_options = _images(run, options.datadir)
    pictured, sheet = balanced_sample(codes.table, THUMBNAILS, options.seed), None
    if not isinstance(images, Unavailable):
        try:
            sheet = sheet_of(images, pictured, options.progress)
        except SourceError as error:
            images = Unavailable(f"{error}.")
    return Material(
        run=run,
        options=options,
        codes=codes,
        scores=_scores(run, options.weights),
        clusters=clusters,
        images=images,
        reader_options=reader_options,
        thumbnails=Thumbnails(pictured, sheet),
    )


def _scores(run: RunFolder, weights: str) -> Scores | Unavailable:
    scores = read_scores(run, weights)
    if scores is None:
        return Unavailable("The codes are not scored yet.")
    if not made_with_weights(run.scores_path(weights), run, weights):
        return Unavailable("The scores are older than the weights.")
    return scores


def _clusters(run: RunFolder, name: str, weights: str) -> Clusters | Unavailable:
    """Read the clusters; the default ones may be missing."""
    if name == DEFAULT and not run.clusters_path(name).is_file():
        return Unavailable("The codes are not clustered yet.")
    try:
        clusters = read_clusters(run, name)
    except RunError as error:
        if name != DEFAULT:
            raise
        return Unavailable(_problem(error))
    if clusters.weights != weights:
        return Unavailable(
            f"The clusters {name} were made with the weights {clusters.weights}, but this report is of {weights}."
        )
    return clusters


def _images(run: RunFolder, datadir: str | Path | None) -> tuple[ImageSet | Unavailable, ReaderOptions]:
    """Open the run's images, in memory or where they are now; also return the options that open them."""
    data = run.config().data
    in_memory, options = data.source is None, data.options
    try:
        if not in_memory:
            options = attached(run, datadir).options
        return run.images(), options
    except (RunError, SourceError) as error:
        if datadir is not None:
            raise
        if in_memory:
            reason = (
                "The run was trained on images in memory, which are gone; the program that trained it can write a "
                "report with them, by run.report()."
            )
            return Unavailable(reason), options
        return Unavailable(f"{_problem(error)} Their folder can be given with --datadir."), options


def _problem(error: Exception) -> str:
    """Return the problem that a message names as a sentence, without the advice that follows it."""
    return f"{str(error).rpartition('; ')[0] or error}."
