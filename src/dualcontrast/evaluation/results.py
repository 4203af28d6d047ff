"""The scores of a run as typed results; as JSON they are the file scores.json of a run folder.

Shares, accuracies and ratios are rounded to 4 digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from typing_extensions import Self

from dualcontrast.errors import RunError

Factor = Literal["content", "transformation"]
Question = Literal["content", "transformation", "transformation_pooled"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """Scores that are stored as JSON, under the names of their attributes."""

    def to_json(self) -> dict[str, Any]:
        """Convert to what JSON can store, with the keys in the order of the attributes."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> Self:
        """Convert from JSON; files of earlier versions may lack some of the keys.

        Raises
        ------
        RunError
            A key is missing or has a value of the wrong type.
        """
        try:
            return TypeAdapter(cls).validate_python(stored)
        except ValidationError as error:
            first = error.errors()[0]
            raise RunError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None


@dataclass(frozen=True, kw_only=True)
class CodeAccuracies(Result):
    """Test accuracies of one probe on either code.

    Attributes
    ----------
    from_content, from_transformation : float
        From the content code and from the transformation code.
    """

    from_content: float
    from_transformation: float

    def from_code(self, code: Factor) -> float:
        """Return the accuracy from one of the codes."""
        return self.from_content if code == "content" else self.from_transformation


@dataclass(frozen=True, kw_only=True)
class FactorScores(CodeAccuracies):
    """How well the paper's linear probe predicts a factor from either code.

    Attributes
    ----------
    sap : float
        Separated attribute predictability, |gap|.
    gap : float
        Accuracy from the factor's own code minus that from the other code.
    chance : float
        Accuracy of always predicting the most common training class.
    """

    sap: float
    gap: float
    chance: float


@dataclass(frozen=True, kw_only=True)
class ClassScores(CodeAccuracies):
    """Scores within one content class.

    Attributes
    ----------
    chance : float
        Accuracy of always predicting the most common training class.
    test_images : int
        Number of test images of the content class.
    """

    chance: float
    test_images: int


@dataclass(frozen=True, kw_only=True)
class TransformationScores(FactorScores):
    """Scores of the transformation, averaged over content classes.

    Attributes
    ----------
    by_content : dict of str to ClassScores
        The scores within each content class, by its name.
    """

    by_content: dict[str, ClassScores] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ObserverScores(Result):
    """Test accuracies of an ideal observer; see `ideal_observer.ideal_observer`.

    Attributes
    ----------
    content : float
        Accuracy of the content.
    transformation : float or None
        Accuracy of the transformation with the content known, averaged over the contents that have several.
    transformation_pooled : float
        Accuracy of both as one label.
    test_images : int
        Number of test images.
    """

    content: float
    transformation: float | None
    transformation_pooled: float
    test_images: int


@dataclass(frozen=True, kw_only=True)
class ObjectViewpointScores(Result):
    """R^2 of the viewing direction of one object, from either code.

    Attributes
    ----------
    from_transformation, from_content : float
        R^2 on test images.
    test_images : int
        Number of test images of the object.
    """

    from_transformation: float
    from_content: float
    test_images: int


@dataclass(frozen=True, kw_only=True)
class ViewpointScores(Result):
    """R^2 of the viewing direction from either code; see `viewpoint.viewpoint_score`.

    Attributes
    ----------
    from_transformation, from_content : float
        Means over objects.
    chance : int
        R^2 of always predicting the mean direction, 0.
    per_object : dict of str to ObjectViewpointScores
        Scores by the name of the object.
    """

    from_transformation: float
    from_content: float
    chance: int = 0
    per_object: dict[str, ObjectViewpointScores]


@dataclass(frozen=True, kw_only=True)
class InvarianceScores(Result):
    """Mean cosines of codes; see `invariance.invariance`.

    Attributes
    ----------
    content, transformation : float
        Between the codes of an image x and of its view T(x).
    content_chance, transformation_chance : float
        Between the codes of random pairs of images.
    """

    content: float
    content_chance: float
    transformation: float
    transformation_chance: float


@dataclass(frozen=True, kw_only=True)
class SwapScores(Result):
    """Scores of hybrids decode(c_i, z_j) of images i and j of different classes; see `swap.swap_score`.

    Attributes
    ----------
    content_kept, content_of_z_source : float
        Share of hybrids that a classifier assigns to the class of i, and to that of j. A decoder that ignores z
        keeps the content too: see `transformation_effect`.
    transformation_kept : float
        Share of hybrids whose transformation code, encoded again, is nearest (Euclidean) to z_j among the codes
        of 100 images, j one of them. An n-fold tie counts 1/n, so that a constant code scores
        `transformation_kept_chance`.
    transformation_kept_chance : float
        The share expected by chance.
    transformation_effect : float
        Mean squared difference of decode(c_i, z_j) and decode(c_i, z_i), divided by that of decode(c_j, z_j) and
        decode(c_i, z_i): 0 for a decoder that ignores z, 1 for one that ignores c. No noise is added here.
    classifier_real, classifier_reconstructed : float
        Accuracy of the classifier on the images i, and on their reconstructions decode(c_i, z_i).
    noise_added : float
        Standard deviation, in the range of the data, of the noise added to decoded volumes, to four significant
        digits; 0.0 for pictures.
    hybrids, classes : int
        Number of hybrids, and of content classes.
    split : str
        The split of the images i and j, "test" or "train".
    seed : int
        Seed of the classifier and of the choice of images.
    """

    content_kept: float
    content_of_z_source: float
    transformation_kept: float
    transformation_kept_chance: float
    transformation_effect: float
    classifier_real: float
    classifier_reconstructed: float
    noise_added: float = 0.0
    hybrids: int
    classes: int
    split: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class TransformationCounts(Result):
    """Number of content classes with at least two transformations, and of their images."""

    content_classes: int
    train_images: int
    test_images: int


@dataclass(frozen=True, kw_only=True)
class PooledCounts(Result):
    """Number of pairs of content and transformation among the training images, and of images."""

    classes: int
    train_images: int
    test_images: int


@dataclass(frozen=True, kw_only=True)
class ScoringProtocol(Result):
    """How a run was scored, and on how many images.

    Attributes
    ----------
    weights : str
        Name of the weights.
    train_images, test_images : int
        Number of images that the content was scored on; of all images if it was not scored.
    classes : int or None
        Number of content classes among the training images; None without content labels.
    transformation, transformation_pooled
        The same of the transformation; None if it was not scored.
    probe : str
        The probes in words.
    not_converged : list of str
        Probes that ran out of steps, as QUESTION.PROBE.
    seed : int
        Seed of the probes.
    invariance_images : int
        Number of images that the invariance was measured on.
    dualcontrast : str
        Version of this package.
    """

    weights: str
    train_images: int
    test_images: int
    classes: int | None
    transformation: TransformationCounts | None
    transformation_pooled: PooledCounts | None = None
    probe: str
    not_converged: list[str]
    seed: int
    invariance_images: int
    dualcontrast: str


@dataclass(frozen=True, kw_only=True)
class Scores(Result):
    """All scores of a run.

    Attributes
    ----------
    content, transformation, transformation_pooled
        How well the paper's linear probe predicts the content, the transformation within each content class, and
        both as one label; None where the labels leave nothing to predict.
    probes : dict
        Accuracies by question and by probe; None where the labels leave nothing to predict.
    trivial_statistics : dict
        By question, the accuracy of a standardised linear probe on trivial statistics of the images, or None.
    ideal_observer : ObserverScores or None
        None for images that were not simulated, or whose content labels are not their identities.
    viewpoint : ViewpointScores or None
        None where no poses are known.
    transformation_parts : dict or None
        Accuracies by part of the transformation code, question and probe; None for a code of one part.
    invariance : InvarianceScores
        How little the codes change when T is applied to the images.
    swap : SwapScores or None
        The swap score, which `transfer` adds.
    protocol : ScoringProtocol
        How the run was scored.

    Examples
    --------
    >>> scores = run.evaluate()  # doctest: +SKIP
    >>> scores.content.gap  # doctest: +SKIP
    0.213
    """

    content: FactorScores | None
    transformation: TransformationScores | None
    transformation_pooled: FactorScores | None = None
    probes: dict[Question, dict[str, CodeAccuracies] | None]
    trivial_statistics: dict[Question, float | None]
    ideal_observer: ObserverScores | None = None
    viewpoint: ViewpointScores | None = None
    transformation_parts: dict[str, dict[Question, dict[str, float]]] | None = None
    invariance: InvarianceScores
    swap: SwapScores | None = None
    protocol: ScoringProtocol

    def of(self, question: Question) -> FactorScores | None:
        """Return the scores of one question."""
        scores: dict[Question, FactorScores | None] = {
            "content": self.content,
            "transformation": self.transformation,
            "transformation_pooled": self.transformation_pooled,
        }
        return scores[question]
