"""Scores of a run: what each code tells of content and of transformation, and how steady codes are under T."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from dualcontrast import __version__
from dualcontrast.analysis.codes import codes_of, inference, made_with_weights
from dualcontrast.analysis.probes import FIT_AT_MOST, NEIGHBOURS, PROBES, Task, probe
from dualcontrast.errors import RunError
from dualcontrast.images import ImageSet, limited
from dualcontrast.methods import Batch, Codes, Method
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder, SavedCodes

Factor = Literal["content", "transformation"]

FACTORS: tuple[Factor, ...] = ("content", "transformation")
INVARIANCE_IMAGES = 2000
SEED = 0  # of draws in scoring; the same whatever a run's own seed, so that runs are scored alike
PROTOCOL = (
    "linear: logistic regression on unscaled posterior means, as in the paper; linear_latent: the same on one "
    f"draw of the latents; knn: {NEIGHBOURS} neighbours on unscaled codes; mlp: 100 hidden units on standardised "
    f"codes; knn and mlp are fitted on at most {FIT_AT_MOST['mlp']} training images; all are tested on the test "
    "split"
)


@dataclass(frozen=True)
class FactorScore:
    """How well one factor is told from either code, by one probe.

    Attributes
    ----------
    factor : {"content", "transformation"}
        What is told.
    from_content, from_transformation : float
        Test accuracy from the content code and from the transformation code: D(c|c) and D(c|z) in the paper's
        section 4 for content, D(z|c) and D(z|z) for transformation.
    chance : float
        Test accuracy of the most common training class.
    converged : bool
        Whether every fit converged.
    """

    factor: Factor
    from_content: float
    from_transformation: float
    chance: float
    converged: bool

    @property
    def gap(self) -> float:
        """The factor's own code less the other one; negative where the codes are the wrong way round."""
        difference = self.from_content - self.from_transformation
        return difference if self.factor == "content" else -difference

    @property
    def sap(self) -> float:
        """The paper's separated attribute predictability, |gap|: it rewards swapped codes as well."""
        return abs(self.gap)


def evaluate(
    run: RunFolder,
    *,
    weights: str = "best",
    device: str | torch.device = "cpu",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Score a run, and write the scores into its folder.

    Parameters
    ----------
    run
        A run that has been trained.
    weights
        Which of its weights.
    device
        Where images are encoded.
    progress
        Told of the images encoded and the probes fitted.

    Returns
    -------
    dict
        `content`, `transformation` and `probes` as `score_codes` gives them; `invariance` as `invariance` does;
        `swap`, which transfer adds to the same file and which is kept while the weights are; `protocol`.

    Raises
    ------
    RunError
        The run lacks the weights, or has labels that cannot be scored: of a single class, or without a test
        image.
    """
    method, images = run.load_method(weights), run.images()
    codes = codes_of(run, weights, device=device, progress=progress)
    try:
        scored = score_codes(codes, progress=progress)
    except RunError as error:
        raise RunError(f"{run.path}: {error}") from None
    judged = images_to_judge(images)
    batch_size = run.recipe().training.batch_size
    protocol = {
        "weights": weights,
        **scored.pop("protocol"),
        "invariance_images": len(judged),
        "dualcontrast": __version__,
    }
    scores = {
        **scored,
        "invariance": invariance(method, judged, batch_size=batch_size, device=device),
        "swap": _kept_swap(run, weights),
        "protocol": protocol,
    }
    run.write_scores(scores, weights)
    return scores


def score_codes(codes: SavedCodes, *, seed: int = SEED, progress: Progress = silent) -> dict[str, Any]:
    """Score codes by every probe.

    Returns
    -------
    dict
        `content` and `transformation`: `from_content`, `from_transformation`, `sap`, `gap` and `chance` by the
        paper's linear probe, or None where that factor has no labels; `probes`: by factor and probe,
        `from_content` and `from_transformation`; `protocol`: numbers of images and classes, probes whose fit
        did not converge. Shares are rounded to 4 digits.

    Raises
    ------
    RunError
        Labels of a single class, or no test image.
    """
    tasks = {"content": content_tasks(codes.table), "transformation": transformation_tasks(codes.table)}
    inputs = {name: (name, codes.content, codes.transformation) for name in PROBES}
    inputs["linear_latent"] = ("linear", codes.content_latent, codes.transformation_latent)
    wanted = [(factor, name) for factor in FACTORS if tasks[factor] for name in inputs]
    scores: dict[str, dict[str, FactorScore]] = {factor: {} for factor in FACTORS}
    for done, (factor, name) in enumerate(wanted):
        progress("probing", done, len(wanted))
        kind, content, transformation = inputs[name]
        scores[factor][name] = score_factor(
            factor, content, transformation, tasks[factor], kind=kind, seed=seed
        )
    progress("probing", len(wanted), len(wanted))
    return {
        **{factor: _summary(scores[factor]["linear"]) if scores[factor] else None for factor in FACTORS},
        "probes": {
            factor: {name: _accuracies(score) for name, score in scores[factor].items()} or None
            for factor in FACTORS
        },
        "protocol": {
            **_counts(codes.table, tasks["content"]),
            "transformation": _transformation_counts(tasks["transformation"]),
            "probe": PROTOCOL,
            "not_converged": [
                f"{factor}.{name}" for factor, name in wanted if not scores[factor][name].converged
            ],
            "seed": seed,
        },
    }


def score_factor(
    factor: Factor,
    content: np.ndarray,
    transformation: np.ndarray,
    tasks: Sequence[Task],
    *,
    kind: str = "linear",
    seed: int = SEED,
) -> FactorScore:
    """Tell a factor from either code by one kind of probe, averaged over tasks.

    Parameters
    ----------
    factor
        What the labels of the tasks are.
    content, transformation
        The codes, (N, d_c) and (N, d_z).
    tasks
        One or more, as `content_tasks` and `transformation_tasks` make them.
    kind
        One of `probes.PROBES`.
    seed
        Of the probes.
    """
    by_content = [probe(kind, content, task, seed) for task in tasks]
    by_transformation = [probe(kind, transformation, task, seed) for task in tasks]
    return FactorScore(
        factor=factor,
        from_content=float(np.mean([result.accuracy for result in by_content])),
        from_transformation=float(np.mean([result.accuracy for result in by_transformation])),
        chance=float(np.mean([task.chance() for task in tasks])),
        converged=all(result.converged for result in by_content + by_transformation),
    )


def content_tasks(table: pd.DataFrame) -> list[Task]:
    """Return the task of telling the content label; none where no image has one.

    Parameters
    ----------
    table
        As of an ImageSet: `split`, and `content` where known. Images without a label are left out.

    Raises
    ------
    RunError
        No labelled image is for testing, or the training images have fewer than two classes.
    """
    labels = _label_numbers(table, "content")
    if labels is None:
        return []
    task = _task(labels, table, labels >= 0)
    if not len(task.test):
        raise RunError(
            "there are content labels but no test images to score on; mark some images as test in the source's "
            "split"
        )
    classes = len(np.unique(labels[task.train]))
    if classes < 2:
        raise RunError(
            f"scoring needs at least two classes of content among the training images, and the labels have "
            f"{classes}; give labels that differ, or none"
        )
    return [task]


def transformation_tasks(table: pd.DataFrame) -> list[Task]:
    """Return the tasks of telling the transformation label, one within each content class.

    The paper does not say how its D(z|.) are set up. A label such as "open" may look different in each content,
    so a probe is asked within a content class. Classes whose training images have fewer than two
    transformations, or whose test images have none of these, say nothing and are left out.

    Parameters
    ----------
    table
        As of an ImageSet: `split`, `content` and `transformation`. Images without both labels are left out.
    """
    content, labels = _label_numbers(table, "content"), _label_numbers(table, "transformation")
    if content is None or labels is None:
        return []
    known = (content >= 0) & (labels >= 0)
    tasks = [_task(labels, table, known & (content == one)) for one in np.unique(content[known])]
    return [task for task in tasks if _tells(task)]


def invariance(
    method: Method,
    images: ImageSet,
    *,
    seed: int = SEED,
    batch_size: int = 500,
    device: str | torch.device = "cpu",
) -> dict[str, float]:
    """Measure how far codes stay where they are when T is applied: condition 1 of the paper's section 3.1.

    A high cosine means nothing where all codes point one way, so that of random pairs stands beside it.

    Parameters
    ----------
    method
        A trained method; T is its `view`.
    images
        Two at least, as `images_to_judge` chooses them.
    seed
        Of T and of the random pairs.
    batch_size
        Images encoded at a time.
    device
        Where to encode.

    Returns
    -------
    dict
        `content`, the mean cosine of c(x) and c(T(x)); `content_chance`, that of c(x) and c(x') with x' another
        image; the same for `transformation`. Rounded to 4 digits.
    """
    of_images: list[Codes] = []
    of_views: list[Codes] = []
    with inference(method, device, seed):
        for index, pixels in images.batches(batch_size):
            batch = Batch(pixels, torch.from_numpy(index)).to(torch.device(device))
            of_images.append(method.encode(batch))
            of_views.append(method.encode(replace(batch, images=method.view(batch.images))))
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(images)))
    figures = {}
    for factor in FACTORS:
        codes = torch.cat([getattr(part, factor) for part in of_images]).cpu()
        views = torch.cat([getattr(part, factor) for part in of_views]).cpu()
        figures[factor] = _mean_cosine(codes, views)
        figures[f"{factor}_chance"] = _mean_cosine(codes[order], codes[order.roll(1)])
    return figures


def images_to_judge(images: ImageSet, seed: int = SEED) -> ImageSet:
    """Return up to 2,000 of the test images; of all images where fewer than two are for testing."""
    test = np.flatnonzero(_is_test(images.table))
    return limited(images.select(test) if len(test) >= 2 else images, INVARIANCE_IMAGES, seed)


def describe(scores: dict[str, Any]) -> list[str]:
    """Say in plain sentences what the scores of a run mean, each number with its chance beside it."""
    lines = []
    if scores["content"] is None:
        lines.append("No content labels are known, so how well the codes tell images apart is not scored.")
    else:
        images = f"{scores['protocol']['test_images']:,} test images"
        lines += _describe_factor(
            "content", scores["content"], f"The content label of {images} is named right"
        )
    if scores["transformation"] is not None:
        what = "Within a content class, the transformation label is named right"
        lines += _describe_factor("transformation", scores["transformation"], what)
    steady = scores["invariance"]
    lines.append(
        f"An image and a view of it have content codes of mean cosine {steady['content']:.2f} (random pairs of "
        f"images {steady['content_chance']:.2f}): nearer to 1 is better, if random pairs lie well below."
    )
    lines.append(
        f"Their transformation codes have mean cosine {steady['transformation']:.2f} (random pairs "
        f"{steady['transformation_chance']:.2f}): lower is better, since a view changes the transformation."
    )
    return lines


def _describe_factor(factor: Factor, score: dict[str, float], what: str) -> list[str]:
    other = "transformation" if factor == "content" else "content"
    chance = f"(chance {_percent(score['chance'])})"
    verdict = "the larger, the better the codes are told apart"
    if score["gap"] < 0:
        verdict = "negative, so the codes are the wrong way round for this factor"
    return [
        f"{what} from the {factor} code in {_percent(score[f'from_{factor}'])} {chance}: higher is better.",
        f"{what} from the {other} code in {_percent(score[f'from_{other}'])} {chance}: nearer to chance is "
        "better.",
        f"The gap between the two is {100 * score['gap']:+.1f} points (SAP {score['sap']:.2f}): {verdict}.",
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _label_numbers(table: pd.DataFrame, name: str) -> np.ndarray | None:
    """Return labels as integers, -1 where unknown; None where none is known."""
    if name not in table:
        return None
    numbers = np.asarray(pd.factorize(table[name])[0])
    return numbers if (numbers >= 0).any() else None


def _is_test(table: pd.DataFrame) -> np.ndarray:
    return np.asarray(table["split"] == "test")


def _task(labels: np.ndarray, table: pd.DataFrame, chosen: np.ndarray) -> Task:
    is_test = _is_test(table)
    return Task(labels, np.flatnonzero(chosen & ~is_test), np.flatnonzero(chosen & is_test))


def _tells(task: Task) -> bool:
    trained = np.unique(task.labels[task.train])
    return bool(len(trained) >= 2 and np.isin(task.labels[task.test], trained).any())


def _accuracies(score: FactorScore) -> dict[str, float]:
    return {
        "from_content": round(score.from_content, 4),
        "from_transformation": round(score.from_transformation, 4),
    }


def _summary(score: FactorScore) -> dict[str, float]:
    return {
        **_accuracies(score),
        "sap": round(score.sap, 4),
        "gap": round(score.gap, 4),
        "chance": round(score.chance, 4),
    }


def _counts(table: pd.DataFrame, tasks: Sequence[Task]) -> dict[str, int | None]:
    """Return the numbers of images and classes that content was scored on; of all images without labels."""
    if not tasks:
        test = int(_is_test(table).sum())
        return {"train_images": len(table) - test, "test_images": test, "classes": None}
    (task,) = tasks
    classes = len(np.unique(task.labels[task.train]))
    return {"train_images": len(task.train), "test_images": len(task.test), "classes": classes}


def _transformation_counts(tasks: Sequence[Task]) -> dict[str, int] | None:
    if not tasks:
        return None
    return {
        "content_classes": len(tasks),
        "train_images": sum(len(task.train) for task in tasks),
        "test_images": sum(len(task.test) for task in tasks),
    }


def _mean_cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    return round(float(F.cosine_similarity(first, second, dim=1).mean()), 4)


def _kept_swap(run: RunFolder, weights: str) -> dict[str, Any] | None:
    """Return what transfer has stored, unless the weights have changed since."""
    if not made_with_weights(run.scores_path(weights), run, weights):
        return None
    return (run.read_scores(weights) or {}).get("swap")
