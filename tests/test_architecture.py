"""The rules of docs/architecture.md that no linter checks."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "dualcontrast"
TESTS = ROOT / "tests"
LONGEST = 350  # lines
MOST_ANY = 120
# Modules without logic of their own, or whose whole purpose is tested elsewhere.
WITHOUT_TESTS: dict[str, str] = {}


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path.name != "__init__.py")


def layers() -> Iterator[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for layer in contracts[0]["layers"]:
        yield from (name.strip() for name in layer.split("|"))


def test_every_package_is_described() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    described = set(re.findall(r"`([a-z_]+)`", page))
    assert set(layers()) <= described


def test_every_package_is_a_layer() -> None:
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}
    files = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert packages | files == set(layers())


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


def has_logic(path: Path) -> bool:
    """Return whether a module defines a function or a method that does something."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    return any(not isinstance(function.body[-1], ast.Expr | ast.Pass) for function in functions)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_with_logic_has_a_test_file(path: Path) -> None:
    module = path.relative_to(SOURCE)
    if has_logic(path) and str(module) not in WITHOUT_TESTS:
        assert (TESTS / module.parent / f"test_{module.name}").is_file()


def test_little_is_of_any_type() -> None:
    assert sum(len(re.findall(r"\bAny\b", path.read_text())) for path in modules()) <= MOST_ANY
