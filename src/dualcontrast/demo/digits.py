"""The demo of pictures: packaged digits in; scores, a transfer grid, embeddings and a report out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from dualcontrast.api import Run, train
from dualcontrast.evaluation.results import Scores
from dualcontrast.evaluation.scores import describe, read_scores
from dualcontrast.progress import Progress, silent


@dataclass(frozen=True)
class DigitsDemo:
    """What the demo leaves.

    Attributes
    ----------
    run : Run
        The trained run.
    scores : Scores
        Its scores, the swap score among them.
    figures : list of Path
        The transfer grid and the embeddings.
    report : Path
        All of it on one page.
    """

    run: Run
    scores: Scores
    figures: list[Path]
    report: Path

    def as_dict(self) -> dict[str, Any]:
        """Return the whole as plain values."""
        return {
            "run": str(self.run.path),
            "scores": self.scores.to_json(),
            "figures": [str(figure) for figure in self.figures],
            "report": str(self.report),
        }

    def describe(self, shortened: Callable[[Path], Path]) -> list[str]:
        """Return what was found, where to look, and what the numbers mean."""
        transfer, pairs, content, transformation = map(shortened, self.figures)
        return [
            "DualContrast was trained on 5,000 handwritten digits without their labels; the labels of another",
            "1,000 digits now tell what its two codes hold.",
            "",
            *describe(self.scores),
            "",
            "Look at:",
            f"  {transfer}  every row one content, every column one transformation",
            f"  {content}  the content codes in the plane: digits should form groups",
            f"  {transformation}  the transformation codes: digits should mix",
            f"  {pairs}  the contrastive pairs that training makes of a batch",
            f"All figures: {shortened(self.run.scores_path())}",
            f"Report: {shortened(self.report)}; open it in a browser",
        ]


def demo(out: str | Path, *, seed: int = 0, overwrite: bool = False, progress: Progress = silent) -> DigitsDemo:
    """Train on the packaged digits, score, draw, and report.

    Parameters
    ----------
    out
        The run folder to make.
    seed
        Of the training.
    overwrite
        Replace an earlier demo there.
    progress
        Told of every stage.
    """
    digits = Path(str(resources.files("dualcontrast"))) / "data" / "digits.npz"
    run = train(
        digits,
        out=out,
        recipe="demo-digits",
        settings={"training": {"seed": seed}},
        overwrite=overwrite,
        show_pairs=True,
        progress=progress,
    )
    run.evaluate(progress=progress)
    run.transfer(progress=progress)
    for code in ("content", "transformation"):
        run.embed(code=code, how="tsne", progress=progress)
    names = ("transfer", "pairs", "embedding_content_tsne", "embedding_transformation_tsne")
    scores = read_scores(run)
    assert scores is not None
    page = run.report(seed=seed, progress=progress).path
    return DigitsDemo(run, scores, [run.figure_path(name) for name in names], page)
