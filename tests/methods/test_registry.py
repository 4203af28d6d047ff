"""Methods by name: built in, and from packages of others."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.packages import write_package

from dualcontrast.errors import RecipeError
from dualcontrast.methods import METHODS, Method, installed_methods, method_named
from dualcontrast.methods.dualcontrast import DualContrast
from dualcontrast.methods.two_latent_vae import TwoLatentVAE

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install packages as `write_package` does, until the end of a test."""
    loaded = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def one(*words: str, **options: object) -> None:
        write_package(tmp_path, *words, **options)  # type: ignore[arg-type]
        installed_methods.cache_clear()

    yield one
    installed_methods.cache_clear()
    for name in set(sys.modules) - loaded:
        del sys.modules[name]


def test_built_in_methods_are_found_by_name() -> None:
    assert method_named("dualcontrast") is DualContrast
    assert method_named("two_latent_vae") is TwoLatentVAE
    assert all(issubclass(method, Method) for method in METHODS.values())


@pytest.mark.parametrize(
    ("name", "clause"),
    [("dualcontrst", "did you mean dualcontrast"), ("zzz", "known are .*dualcontrast.*two_latent_vae")],
)
def test_an_unknown_name_is_answered_with_known_ones(name: str, clause: str) -> None:
    with pytest.raises(RecipeError, match=f"no method is called {name}; {clause}"):
        method_named(name)


def test_the_settings_of_a_method_name_it() -> None:
    assert {name: method.Settings().name for name, method in METHODS.items()} == {name: name for name in METHODS}


# ---- methods of other packages


def test_an_installed_method_is_imported_when_it_is_asked_for(install: Install) -> None:
    install("aliens", methods={"doubled": "aliens:Doubled"})
    install("broken", "import no_such_module\n", methods={"unusable": "broken:Method"})
    assert installed_methods() == {
        "doubled": {"aliens": "aliens:Doubled"},
        "unusable": {"broken": "broken:Method"},
    }
    assert method_named("harmony") is METHODS["harmony"]
    assert not {"aliens", "broken"} & set(sys.modules)
    assert method_named("doubled").__qualname__ == "Doubled"
    assert issubclass(method_named("doubled"), TwoLatentVAE)
    assert "broken" not in sys.modules


def test_an_installed_method_is_suggested_without_being_imported(install: Install) -> None:
    install("aliens", methods={"doubled": "aliens:Doubled"})
    with pytest.raises(RecipeError, match="no method is called dubled; did you mean doubled"):
        method_named("dubled")
    assert "aliens" not in sys.modules


def test_a_class_is_named_by_its_module(install: Install) -> None:
    install("aliens")
    assert installed_methods() == {}
    assert method_named("aliens:Doubled").__qualname__ == "Doubled"
    assert method_named("dualcontrast.methods.harmony:Harmony") is METHODS["harmony"]


def test_a_name_that_is_built_in_is_refused_and_no_other(install: Install) -> None:
    install("aliens", methods={"harmony": "aliens:Doubled"})
    with pytest.raises(
        RecipeError, match="several packages provide a method called harmony: dualcontrast, aliens; "
    ):
        method_named("harmony")
    assert method_named("simclr") is METHODS["simclr"]


def test_a_name_of_two_packages_is_refused(install: Install) -> None:
    install("aliens", methods={"doubled": "aliens:Doubled"})
    install("others", methods={"doubled": "others:Doubled"})
    with pytest.raises(
        RecipeError, match=r"several packages provide a method called doubled: .*; uninstall or rename one of them"
    ):
        method_named("doubled")
    assert method_named("others:Doubled").__module__ == "others"


FAILING = "raise ValueError('needs\\n  a newer library')\n"


@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        ("aliens:", "", "the method aliens: is not understood; write it as package.module:Class"),
        (":Doubled", "", "the method :Doubled is not understood; write it as package.module:Class"),
        ("./aliens.py:Doubled", "", "the method ./aliens.py:Doubled is not understood; write it as"),
        (
            "alien.vae:Doubled",
            "",
            "the method alien.vae:Doubled cannot be imported: no module is called alien; install it, or add its "
            "folder to PYTHONPATH",
        ),
        ("aliens:Trebled", "", "cannot be imported: AttributeError: module 'aliens' has no attribute 'Trebled'"),
        ("aliens:A", FAILING, "the method aliens:A cannot be imported: ValueError: needs a newer library"),
        ("aliens:A", "import nothing_such", "cannot be imported: no module is called nothing_such; install it"),
        ("aliens:A", "class A(:", "the method aliens:A cannot be imported: SyntaxError: invalid syntax"),
        ("aliens:NOT_A_METHOD", "", "NOT_A_METHOD is not a subclass of dualcontrast.methods.Method"),
        ("aliens:DoubledSettings", "", "DoubledSettings is not a subclass of dualcontrast.methods.Method"),
        ("aliens:Unsettled", "", "its Settings are not a subclass of dualcontrast.methods.MethodSettings"),
    ],
)
def test_what_is_no_method_is_refused_in_a_sentence(name: str, code: str, sentence: str, install: Install) -> None:
    install("aliens", **({"code": code} if code else {}))
    with pytest.raises(RecipeError) as refusal:
        method_named(name)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("def forward(self, batch, phase): ...", "the method aliens:Partial does not define encode_and_sample"),
        ("", "the method aliens:Partial does not define forward and encode_and_sample"),
    ],
)
def test_a_method_that_lacks_a_part_is_refused_before_it_is_trained(
    body: str, sentence: str, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("aliens", f"from dualcontrast.methods import Method\nclass Partial(Method):\n    {body or 'pass'}\n")
    with pytest.raises(RecipeError, match=sentence):
        method_named("aliens:Partial")
    partial = pkgutil.resolve_name("aliens:Partial")
    monkeypatch.setitem(METHODS, "partial", partial)
    with pytest.raises(RecipeError, match=sentence.replace("aliens:Partial", "partial")):
        method_named("partial")


def test_an_entry_point_that_leads_nowhere_names_both(install: Install) -> None:
    install("aliens", methods={"doubled": "aliens.vae:Doubled"})
    with pytest.raises(RecipeError, match=r"the method doubled \(aliens\.vae:Doubled\) cannot be imported"):
        method_named("doubled")
