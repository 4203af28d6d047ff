"""Groups of options become options of a verb, and its errors and warnings are translated."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from dualcontrast.cli.verb import verb
from dualcontrast.errors import DualContrastWarning, RunError


@dataclass(frozen=True)
class Place:
    """A group with a required argument and an option."""

    path: Annotated[Path, typer.Argument(metavar="PATH")]
    depth: Annotated[int, typer.Option(min=1)] = 2


@dataclass(frozen=True)
class Output:
    """A group of one flag."""

    overwrite: Annotated[bool, typer.Option("--overwrite")] = False


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)

    @verb(app)
    def other() -> None:
        """A second verb, so that typer asks for the name of either."""

    return app


def call(app: typer.Typer, *words: str) -> Any:
    return app(words, standalone_mode=False)


def test_a_verb_takes_the_fields_of_its_groups_as_options(app: typer.Typer) -> None:
    calls = []

    @verb(app)
    def copy(count: Annotated[int, typer.Option()] = 1, *, place: Place, output: Output) -> None:
        """Copy."""
        calls.append((count, place, output))

    call(app, "copy", "a/b")
    call(app, "copy", "a/b", "--depth", "3", "--overwrite", "--count", "7")
    assert calls == [(1, Place(Path("a/b")), Output()), (7, Place(Path("a/b"), 3), Output(True))]
    with pytest.raises(typer.BadParameter.__mro__[1], match="greater than or equal to 1"):
        call(app, "copy", "a/b", "--depth", "0")


def test_options_stand_where_their_group_stands(app: typer.Typer) -> None:
    @verb(app)
    def copy(*, place: Place, count: Annotated[int, typer.Option()] = 1, output: Output) -> None:
        """Copy."""

    command: Any = typer.main.get_command(app)
    names = [parameter.name for parameter in command.commands["copy"].params]
    assert names == ["path", "depth", "count", "overwrite"]
    assert command.commands["copy"].help == "Copy."


def test_a_hidden_verb_can_be_called(app: typer.Typer) -> None:
    calls = []

    @verb(app, hidden=True)
    def inner() -> None:
        """Do."""
        calls.append(1)

    command: Any = typer.main.get_command(app)
    assert command.commands["inner"].hidden
    call(app, "inner")
    assert calls == [1]


def test_errors_and_warnings_name_the_flags_of_the_verb(
    app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    @verb(app)
    def copy(*, place: Place, output: Output) -> None:
        """Copy."""
        warnings.warn("deep; lower `depth`", DualContrastWarning, stacklevel=1)
        raise RunError(f"{place.path}: exists; replace it with `overwrite=True`")

    with pytest.raises(RunError, match=r"^a: exists; replace it with --overwrite$"):
        call(app, "copy", "a")
    assert capsys.readouterr().err == "dualcontrast: warning: deep; lower --depth\n"


def test_other_warnings_are_left_alone(app: typer.Typer) -> None:
    @verb(app)
    def copy() -> None:
        """Copy."""
        warnings.warn("`copy=True` is old", UserWarning, stacklevel=1)

    with pytest.warns(UserWarning, match="`copy=True` is old"):
        call(app, "copy")
