from __future__ import annotations

from dualcontrast.report.section import Unavailable


def test_a_reason_is_followed_by_its_command() -> None:
    assert str(Unavailable("The codes are not scored yet.", "dualcontrast evaluate r")) == (
        "The codes are not scored yet: dualcontrast evaluate r"
    )
    assert str(Unavailable("There is nothing to show.")) == "There is nothing to show."
