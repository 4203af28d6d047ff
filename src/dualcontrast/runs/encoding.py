"""Encode images with a trained method, and store the codes of a run's own images in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from dualcontrast.devices import seeded
from dualcontrast.errors import RunError
from dualcontrast.images import ImageSet
from dualcontrast.methods import Method
from dualcontrast.progress import Progress, silent
from dualcontrast.runs.codes import SavedCodes, read_codes, write_codes
from dualcontrast.runs.folder import RunFolder


def encode(
    method: Method,
    images: ImageSet,
    *,
    batch_size: int = 500,
    device: str | torch.device = "cpu",
    seed: int = 0,
    progress: Progress = silent,
) -> SavedCodes:
    """Encode every image of a set, in its order.

    Parameters
    ----------
    method
        A trained method; it is left on `device`, in the mode it had.
    images
        Images of the shape the method was built for.
    batch_size
        Images encoded at a time.
    device
        Where to encode.
    seed
        Seed of the draw of the latents. The global random state stays as it was.
    progress
        Called with the number of images encoded.

    Returns
    -------
    SavedCodes
        Posterior means and one draw of the latents, float32, and a copy of the images' table.

    Raises
    ------
    RunError
        An image has a code that is not finite.
    """
    parts = []
    with inference(method, device, seed):
        for batch in method.batches(images, batch_size, device):
            codes, draw = method.encode_and_sample(batch)
            parts.append([code.cpu().numpy() for code in (*codes, *draw)])
            progress("encoding", int(batch.index[-1]) + 1, len(images))
    content, transformation, content_latent, transformation_latent = (
        np.concatenate(batches) for batches in zip(*parts, strict=True)
    )
    table = images.table.reset_index(drop=True)
    saved = SavedCodes(
        content, transformation, content_latent, transformation_latent, table, method.transformation_parts
    )
    _check_finite(saved, images.source)
    return saved


def encode_run(
    run: RunFolder,
    *,
    weights: str = "best",
    device: str | torch.device = "cpu",
    progress: Progress = silent,
) -> SavedCodes:
    """Encode all images of a run and write the codes into its folder.

    The batches have the size of those in training, so they fit in memory.

    Raises
    ------
    RunError
        The run does not have such weights, its images have changed, or a code is not finite.
    SourceError
        The images are no longer at their path.
    """
    method = run.load_method(weights)
    batch_size = run.recipe().training.batch_size
    codes = encode(method, run.images(), batch_size=batch_size, device=device, progress=progress)
    write_codes(run.codes_folder(weights), codes)
    return codes


def codes_of(
    run: RunFolder,
    weights: str = "best",
    *,
    device: str | torch.device = "cpu",
    progress: Progress = silent,
) -> SavedCodes:
    """Return the codes of a run, from its folder if they are present and up to date, otherwise newly encoded.

    Raises
    ------
    RunError, SourceError
        As in `encode_run` and `read_codes`.
    """
    folder = run.codes_folder(weights)
    if made_with_weights(folder / "table.csv", run, weights):
        return read_codes(folder)
    return encode_run(run, weights=weights, device=device, progress=progress)


def stored_codes(run: RunFolder, weights: str = "best") -> SavedCodes:
    """Read the codes from the folder of a run, without making any.

    Raises
    ------
    RunError
        There are no such weights or no codes, or the codes are damaged or older than the weights.
    """
    run.require_weights(weights)
    folder = run.codes_folder(weights)
    if not made_with_weights(folder / "table.csv", run, weights):
        problem = "its codes are older than its weights" if folder.is_dir() else "its images are not encoded yet"
        chosen = "" if weights == "best" else f"weights={weights!r}"
        raise RunError(f"{run.path}: {problem}; call `run.encode({chosen})`")
    return read_codes(folder)


def made_with_weights(path: Path, run: RunFolder, weights: str) -> bool:
    """Tell whether a file made with a run's weights exists and is no older than they are."""
    source = run.weights_path(weights)
    return path.is_file() and source.is_file() and path.stat().st_mtime_ns >= source.stat().st_mtime_ns


@contextmanager
def inference(method: Method, device: str | torch.device, seed: int) -> Iterator[None]:
    """Run a method on `device` in evaluation mode, without gradients, with random draws from `seed`.

    Afterwards, the mode and the global random state are as before.
    """
    device = torch.device(device)
    was_training = method.training
    method.to(device).eval()
    try:
        with seeded(seed, device), torch.no_grad():
            yield
    finally:
        method.train(was_training)


def _check_finite(codes: SavedCodes, source: str) -> None:
    finite = np.isfinite(np.hstack([codes.content, codes.transformation])).all(axis=1)
    if not finite.all():
        row = codes.table["row"].iloc[int(np.argmin(finite))]
        raise RunError(
            f"{source}: the code of row {row} is not finite; check the values of that image, or train again "
            "with a lower learning rate"
        )
