"""What can be made from the codes of a run: codes, scores, transfer grids and layouts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from dualcontrast.devices import find_device
from dualcontrast.errors import RunError
from dualcontrast.images import ImageSet, open_images
from dualcontrast.images.open import PREPARATION, options_of
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder, SavedCodes

if TYPE_CHECKING:
    from dualcontrast.analysis.transfer import Transfer
    from dualcontrast.evaluation.results import Factor, Scores

Layout = Literal["umap", "tsne", "pca"]
Images = ImageSet | np.ndarray | torch.Tensor | str | Path


class EncodedRun(RunFolder):
    """The methods of a run that need its codes; see `Run`."""

    def encode(
        self,
        images: Images | None = None,
        *,
        weights: str = "best",
        key: str | None = None,
        labels: str | None = None,
        datadir: str | Path | None = None,
        invert: bool | None = None,
        bin: int | None = None,  # noqa: A002
        poses: bool | None = None,
        mask: str | Path | None = None,
        device: str = "auto",
        progress: Progress = silent,
    ) -> SavedCodes:
        """Encode images: the run's own, whose codes are written into its folder, or others.

        Parameters
        ----------
        images
            A source, or images in memory, of the same shape as in training; the run's own images if None.
        weights
            "best", "last" or "epoch-N".
        key, labels, datadir
            Options of the reader of other images, as in `open_images`.
        invert, bin, poses, mask
            The same, for subtomograms. None prepares them as in training.
        device
            auto, cpu, cuda or cuda:1.
        progress
            Called with the number of images encoded.

        Returns
        -------
        SavedCodes
            Posterior means and one draw of both latents, (N, d_c) and (N, d_z), and the table of the images.

        Raises
        ------
        RunError
            The images have another shape, or the run has no such weights.
        SourceError
            The images cannot be read.

        Examples
        --------
        >>> codes = run.encode()
        >>> codes.content.shape
        (400, 10)
        """
        from dualcontrast.runs.encoding import encode, encode_run

        if images is None:
            return encode_run(self, weights=weights, device=find_device(device), progress=progress)
        stated = {"invert": invert, "bin": bin, "poses": poses, "mask": mask}
        preparation = {
            **self._preparation_for(images),
            **{name: value for name, value in stated.items() if value is not None},
        }
        opened = open_images(images, key=key, labels=labels, datadir=datadir, **preparation)
        shape = self.config().data.shape
        if opened.shape != shape:
            raise RunError(f"{opened.source}: images of shape {opened.shape}, but {self.path} takes {shape}")
        size = self.recipe().training.batch_size
        method = self.load_method(weights)
        return encode(method, opened, batch_size=size, device=find_device(device), progress=progress)

    def _preparation_for(self, images: Images) -> dict[str, Any]:
        """Return the options of the run's own images that also apply to another source."""
        if not isinstance(images, (str, Path)):
            return {}
        options, accepted = self.config().data.options, options_of(images)
        return {name: options[name] for name in PREPARATION if name in options and name in accepted}

    def evaluate(self, *, weights: str = "best", device: str = "auto", progress: Progress = silent) -> Scores:
        """Score how well each code predicts content and transformation; writes scores.json.

        Parameters
        ----------
        weights
            "best", "last" or "epoch-N".
        device
            auto, cpu, cuda or cuda:1.
        progress
            Called with the number of images encoded, of probes fitted and of images measured.

        Returns
        -------
        Scores
            Scores as attributes; `to_json()` converts them to the contents of scores.json.

        Raises
        ------
        RunError
            The run has no such weights, or there are content labels but no labelled test images.

        Examples
        --------
        >>> scores = run.evaluate()
        >>> scores.content.from_content > scores.content.chance
        True
        """
        from dualcontrast.evaluation.scores import evaluate

        return evaluate(self, weights=weights, device=find_device(device), progress=progress)

    def transfer(
        self,
        *,
        weights: str = "best",
        count: int = 10,
        seed: int = 0,
        device: str = "auto",
        progress: Progress = silent,
    ) -> Transfer:
        """Decode a grid of transfers, draw it, and add the swap score to the scores if labels suffice.

        Parameters
        ----------
        weights
            "best", "last" or "epoch-N".
        count
            Largest number of images that give content, and of those that give transformation.
        seed
            Seed of the choice of images and of the swap score.
        device
            auto, cpu, cuda or cuda:1.
        progress
            Called while the classifier is trained and images are swapped.

        Returns
        -------
        Transfer
            The grid (n, m, C, spatial...), its source images, its figure and the swap score.

        Raises
        ------
        MethodError
            The method has no decoder.
        RunError, SourceError
            The run has no such weights, or its images are missing or have changed.

        Examples
        --------
        >>> transfer = run.transfer(count=3)
        >>> transfer.grid.shape
        torch.Size([3, 3, 1, 28, 28])
        """
        from dualcontrast.analysis.transfer import transfer

        return transfer(
            self, weights=weights, count=count, seed=seed, device=find_device(device), progress=progress
        )

    def embed(
        self,
        *,
        code: Factor = "content",
        by: Factor = "content",
        only: str | None = None,
        how: Layout = "umap",
        limit: int = 5000,
        weights: str = "best",
        seed: int = 0,
        device: str = "auto",
        progress: Progress = silent,
    ) -> np.ndarray:
        """Lay out the codes of the test images in the plane, and draw them.

        Parameters
        ----------
        code
            The code to lay out.
        by
            The label that sets the colours.
        only
            Only the images of this content.
        how
            umap, tsne or pca.
        limit
            Largest number of images, drawn at random.
        weights
            "best", "last" or "epoch-N".
        seed
            Seed of the draw of images and of the layout.
        device
            auto, cpu, cuda or cuda:1.
        progress
            Called with the number of images encoded.

        Returns
        -------
        numpy.ndarray
            The points, (N, 2), float64.

        Raises
        ------
        RunError
            There is no such code, label, content or layout; or there are too few images.
        SourceError
            The run's images are missing.

        Examples
        --------
        >>> run.embed(code="transformation", how="pca").shape
        (61, 2)
        """
        from dualcontrast.analysis.embedding import embed

        return embed(
            self,
            code=code,
            by=by,
            only=only,
            how=how,
            limit=limit,
            weights=weights,
            seed=seed,
            device=find_device(device),
            progress=progress,
        )
