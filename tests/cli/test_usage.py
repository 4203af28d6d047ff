"""What the command line does not understand is one sentence with the nearest right word."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.command import assert_refused, call
from tests.support.runs import DIGITS


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trian"], "no command is called trian; did you mean train?"),
        (["xyzzy"], "no command is called xyzzy; known are average, benchmark, cluster"),
        (["benchmark", "tabel1"], "no command is called benchmark tabel1; did you mean table1?"),
        (
            ["benchmark", "sell"],
            "no command is called benchmark sell; known are ablation, figure5, figure6, table1",
        ),
        (["--verson"], "no option is called --verson; did you mean --version?"),
        (["benchmark", "--mnist"], "no option of benchmark is called --mnist; known are --help"),
        (["train", "a.npy", "--epoch", "3"], "no option of train is called --epoch; did you mean --epochs?"),
        (["benchmark", "table1", "--mnsit", "x"], "no option of benchmark table1 is called --mnsit; did you mean"),
        (["train"], "train: missing argument 'SOURCE'; see dualcontrast train --help"),
        (["train", "a.npy"], "train: missing option '--out'"),
        (["train", "a", "b", "--out", "c"], "train: got unexpected extra argument"),
        (["train", "a", "--out", "c", "--epochs", "many"], "train: invalid value for '--epochs'"),
    ],
)
def test_words_that_are_not_understood(words: list[str], sentence: str) -> None:
    assert_refused(call(*words), sentence)


def test_values_that_are_not_known(tmp_path: Path) -> None:
    out = tmp_path / "run"
    for words, sentence in (
        (
            ("--recipe", "MNIST-plsu"),
            "no recipe is called MNIST-plsu and no such file exists; did you mean mnist-plus?",
        ),
        (("--method", "harmny"), "no method is called harmny; did you mean harmony?"),
        (
            ("--recipe", "mnist", "--set", "preset=authors-cod"),
            "dualcontrast has no preset authors-cod; did you mean authors-code?",
        ),
        (("--set", "epochs=3"), "no setting is called epochs; did you mean training.epochs?"),
        (("--set", "gamma_z=3"), "no setting is called gamma_z; did you mean method.gamma_z?"),
        (("--set", "method.gama_z=3"), "no setting is called method.gama_z; did you mean gamma_z?"),
        (("--set", "channels=[3]"), "no setting is called channels; did you mean network.encoder.channels?"),
        (("--set", "views=[rotatoin]"), "no view is called rotatoin; did you mean rotation?"),
        (("--method", "two_latent_vae", "--set", "temperature=1"), "no setting is called temperature; known are"),
    ):
        assert_refused(call("train", DIGITS, "--out", out, *words), sentence)
    simulate = call("simulate", "--recipe", "protien18", "--out", out)
    assert_refused(simulate, "no recipe is called protien18 and no such file exists; did you mean protein18?")
    table = call("benchmark", "table1", "--mnist", "x", "--data", "mnits")
    assert_refused(table, "no data set of table1 is called mnits; did you mean mnist?")


def test_paths_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "particles.star").touch()
    (tmp_path / "digits").mkdir()
    assert_refused(
        call("train", "particle.star", "--out", "x"), "no such file or folder; did you mean particles.star?"
    )
    assert_refused(call("train", "mnits", "--out", "x"), "mnits: no such file or folder; did you mean mnist?")
    assert_refused(
        call("train", "q", "--out", "x"), "q: no such file or folder; give a path, or mnist to download"
    )
    assert_refused(
        call("evaluate", tmp_path / "digts"), f"no such run folder; did you mean {tmp_path / 'digits'}?"
    )
    assert_refused(call("evaluate", "q"), "q: no such run folder; make one with dualcontrast train SOURCE --out q")


def test_without_a_verb_help_is_the_answer() -> None:
    for words in ((), ("benchmark",)):
        ended = call(*words)
        assert (ended.status, ended.err) == (0, "")
        assert ended.out.startswith("Usage: dualcontrast ")
        assert ended.out == call(*words, "--help").out
