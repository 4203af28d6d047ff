"""Time a report in headless Chromium, as a reader would use it: python scripts/time_report.py RUN/report.html.

It prints milliseconds until the page is ready, until both embeddings are drawn, to redraw them in other colours
and in another range, and from a mouse movement to the frame that shows the image of the point below the mouse.
Chromium renders in software, so the times are those of a machine without a graphics card. It also prints the
processor time of all processes of Chromium, which does not depend on other load (Linux only).
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
# Positions of points that have an image, and the delay from a mouse movement to the appearance of the card.
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
    """Time the report at `path` and print the times."""
    print(f"size: {path.stat().st_size / 1e6:.2f} MB")
    with chromium(1280, 900) as page:
        _print_times("ready", page, lambda: [_timed(lambda: page.open(path))])
        _print_times("both embeddings drawn", page, lambda: [_timed(lambda: _to_planes(page))])
        _print_times(
            "other colours", page, lambda: [page.driver.execute_async_script(RECOLOUR, k % 2) for k in range(10)]
        )
        _print_times("enlarged", page, lambda: [page.driver.execute_async_script(ENLARGE) for _ in range(3)])
        page.open(path)
        _to_planes(page)
        _print_times("image of the point below the mouse", page, lambda: _hover(page))


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


def _print_times(what: str, page: Page, act: Callable[[], list[float]]) -> None:
    before = _processor_time(page.driver.service.process.pid)
    times = act()
    used = (_processor_time(page.driver.service.process.pid) - before) / len(times)
    low, middle, high = np.percentile(times, [0, 50, 95])
    times_text = f"median {middle:.0f} ms, from {low:.0f} to {high:.0f} ms (95 %)"
    print(f"{what}: {times_text}, {used:.0f} ms of processor time each, {len(times)} times")


def _processor_time(pid: int) -> float:
    """Measure the processor time of a process and its descendants, in milliseconds."""
    ticks, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # the process has just ended
        number = int(path.parent.name)
        parents[number], ticks[number] = int(fields[1]), int(fields[11]) + int(fields[12])
    family = {pid}
    while children := {number for number, parent in parents.items() if parent in family} - family:
        family |= children
    return 1000 * sum(ticks[number] for number in family) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
