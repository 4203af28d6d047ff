"""What a report is made from: all that lies in a run folder, read once, and what is missing of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dualcontrast.analysis.clusters import DEFAULT, Clusters, read_clusters
from dualcontrast.errors import RunError, SourceError
from dualcontrast.figures.show import size_of, spread
from dualcontrast.images import ImageSet
from dualcontrast.maps.cluster_average import ClusterAverage, read_averages
from dualcontrast.progress import Progress
from dualcontrast.recipe import Recipe
from dualcontrast.report.pictures import Sheet, sheet_of
from dualcontrast.report.section import Missing
from dualcontrast.runs import RunFolder, SavedCodes
from dualcontrast.runs.encoding import kept_codes, made_with_weights
from dualcontrast.runs.source import attached

PICTURED = 3000  # images that have a small picture, at most
HOW, LIMIT, SEED = "umap", 20_000, 0  # of a layout, unless asked for otherwise


@dataclass(frozen=True)
class Material:
    """What the sections of a report draw from.

    Attributes
    ----------
    run, weights : RunFolder, str
        Which run, and which of its weights.
    config : mapping
        Its config.yaml.
    recipe : Recipe
        What it was trained by.
    log : list of dict
        Its log.
    codes : SavedCodes
        Those that lie in its folder.
    scores : dict or Missing
        Its scores, those of transfer alone among them.
    clusters : Clusters or Missing
        Those of the name that was asked for.
    images : ImageSet or Missing
        Its images, where they can be read.
    options : mapping
        With what options they are opened where they are now.
    datadir : pathlib.Path, str or None
        Where they are now, if they were moved.
    pictured : numpy.ndarray
        Places of the images that have a small picture, at most 3,000.
    sheet : Sheet or None
        These pictures, in that order.
    how, limit, seed : str, int, int
        How codes are laid out in the plane, at most how many, and the seed of what is drawn at random.
    device, progress : torch.device or str, Progress
        Where hybrids are decoded, and who is told.
    """

    run: RunFolder
    weights: str
    config: Mapping[str, Any]
    recipe: Recipe
    log: list[dict[str, Any]]
    codes: SavedCodes
    scores: dict[str, Any] | Missing
    clusters: Clusters | Missing
    images: ImageSet | Missing
    options: Mapping[str, Any]
    datadir: str | Path | None
    pictured: np.ndarray
    sheet: Sheet | None
    how: str
    limit: int
    seed: int
    device: torch.device | str
    progress: Progress

    def __len__(self) -> int:
        return len(self.codes.table)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, (C, spatial...)."""
        return tuple(self.config["data"]["shape"])

    @property
    def size(self) -> str:
        """How large an image is, in words."""
        return size_of(self.shape[1:], self.config["data"]["pixel_size"])

    @property
    def are_volumes(self) -> bool:
        """Whether the images are volumes."""
        return len(self.shape) == 4

    @property
    def is_star(self) -> bool:
        """Whether the images are the subtomograms of a STAR file."""
        return Path(str(self.config["data"]["source"])).suffix == ".star"

    @property
    def things(self) -> str:
        """What the images are called."""
        return ("subtomograms" if self.is_star else "volumes") if self.are_volumes else "pictures"

    @cached_property
    def sheet_places(self) -> dict[int, int]:
        """Where in the sheet an image has its picture."""
        return {} if self.sheet is None else {int(place): number for number, place in enumerate(self.pictured)}

    @cached_property
    def averages(self) -> list[ClusterAverage] | Missing:
        """The averages of the clusters."""
        if isinstance(self.clusters, Missing):
            return Missing("Averages are made of clusters, which are missing.", self.command("cluster"))
        try:
            made = read_averages(self.run, self.clusters)
        except RunError as error:
            return Missing(f"{error}.")  # which says how to make them again
        return made or Missing("The clusters are not averaged yet.", self.of_clusters("average"))

    @property
    def again(self) -> str:
        """The call that makes this report again."""
        stated = (("--how", self.how, HOW), ("--limit", self.limit, LIMIT), ("--seed", self.seed, SEED))
        options = [word for name, value, usual in stated if value != usual for word in (name, str(value))]
        return self.of_clusters("report", *options)

    def command(self, verb: str, *options: str) -> str:
        """Return a call of a verb on this run, as a user types it."""
        chosen = ["--weights", self.weights] if self.weights != "best" and verb in _OF_WEIGHTS else []
        chosen += [] if self.datadir is None else ["--datadir", str(self.datadir)]
        return shlex.join(["dualcontrast", verb, str(self.run.path), *options, *chosen])

    def of_clusters(self, verb: str, *options: str) -> str:
        """Return a call of a verb on this run's clusters."""
        name = DEFAULT if isinstance(self.clusters, Missing) else self.clusters.name
        return self.command(verb, *([] if name == DEFAULT else ["--clusters", name]), *options)


_OF_WEIGHTS = ("encode", "evaluate", "transfer", "embed", "cluster", "report")


def gather(
    run: RunFolder,
    *,
    weights: str,
    clusters: str,
    how: str,
    limit: int,
    seed: int,
    datadir: str | Path | None,
    device: torch.device | str,
    progress: Progress,
) -> Material:
    """Read all that a report is made from; arguments as of `report.report`."""
    config, recipe, codes = run.config(), run.recipe(), kept_codes(run, weights)
    found = _clusters(run, clusters, weights)
    images, options = _images(run, datadir)
    pictured = spread(codes.table, PICTURED, seed)
    sheet = None
    if not isinstance(images, Missing):
        try:
            sheet = sheet_of(images, pictured, progress)
        except SourceError as error:
            images = Missing(f"{error}.")
    return Material(
        run, weights, config, recipe, run.read_log(), codes,
        _scores(run, weights), found,
        images, options, datadir, pictured, sheet,
        how, limit, seed, device, progress,
    )  # fmt: skip


def _scores(run: RunFolder, weights: str) -> dict[str, Any] | Missing:
    there = run.read_scores(weights)
    if there is None:
        return Missing("The codes are not scored yet.")
    if not made_with_weights(run.scores_path(weights), run, weights):
        return Missing("The scores are older than the weights.")
    return there


def _clusters(run: RunFolder, name: str, weights: str) -> Clusters | Missing:
    """Read the clusters; only those that were named must be there."""
    if name == DEFAULT and not run.clusters_path(name).is_file():
        return Missing("The codes are not sorted into clusters yet.")
    try:
        found = read_clusters(run, name)
    except RunError as error:
        if name != DEFAULT:
            raise
        return Missing(f"{error}.")
    made_of = found.described["weights"]
    if made_of != weights:
        return Missing(
            f"The clusters {name} were made with the weights {made_of}, and this is a report of {weights}."
        )
    return found


def _images(run: RunFolder, datadir: str | Path | None) -> tuple[ImageSet | Missing, Mapping[str, Any]]:
    """Open the run's images, those in memory or where they lie now, and return with what options."""
    data = run.config()["data"]
    in_memory, options = data["source"] is None, data["options"]
    try:
        if not in_memory:
            options = attached(run, datadir).options
        return run.images(), options
    except (RunError, SourceError) as error:
        if datadir is not None:
            raise
        if in_memory:
            lack = Missing(
                "The run was trained on images in memory, which are no longer there; the program that trained it "
                "can write a report with them, by run.report()."
            )
            return lack, options
        return Missing(f"{error}."), options
