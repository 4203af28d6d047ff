"""The image demo: train on the packaged digits, and make scores, a transfer grid, embeddings and a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from dualcontrast.api import Run, train
from dualcontrast.evaluation.results import Scores
from dualcontrast.evaluation.scores import describe, read_scores
from dualcontrast.files import JSONObject
from dualcontrast.progress import Progress, silent


@dataclass(frozen=True)
class DigitsDemo:
    """What the demo produces.

    Attributes
    ----------
    run : Run
        The trained run.
    scores : Scores
        Its scores, including the swap score.
    figures : list of Path
        The transfer grid, the contrastive pairs and the embeddings.
    report : Path
        The page with all of them.
    """

    run: Run
    scores: Scores
    figures: list[Path]
    report: Path

    def as_dict(self) -> JSONObject:
        """Convert the demo to plain values."""
        return {
            "run": str(self.run.path),
            "scores": self.scores.to_json(),
            "figures": [str(figure) for figure in self.figures],
            "report": str(self.report),
        }

    def describe(self, shorten: Callable[[Path], Path]) -> list[str]:
        """Describe the numbers and what they mean, and list the files."""
        transfer, pairs, content, transformation = map(shorten, self.figures)
        return [
            "DualContrast was trained on 5,000 handwritten digits without their labels. The labels of another",
            "1,000 digits now show what its two codes contain.",
            "",
            *describe(self.scores),
            "",
            "Look at:",
            f"  {transfer}  each row has one content, each column one transformation",
            f"  {content}  the content codes in the plane: each digit should form a group",
            f"  {transformation}  the transformation codes: the digits should mix",
            f"  {pairs}  the contrastive pairs that training makes from a batch",
            f"All scores: {shorten(self.run.scores_path())}",
            f"Report: {shorten(self.report)}; open it in a browser",
        ]


def demo(out: str | Path, *, seed: int = 0, overwrite: bool = False, progress: Progress = silent) -> DigitsDemo:
    """Train on the packaged digits, score, draw, and report.

    Parameters
    ----------
    out
        The run folder to create.
    seed
        Seed of the training.
    overwrite
        Replace an earlier demo there.
    progress
        Called with the progress of each stage.
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
