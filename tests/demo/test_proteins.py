"""The demo from subtomograms to averages, made small; and what it says of what it found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.support.command import assert_refused, call
from tests.support.maps import cluster_average

from dualcontrast import api
from dualcontrast.cryoet.simulation import simulation_settings
from dualcontrast.demo import proteins as module
from dualcontrast.demo.proteins import Identity, _identity
from dualcontrast.maps.cluster_average import ClusterId, StateComparison
from dualcontrast.recipe import read_recipe
from dualcontrast.settings import merged

FEW: dict[str, Any] = {"per_state": 20, "snr": 1.0}
SHORT: dict[str, Any] = {"training": {"epochs": 2, "batch_size": 20}}


def truth(identity: str, conformation: str, share: float, correlation: float) -> StateComparison:
    return StateComparison(identity, conformation, share, correlation, resolution=20.0, fsc=())


def changed(
    make: Any, changes: Mapping[str, Any], *words: Any, settings: Mapping[str, Any], **options: Any
) -> Any:
    return make(*words, settings=merged(settings, changes), **options)


def test_every_step_leaves_its_files_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few subtomograms and epochs, and one iteration: every step of the demo, and hardly anything found by it."""
    monkeypatch.setattr(module, "simulate", partial(changed, api.simulate, FEW))
    monkeypatch.setattr(module, "train", partial(changed, api.train, SHORT))
    monkeypatch.setattr(module, "ITERATIONS", 1)
    monkeypatch.setattr(module, "DEGREES", 60.0)
    out = tmp_path / "demo"
    ended = call("demo", "--out", out, "--seed", 3)
    assert ended.status == 0, ended.err
    assert ended.out.startswith("80 subtomograms of 2 proteins were simulated: turned at random, seen by tilts of")
    assert "agree by an adjusted Rand index of " in ended.out
    assert f"  {out}/figures/found.png  every average beside the true map" in ended.out
    figures = [line.split()[0] for line in ended.out.splitlines() if ".png " in line]
    assert len(figures) == 5
    for figure in figures:
        with Image.open(figure) as picture:
            assert min(picture.size) > 100
    assert ended.out.splitlines()[-2] == f"Report: {out}/report.html; open it in a browser"
    assert "content 1, transformation 1" in (out / "report.html").read_text(encoding="utf-8")
    run = api.load(out)
    assert (run.recipe().name, run.recipe().training.seed) == ("demo", 3)
    units = json.loads(run.clusters_path("main").with_suffix(".json").read_text())["sizes"]
    assert sum(map(sum, units.values())) == 80
    for unit in units:
        assert (out / "averages" / "main" / f"content{unit}_transformation1.mrc").is_file()
        assert f"  content{unit}: " in ended.out
    again = call("demo", "--out", out)
    assert_refused(again, f"{out}: already holds ")
    assert "replace it with --overwrite" in again.err


def test_an_average_is_compared_with_its_own_identity_and_the_best_of_the_others() -> None:
    found = _identity(
        cluster_average(
            1,
            truth("nucleosome", "2pyo", 0.4, 0.95),
            truth("spike", "closed", 0.3, 0.80),
            truth("spike", "open", 0.3, 0.82),
        )
    )
    assert (found.identity, found.share) == ("spike", 0.6)
    assert (found.state, found.correlation) == ("spike open", 0.82)
    assert (found.other, found.other_correlation) == ("nucleosome 2pyo", 0.95)
    assert found.margin == pytest.approx(-0.13)


@pytest.mark.parametrize(
    ("other", "end"), [(0.70, "+0.120 (wanted: 0.1)"), (0.75, "+0.070 (wanted: 0.1, not reached)")]
)
def test_what_was_not_reached_is_told(other: float, end: str) -> None:
    one = Identity(ClusterId(2, 1), 10, "fas", 0.9, 30.0, "fas a", 0.82, "spike b", other)
    first, second = one.describe()
    assert first == "  content2: 10 subtomograms, 90.0 % of them fas; their average reaches 30 A"
    assert second.endswith(end)


def test_the_wedge_of_the_views_is_that_of_the_simulation() -> None:
    (wedge,) = (view for view in read_recipe("demo").views if view.name == "wedge")
    assert wedge.model_dump()["degrees"] == simulation_settings("demo").tilt_range
