"""Time a report in a headless Chromium, as a reader would use it: python scripts/time_report.py RUN/report.html.

Prints milliseconds: until the page is ready, until both embeddings are drawn, of drawing them again in other
colours and in another range, and from a movement of the mouse to the frame that shows the picture of the point
below it. Chromium draws by software, so that the times are those of a machine without a graphics card. What all
its processes used of the processors is told as well, which is the same on a busy machine (Linux alone).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.browser import Page, chromium

MOVES = 40
DRAWN = "return document.querySelectorAll('.plane[data-hovers]').length == 2"
NEXT_FRAME = "requestAnimationFrame(() => requestAnimationFrame((now) => done(performance.now() - start)));"
RECOLOUR = (
    "const [number, done] = arguments, start = performance.now();"
    f"document.querySelectorAll('[data-colouring]')[number].click(); {NEXT_FRAME}"
)
ENLARGE = (
    "const done = arguments[0], start = performance.now(), plane = document.querySelector('.plane');"
    "const {xaxis, yaxis} = plane._fullLayout;"
    "const half = ([a, b]) => [a + (b - a) / 4, b - (b - a) / 4];"
    "Plotly.relayout(plane, {'xaxis.range': half(xaxis.range), 'yaxis.range': half(yaxis.range)});"
    f"{NEXT_FRAME}"
)
# Where points are that have a picture, and when the card appears after the mouse has moved.
PLACES = """
const plane = document.querySelector('.plane'), {x, y} = plane.data.at(-1);
const {xaxis, yaxis} = plane._fullLayout, box = plane.getBoundingClientRect();
return [...Array(arguments[0]).keys()].map((k) => Math.floor(k * x.length / arguments[0])).map(
  (k) => [box.left + xaxis._offset + xaxis.l2p(x[k]), box.top + yaxis._offset + yaxis.l2p(y[k])]);
"""
LISTEN = """
window.waits = [];
let moved = null;
document.addEventListener('mousemove', (event) => { moved ??= event.timeStamp; }, true);
new MutationObserver(() => requestAnimationFrame((now) => {
  if (moved !== null && !document.querySelector('#card').hidden) window.waits.push(performance.now() - moved);
  moved = null;
})).observe(document.querySelector('#card .words'), {childList: true});
"""


def main(path: Path) -> None:
    """Time the report at `path` and print what was found."""
    print(f"size: {path.stat().st_size / 1e6:.2f} MB")
    with chromium(1280, 900) as page:
        _tell("ready", page, lambda: [_timed(lambda: page.open(path))])
        _tell("both embeddings drawn", page, lambda: [_timed(lambda: _to_planes(page))])
        _tell(
            "other colours", page, lambda: [page.driver.execute_async_script(RECOLOUR, k % 2) for k in range(10)]
        )
        _tell("enlarged", page, lambda: [page.driver.execute_async_script(ENLARGE) for _ in range(3)])
        page.open(path)
        _to_planes(page)
        _tell("picture of the point below the mouse", page, lambda: _hover(page))


def _to_planes(page: Page) -> None:
    page.to(".planes")
    page.wait(DRAWN)


def _hover(page: Page) -> list[float]:
    places = page.run(PLACES, MOVES)
    page.run(LISTEN)
    for x, y in places:
        page.move_mouse(x, y)
        time.sleep(0.15)
    return list(page.run("return window.waits"))


def _timed(act: Callable[[], None]) -> float:
    start = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - start)


def _tell(what: str, page: Page, act: Callable[[], list[float]]) -> None:
    before = _processor_time(page.driver.service.process.pid)
    times = act()
    used = (_processor_time(page.driver.service.process.pid) - before) / len(times)
    low, middle, high = np.percentile(times, [0, 50, 95])
    told = f"median {middle:.0f} ms, from {low:.0f} to {high:.0f} ms (95 %)"
    print(f"{what}: {told}, {used:.0f} ms of processor time each, {len(times)} times")


def _processor_time(pid: int) -> float:
    """Return the milliseconds that a process and all that it started have used."""
    ticks, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it has just ended
        own = int(path.parent.name)
        parents[own], ticks[own] = int(fields[1]), int(fields[11]) + int(fields[12])
    wanted = {pid}
    while more := {own for own, parent in parents.items() if parent in wanted} - wanted:
        wanted |= more
    return 1000 * sum(ticks[own] for own in wanted) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
