from __future__ import annotations

import re

from tests.support.report import decompressed, page_of

from dualcontrast.api import Run
from dualcontrast.report.page import with_unit_spaces


def test_the_page_loads_nothing_from_the_network(scored: Run) -> None:
    done = scored.report(how="pca")
    page = done.path.read_text(encoding="utf-8")
    assert done.path == scored.path / "report.html"
    assert done.size == done.path.stat().st_size < 10_000_000
    links = re.findall(r"""(?:src|href)=["'](?!#|data:)([^"']+)""", re.sub(r"(?s)<script.*?</script>", "", page))
    assert links == []


def test_the_page_links_to_nothing_outside_itself(run: Run) -> None:
    page = page_of(run.report(how="pca").path)
    assert [link for link in page.links if not link.startswith(("#", "data:"))] == []
    text = run.report_path().read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert re.findall(r"url\((?!data:)", text) == []
    assert decompressed(run.report_path(), "plotly").count("Plotly") > 0


def test_no_line_breaks_between_a_number_and_its_unit() -> None:
    assert with_unit_spaces("9.5 % of 20 Å") == "9.5\N{NO-BREAK SPACE}% of 20\N{NO-BREAK SPACE}Å"
    assert with_unit_spaces(3) == 3
