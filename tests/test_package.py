from __future__ import annotations

import subprocess
import sys

import pytest

import dualcontrast


def test_public_names_are_there() -> None:
    for name in dualcontrast.__all__:
        assert getattr(dualcontrast, name) is not None
    assert set(dir(dualcontrast)) == set(dualcontrast.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dualcontrast.nothing  # noqa: B018


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from dualcontrast.cli import main\n"
        "sys.argv = ['dualcontrast', 'train', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'pandas', 'lightning_fabric', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "SOURCE" in done.stdout
