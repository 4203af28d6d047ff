"""The HTML page: sections, style, script and figures in one file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from dualcontrast.report.overview import Finding
from dualcontrast.report.pictures import Sheet
from dualcontrast.report.plots import Figure, compressed, finite
from dualcontrast.report.section import Section


def page(
    title: str, subtitle: str, findings: Sequence[Finding], sections: Sequence[Section], sheet: Sheet | None
) -> str:
    """Render the page as self-contained HTML, which loads nothing from the network.

    It includes the complete plotly.js of the `plotly` package, since no partial bundle has both WebGL points and
    meshes. It is compressed to less than a third of its size, and decompressed by the browser, as the figures are.

    Parameters
    ----------
    title, subtitle, findings
        The head of the page.
    sections
        The sections in order.
    sheet
        The thumbnails, if there are any.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("dualcontrast.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=with_unit_spaces,
    )
    figures: dict[str, Figure] = {}
    for section in sections:
        figures |= section.figures
    return environment.get_template("page.html").render(
        title=title,
        subtitle=subtitle,
        findings=findings,
        sections=sections,
        sheet="" if sheet is None else sheet.uri,
        sheet_size=sheet,
        figures=compressed(json.dumps(finite(figures), separators=(",", ":"), allow_nan=False)),
        plotly=compressed(get_plotlyjs()),
    )


def with_unit_spaces(value: object) -> object:
    """Put a no-break space between a number and its unit in a text; leave other values as they are."""
    return re.sub(r"(?<=\d) (?=[%Å])", "\N{NO-BREAK SPACE}", value) if type(value) is str else value
