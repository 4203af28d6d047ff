"""The page: sections, style and script put together in one file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from dualcontrast.report.overview import Finding
from dualcontrast.report.pictures import Sheet
from dualcontrast.report.plots import finite, packed
from dualcontrast.report.section import Section


def page(
    title: str, subtitle: str, findings: Sequence[Finding], sections: Sequence[Section], sheet: Sheet | None
) -> str:
    """Return the page as HTML that asks nothing of the network.

    plotly.js is the whole one of the `plotly` package, which has no other; no smaller one has both points by
    WebGL and meshes. It is packed, to less than a third of its size, and unpacked by the browser, as the figures
    are.

    Parameters
    ----------
    title, subtitle, findings
        The head.
    sections
        In order.
    sheet
        The small pictures, if there are any.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("dualcontrast.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=unbroken,
    )
    figures: dict[str, Any] = {}
    for section in sections:
        figures |= section.figures
    return environment.get_template("page.html").render(
        title=title,
        subtitle=subtitle,
        findings=findings,
        sections=sections,
        sheet="" if sheet is None else sheet.uri,
        sheet_size=sheet,
        figures=packed(json.dumps(finite(figures), separators=(",", ":"), allow_nan=False)),
        plotly=packed(get_plotlyjs()),
    )


def unbroken(value: Any) -> Any:
    """Return a text in which no line breaks between a number and its unit."""
    return re.sub(r"(?<=\d) (?=[%Å])", "\N{NO-BREAK SPACE}", value) if type(value) is str else value
