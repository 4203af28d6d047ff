"""The pages that are generated from the code are complete, and hold nothing else."""

from __future__ import annotations

import html
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.support.browser import chromium, require_chromium

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "scripts" / "docs_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_verb_has_a_page_with_all_its_arguments_and_options(docs: ModuleType) -> None:
    verbs = docs.verbs_by_name()
    assert {"train", "export", "doctor", "benchmark table1"} <= set(verbs)
    assert "benchmark cell" not in verbs  # hidden
    for name, verb in verbs.items():
        page = docs.verb_page(name, verb, "Written by hand.")
        assert page.startswith(f"# {name}\n")
        assert "Written by hand." in page
        for parameter in verb.params:
            assert f"`{docs.written(parameter)}`" in page
            if parameter.param_type_name == "option":
                assert max(parameter.opts, key=len) in page
        assert not re.search(r"\bNone\b", page), name
        assert f"({docs.page_of(name).removeprefix('verbs/')})" in docs.verbs_page("")


def test_what_is_written_by_hand_is_of_a_verb_that_there_is(docs: ModuleType) -> None:
    pages = {docs.page_of(name) for name in docs.verbs_by_name()} | {"verbs/index.md"}
    assert {f"verbs/{path.name}" for path in (ROOT / "docs" / "verbs").glob("*.md")} <= pages


def test_all_settings_are_told_with_their_defaults(docs: ModuleType) -> None:
    from dualcontrast.methods import METHODS
    from dualcontrast.recipe import TrainingSettings, packaged_recipes
    from dualcontrast.transforms import VIEWS

    page = docs.settings_page("")
    for setting in TrainingSettings.model_fields:
        assert f"| `training.{setting}` |" in page
    for name, method in METHODS.items():
        part = page.split(f"### {name}\n")[1].split("\n##")[0]
        assert {f"method.{key}" for key in method.Settings.model_fields if key != "name"} == set(
            re.findall(r"^\| `(method\.\w+)` \|", part, re.MULTILINE)
        )
    assert not re.findall(r"^.*\|\s*\|$", page, re.MULTILINE)  # each says what it is
    assert "| `training.learning_rate` | `0.0001` |" in page
    assert all(f"### {name}\n" in page for name in VIEWS)
    assert all(f"### Recipe {name}\n" in page for name in packaged_recipes())


def test_every_module_is_on_a_page_of_the_reference(docs: ModuleType) -> None:
    pages = "".join(docs.reference_page(name, modules) for name, modules in docs.reference().items())
    shown = set(re.findall(r"^::: dualcontrast\.(\S+)$", pages, re.MULTILINE))
    package = ROOT / "src" / "dualcontrast"
    there = {".".join(path.relative_to(package).with_suffix("").parts) for path in package.rglob("*.py")}
    outside = {name for name in there if name.startswith("cli.") or name.split(".")[-1].startswith("__")}
    assert shown == there - outside


def test_links_of_the_readme_lead_on_from_the_site(docs: ModuleType) -> None:
    page = docs.copied("README.md")
    for place in re.findall(r"\]\(([^)#:]+)\)", page):
        assert (ROOT / "docs" / place).is_file() or place in docs.COPIED, place


def test_equations_become_mathml(docs: ModuleType) -> None:
    block = html.escape(r"L_{\mathrm{rec}} < \frac{1}{2}")
    page = docs.on_page_content(
        rf'<p>a</p><div class="arithmatex">\[{block}\]</div><span class="arithmatex">\(z\)</span>'
    )
    assert page.count("<math") == 2
    assert 'display="block"' in page
    assert "<mfrac>" in page
    assert "arithmatex" not in page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.timeout(300)
def test_the_site_is_built_without_a_warning_and_asks_for_nothing_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text(encoding="utf-8")):
            if 'rel="canonical"' not in tag:
                assert not re.search(r'(?:src|href)="(?:https?:)?//', tag), (page.name, tag)
    train = (site / "verbs" / "train.html").read_text(encoding="utf-8")
    assert "--show-pairs" in train
    assert "def train" not in train
    methods = (site / "reference" / "methods.html").read_text(encoding="utf-8")
    assert 'id="dualcontrast.methods.dualcontrast.DualContrast"' in methods
    assert "<math" in (site / "how-it-works.html").read_text(encoding="utf-8")


@pytest.mark.timeout(300)
def test_the_site_can_be_searched_from_disk_without_a_network(site: Path) -> None:
    require_chromium()
    with chromium(1300, 900) as page:
        page.driver.get((site / "verbs" / "train.html").as_uri())
        page.wait("return document.querySelector('input.md-search__input')")
        page.run("document.querySelector('input.md-search__input').focus()")
        page.driver.switch_to.active_element.send_keys("silhouette")
        page.wait("return document.querySelector('.md-search-result__link[href*=\"how-it-works.html\"]')")
        assert all(url.startswith("file:") for url in page.requests())


def test_each_text_in_verb_pages_is_escaped(docs: ModuleType) -> None:
    class Parameter:
        param_type_name, required, default, multiple = "option", False, None, False
        opts, metavar, is_flag, help = ("--a",), "N", False, "a <b> and x_y*z"

    told: Any = docs.definition(Parameter())
    assert told == "`--a N`\n:   a &lt;b> and x\\_y\\*z"


def test_a_default_of_zero_is_told(docs: ModuleType) -> None:
    page = docs.verb_page("report", docs.verbs_by_name()["report"], "")
    assert "`--seed N`\n:   Random seed of the embedding, and of the images shown. Default: `0`." in page
    assert "`--quiet`\n:   Print no progress and no summary.\n" in page
