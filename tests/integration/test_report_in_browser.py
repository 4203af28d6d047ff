"""The report as a reader sees it: in a headless Chromium, wide and narrow, light and dark."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support.browser import PATIENCE, Page, chromium, require_chromium
from tests.support.maps import CodedRun, simulated_run, untrained_run
from tests.support.runs import small_run

from dualcontrast.api import Run

DESKTOP, PHONE = (1200, 900), (390, 844)
MANY = 18_000
pytestmark = pytest.mark.timeout(600)  # Chromium draws by software, and a busy machine takes its time
PLACE = """
const plane = document.querySelector(`[data-plane=${arguments[0]}]`), {x, y} = plane.data.at(-1);
const {xaxis, yaxis} = plane._fullLayout, box = plane.getBoundingClientRect();
const at = (k) => [box.left + xaxis._offset + xaxis.l2p(x[k]), box.top + yaxis._offset + yaxis.l2p(y[k])];
const far = (k) => Math.min(...[...x.keys()].filter((j) => j !== k).map(
  (j) => Math.hypot(at(k)[0] - at(j)[0], at(k)[1] - at(j)[1])));
const lonely = [...x.keys()].slice(0, 60).sort((j, k) => far(k) - far(j))[0];
return at(lonely);
"""


@pytest.fixture(scope="module", autouse=True)
def _chromium() -> None:
    require_chromium()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on digits with scores and clusters."""
    run = small_run(tmp_path_factory.mktemp("report") / "digits")
    run.encode()
    run.evaluate()
    run.cluster(content=3, transformation=2)
    run.report(how="pca")
    return run


@pytest.fixture(scope="module")
def maps(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> CodedRun:
    """A run on volumes with averages of clusters."""
    run, _ = simulated_run(tmp_path_factory.mktemp("report"), shared_data / "proteins")
    run.cluster()
    run.average(by="builtin")
    run.report(how="pca")
    return run


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> CodedRun:
    """A run on as many pictures as there are particles in a large data set, all of them noise."""
    folder, rng = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    labels = rng.integers(0, 5, MANY)
    np.savez(folder / "noise.npz", images=rng.integers(0, 255, (MANY, 48, 48), dtype=np.uint8), content=labels)
    run = untrained_run(folder / "run", folder / "noise.npz")
    run.keep_codes(6 * np.eye(5)[labels] + rng.normal(size=(MANY, 5)), rng.normal(size=(MANY, 3)))
    run.report(how="pca")
    return run


@pytest.fixture(scope="module")
def desktop() -> Iterator[Page]:
    with chromium(*DESKTOP) as page:
        yield page


@pytest.fixture(scope="module")
def phone() -> Iterator[Page]:
    with chromium(*PHONE, phone=True) as page:
        yield page


def assert_quiet(page: Page, path: Path) -> None:
    """Make sure that nothing was asked for but the page itself, and that no error was logged."""
    assert page.requests() == [path.resolve().as_uri()]
    assert [entry for entry in page.logged("browser") if entry["level"] == "SEVERE"] == []
    assert page.run("return document.querySelector('#trouble').hidden")


def assert_valid(page: Page) -> None:
    """Make sure that plotly.js knows every setting of every plot that is drawn now, used or not.

    Its own check does not know arrays that come with their type.
    """
    complaints = page.run(
        "return [...document.querySelectorAll('.js-plotly-plot')].flatMap("
        "(plot) => Plotly.validate(plot.data, plot.layout) ?? []).filter("
        "(one) => one.code !== 'unused' && !one.msg.includes('linked to an array')).map((one) => one.msg)"
    )
    assert complaints == []


def wait_for_colours(page: Page, selector: str, share: float) -> None:
    """Wait until such a share of an element's pixels is neither grey nor nearly so."""
    end, seen = time.monotonic() + PATIENCE, 0.0
    while time.monotonic() < end and seen < share:
        seen = float((np.ptp(page.picture(selector).astype(int), axis=2) > 60).mean())
    assert seen >= share


def test_all_is_drawn_without_a_request_or_an_error(digits: Run, desktop: Page) -> None:
    desktop.prefer("light")
    desktop.open(digits.report_path())
    missing = desktop.run(
        "return [...document.querySelectorAll('.missing:not([hidden])')].map((p) => p.innerText)"
    )
    assert missing == [f"Hybrids are not scored yet. Run dualcontrast transfer {digits.path}"]
    desktop.draw_all()
    assert_valid(desktop)
    assert desktop.run("return document.querySelectorAll('.panels .main-svg').length") > 3
    for code in ("content", "transformation"):
        desktop.to(f"[data-plane={code}]")
        wait_for_colours(desktop, f"[data-plane={code}]", 0.005)
    assert_quiet(desktop, digits.report_path())


def test_a_point_shows_its_picture_and_where_its_other_code_lies(digits: Run, desktop: Page) -> None:
    desktop.prefer("light")
    desktop.open(digits.report_path())
    desktop.to(".planes")
    desktop.wait("return document.querySelectorAll('.plane[data-hovers]').length == 2")
    desktop.move_mouse(*desktop.run(PLACE, "transformation"))
    desktop.wait("return !document.querySelector('#card').hidden")
    words = dict(
        line.split(": ") if ": " in line else line.split(" ")
        for line in desktop.run("return document.querySelector('#card').innerText").splitlines()
    )
    table = digits.images().table
    place = int(np.flatnonzero(table["row"] == int(words["row"]))[0])
    assert words["content label"] == str(table["content"][place])
    assert words["content cluster"] in {"1", "2", "3"}
    shown = Image.fromarray(desktop.picture("#card .thumb")).convert("L").resize((28, 28))
    image = digits.images().read(np.array([place]))[0, 0].numpy()
    assert np.corrcoef(np.asarray(shown).ravel(), image.ravel())[0, 1] > 0.95
    assert desktop.run(
        "return [...document.querySelectorAll('.plane')].every((p) => p.querySelector(':scope > .ring'))"
    )
    desktop.move_mouse(5, 5)
    desktop.wait("return document.querySelector('#card').hidden && !document.querySelector('.plane > .ring')")


def test_many_images_are_drawn_and_the_larger_dots_show_their_pictures(many: CodedRun, desktop: Page) -> None:
    assert many.report_path().stat().st_size < 10_000_000
    desktop.prefer("light")
    desktop.open(many.report_path())
    desktop.to(".planes")
    desktop.wait("return document.querySelectorAll('.plane[data-hovers]').length == 2")
    drawn = desktop.run(
        "return document.querySelector('.plane').data.map((one) => [one.x.length, one.marker.size, one.hoverinfo])"
    )
    (others, small, silent), (pictured, large, _) = drawn
    assert (others, pictured, silent) == (MANY - 3000, 3000, "skip")
    assert large > small
    assert desktop.run("return document.querySelector('.planes ~ .caption').innerText").count("3,000 larger dots")
    desktop.move_mouse(*desktop.run(PLACE, "content"))
    desktop.wait("return !document.querySelector('#card').hidden")
    row = int(desktop.run("return document.querySelector('#card b').textContent").removeprefix("row "))
    shown = Image.fromarray(desktop.picture("#card .thumb")).convert("L").resize((48, 48), Image.Resampling.BOX)
    image = many.images().read(np.array([row]))[0, 0].numpy()
    assert np.corrcoef(np.asarray(shown).ravel(), image.ravel())[0, 1] > 0.6
    assert_quiet(desktop, many.report_path())


def test_colours_are_chosen_and_a_name_is_seen_alone(digits: Run, desktop: Page) -> None:
    desktop.prefer("light")
    desktop.open(digits.report_path())
    desktop.to(".planes")
    desktop.wait("return document.querySelectorAll('.plane[data-hovers]').length == 2")
    colours = "return [...new Set(document.querySelector('.plane').data.at(-1).marker.color)]"
    assert len(desktop.run(colours)) == 10
    desktop.run("document.querySelector('[data-colouring=\"1\"]').click()")
    assert len(desktop.run(colours)) == 3
    names = desktop.run("return [...document.querySelectorAll('#legend .words')].map((name) => name.textContent)")
    assert names == ["1", "2", "3"]
    desktop.run("document.querySelector('#legend button').click()")
    assert len(desktop.run(colours)) == 2


def test_light_and_dark_follow_the_browser_and_the_reader(digits: Run, desktop: Page) -> None:
    colours = (
        "const plot = document.querySelector('[data-figure^=loss]');"
        "return [getComputedStyle(document.body).backgroundColor, plot.layout.font.color]"
    )
    seen = {}
    for scheme in ("light", "dark"):
        desktop.prefer(scheme)
        desktop.open(digits.report_path())
        desktop.to("[data-figure^=loss]")
        desktop.wait("return document.querySelector('[data-figure^=loss] .main-svg')")
        seen[scheme] = desktop.run(colours)
    assert seen["light"][0] != seen["dark"][0]
    assert seen["light"][1] != seen["dark"][1]
    desktop.run("document.querySelector('#theme').click()")
    assert desktop.run(colours) == seen["light"]
    desktop.open(digits.report_path())
    assert desktop.run("return document.documentElement.dataset.theme") == "light"
    desktop.run("localStorage.clear()")


def test_a_phone_shows_all_within_its_width(digits: Run, phone: Page) -> None:
    phone.open(digits.report_path())
    phone.draw_all()
    assert phone.run("return document.documentElement.scrollWidth") == PHONE[0]
    outside = phone.run(
        "return [...document.querySelectorAll('main *')].filter((one) => !one.closest('.scroll, svg, pre') &&"
        "one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.className)"
    )
    assert outside == []
    small = phone.run(
        "return [...document.querySelectorAll('main p, main dd, main td, main button')].filter("
        "(one) => parseFloat(getComputedStyle(one).fontSize) < 11).length"
    )
    assert small == 0
    assert_quiet(phone, digits.report_path())


def test_the_name_of_the_section_in_sight_is_in_sight_on_a_phone(digits: Run, phone: Page) -> None:
    phone.open(digits.report_path())
    phone.run("document.querySelector('#clusters').scrollIntoView()")
    left, right = phone.wait(
        "const here = document.querySelector('nav a.here');"
        "if (here?.hash !== '#clusters') return null;"
        "const box = here.getBoundingClientRect(); return [box.left, box.right]"
    )
    assert 0 <= left < right <= PHONE[0]


def test_a_tap_shows_a_picture(digits: Run, phone: Page) -> None:
    phone.open(digits.report_path())
    phone.to("[data-plane=content]")
    phone.wait("return document.querySelector('[data-plane=content]').dataset.hovers")
    phone.tap(*phone.run(PLACE, "content"))
    phone.wait("return !document.querySelector('#card').hidden")
    box: dict[str, Any] = phone.run("return document.querySelector('#card').getBoundingClientRect().toJSON()")
    assert 0 <= box["left"] < box["right"] <= PHONE[0]
    assert 0 <= box["top"] < box["bottom"] <= PHONE[1]


def test_a_hybrid_has_its_two_images_marked(digits: Run, desktop: Page) -> None:
    desktop.open(digits.report_path())
    desktop.to("#mosaic")
    box = desktop.run("return document.querySelector('#mosaic').getBoundingClientRect().toJSON()")
    desktop.move_mouse(box["left"] + 0.72 * box["width"], box["top"] + 0.55 * box["height"])
    marks = desktop.wait(
        "const marks = [...document.querySelectorAll('.frame-of')];"
        "return marks.length == 3 && marks.map((mark) => [mark.offsetLeft, mark.offsetTop])"
    )
    (left, row), (column, top), (across, down) = marks
    assert left == top == 0
    assert (across, down) == (column, row)
    assert min(across, down) > 0


def test_surfaces_are_drawn_and_turn_together(maps: CodedRun, desktop: Page) -> None:
    desktop.prefer("dark")
    desktop.open(maps.report_path())
    assert desktop.run("return document.querySelectorAll('.surface img').length") == 3
    desktop.to(".maps")
    desktop.wait("return document.querySelectorAll('.surface.live canvas').length == 3")
    assert_valid(desktop)
    wait_for_colours(desktop, ".surface", 0.02)
    desktop.run(
        "const eye = {x: 0, y: 0.1, z: 4}, plot = document.querySelector('[data-turns]');"
        "Plotly.relayout(plot, {'scene.camera.eye': eye}).then(() =>"
        "plot.emit('plotly_relayout', {'scene.camera': {eye, up: {x: 0, y: 1, z: 0}}}))"
    )
    desktop.wait(
        "return [...document.querySelectorAll('[data-turns]')].every("
        "(plot) => plot.layout.scene.camera.eye.z == 4)"
    )
    assert_quiet(desktop, maps.report_path())


def test_surfaces_out_of_sight_are_pictures_again(maps: CodedRun, desktop: Page) -> None:
    desktop.open(maps.report_path())
    desktop.to(".maps")
    desktop.wait("return document.querySelectorAll('.surface.live').length == 3")
    desktop.run("scrollTo(0, 0)")
    desktop.wait("return document.querySelectorAll('.surface.live, .surface canvas').length == 0")
    desktop.to(".maps")
    desktop.wait("return document.querySelectorAll('.surface.live').length == 3")


def test_a_phone_turns_the_surface_that_was_tapped(maps: CodedRun, phone: Page) -> None:
    phone.open(maps.report_path())
    phone.to(".surface")
    wait_for_colours(phone, ".surface", 0.02)
    assert phone.run("return document.querySelectorAll('.surface.live').length") == 0
    phone.run("document.querySelector('.surface').click()")
    phone.wait("return document.querySelectorAll('.surface.live canvas').length == 1")
    assert phone.run("return document.documentElement.scrollWidth") == PHONE[0]


def test_paper_has_every_plot_within_its_width_and_in_light(maps: CodedRun, desktop: Page) -> None:
    desktop.prefer("dark")
    desktop.open(maps.report_path())
    desktop.run("dispatchEvent(new Event('beforeprint'))")
    undrawn = ".plane:not([data-drawn]), .plot:not([data-drawn], [data-turns])"
    assert desktop.run("return document.querySelector(arguments[0])", undrawn) is None
    widths = desktop.run(
        "return [...document.querySelectorAll('.plot > .plot-container .main-svg')].map("
        "(plot) => plot.width.baseVal.value)"
    )
    assert 0 < max(widths) <= 650
    desktop.run("dispatchEvent(new Event('afterprint'))")
    assert len(desktop.driver.print_page()) > 50_000
