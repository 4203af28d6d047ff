from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from dualcontrast.benchmarks.outcome import Failure, Outcome, Value


@dataclass(frozen=True)
class Accuracy:
    method: str
    accuracy: float | None

    def as_dict(self) -> dict[str, Value]:
        return asdict(self)


OUTCOME = Outcome(
    rows=[Accuracy("harmony", 0.5), Accuracy("simclr", None)],
    summary=["harmony 0.5", "simclr failed"],
    files=[Path("/out/table.csv"), Path("/out/table.md")],
    failures=[Failure("mnist-simclr", 2, "no such file"), Failure("mnist-vitae", -9, "ended by signal 9")],
)


def test_the_summary_comes_before_the_files() -> None:
    assert OUTCOME.describe(lambda path: path.relative_to("/out")) == [
        "harmony 0.5",
        "simclr failed",
        "Look at: table.csv",
        "Look at: table.md",
    ]


def test_plain_values() -> None:
    assert OUTCOME.as_dict() == {
        "rows": [{"method": "harmony", "accuracy": 0.5}, {"method": "simclr", "accuracy": None}],
        "files": ["/out/table.csv", "/out/table.md"],
        "failed": {"mnist-simclr": [2, "no such file"], "mnist-vitae": [-9, "ended by signal 9"]},
    }
