"""Reading of a report's page."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


class Page(HTMLParser):
    """The visible text of a page by section, and its links."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {"": ""}
        self.links: list[str] = []
        self._section, self._silent = "", 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        stated = dict(attrs)
        self._section = stated["id"] or "" if tag == "section" else self._section
        self._silent += tag in ("script", "style")
        self.links += [stated[name] or "" for name in ("src", "href") if name in stated]

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.texts[self._section] = f"{self.texts.get(self._section, '')} {data}"


def page_of(path: Path) -> Page:
    """Read the text and links of a page."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.texts = {name: re.sub(r"\s+", " ", text) for name, text in page.texts.items()}
    return page


def decompressed(path: Path, name: str) -> str:
    """Read and decompress data of a page."""
    text = re.search(rf'id="{name}">([^<]*)<', path.read_text(encoding="utf-8"))
    assert text is not None
    return gzip.decompress(base64.b64decode(text[1])).decode()


def figures_of(path: Path) -> dict[str, Any]:
    """Read the figures of a page."""
    return dict(json.loads(decompressed(path, "figures")))
