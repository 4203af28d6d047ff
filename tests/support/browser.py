"""A headless Chromium that a test looks at a page with."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

PATIENCE = 120.0  # seconds until something that must happen is taken to have failed


def require_chromium() -> None:
    """Skip where Chromium is not installed; but where all is to be tested, that is a failure."""
    missing = [program for program in ("chromium", "chromedriver") if shutil.which(program) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"{missing[0]} is not installed; on Debian: apt-get install chromium chromium-driver")
    if missing:
        pytest.skip(f"{missing[0]} is not installed")


class Page:
    """A page that is looked at."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        """Open a report, and wait until its plots can be drawn; what was logged before is forgotten."""
        self.driver.get("about:blank")
        self.logged("browser"), self.logged("performance")
        self.driver.get(path.resolve().as_uri())
        self.wait("return document.documentElement.dataset.ready !== undefined")
        self.run("document.documentElement.style.scrollBehavior = 'auto'")

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page and return its value."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str) -> Any:
        """Run a script until its value is true, and return that."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            value = self.run(script)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"never came true: {script}; {self.logged('browser')}")

    def logged(self, kind: str) -> list[dict[str, Any]]:
        """Return what was logged since the last call: of the browser's console, or of its doings."""
        return list(self.driver.get_log(kind))

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the page was opened, but for data within it."""
        messages = [json.loads(entry["message"])["message"] for entry in self.logged("performance")]
        asked = [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in asked if not url.startswith(("data:", "blob:"))]

    def draw_all(self) -> None:
        """Bring every plot into sight once, so that it is drawn; surfaces are left aside."""
        plots = "document.querySelectorAll('.plane, [data-figure]:not([data-turns])')"
        for place in range(self.run(f"return {plots}.length")):
            self.run(f"{plots}[{place}].scrollIntoView({{block: 'center'}})")
            self.wait(f"return {plots}[{place}].querySelector('.main-svg')")

    def to(self, selector: str) -> None:
        """Scroll an element into the middle of the window, and wait until that has been seen."""
        self.driver.execute_async_script(
            "const [selector, done] = arguments;"
            "document.querySelector(selector).scrollIntoView({block: 'center'});"
            "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)));",
            selector,
        )

    def picture(self, selector: str) -> np.ndarray:
        """Return how an element looks, (H, W, 3)."""
        from selenium.webdriver.common.by import By

        shot = self.driver.find_element(By.CSS_SELECTOR, selector).screenshot_as_png
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))

    def move_mouse(self, x: float, y: float) -> None:
        """Move the mouse to a place in the window, by way of one beside it."""
        for place in ((x - 4, y - 4), (x, y)):
            self.driver.execute_cdp_cmd(
                "Input.dispatchMouseEvent", {"type": "mouseMoved", "x": place[0], "y": place[1]}
            )

    def tap(self, x: float, y: float) -> None:
        """Tap a touch screen."""
        self.driver.execute_cdp_cmd(
            "Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]}
        )
        self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def prefer(self, scheme: str) -> None:
        """Make the browser prefer light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@contextmanager
def chromium(width: int, height: int, phone: bool = False) -> Iterator[Page]:
    """Give a page in a window of that size, or on a phone's touch screen."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    words = ["headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars", "use-gl=angle"]
    words += ["use-angle=swiftshader", "enable-unsafe-swiftshader", f"window-size={width},{height}"]
    for word in words:
        options.add_argument(f"--{word}")
    if phone:
        metrics = {"width": width, "height": height, "pixelRatio": 2.0, "touch": True}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_script_timeout(PATIENCE)
    try:
        yield Page(driver)
    finally:
        driver.quit()
