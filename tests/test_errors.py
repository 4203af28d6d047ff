"""One exception a user can mend, and the names it suggests."""

from __future__ import annotations

import pytest

from dualcontrast.errors import (
    DualContrastError,
    MethodError,
    RecipeError,
    RunError,
    SourceError,
    nearest,
)


@pytest.mark.parametrize("error", [SourceError, RecipeError, RunError, MethodError])
def test_every_error_is_one_that_the_command_line_catches(error: type[Exception]) -> None:
    assert issubclass(error, DualContrastError)


@pytest.mark.parametrize(
    ("name", "known", "clause"),
    [
        ("mnits", ["mnist", "linemod"], "did you mean mnist?"),
        ("rotaton", ["scale", "rotation", "translation"], "did you mean rotation?"),
        ("xyz", ["mnist", "linemod"], "known are linemod, mnist"),
        ("", ["b", "a"], "known are a, b"),
    ],
)
def test_nearest_suggests_a_name_or_lists_all_in_order(name: str, known: list[str], clause: str) -> None:
    assert nearest(name, known) == clause


def test_nearest_takes_any_iterable_once() -> None:
    assert nearest("epoch", (key for key in ("seed", "epochs"))) == "did you mean epochs?"
