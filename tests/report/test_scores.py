from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

from tests.support.report import figures_of, page_of

from dualcontrast.api import Run
from dualcontrast.evaluation.scores import percent


def test_the_scores_of_the_run_are_on_the_page(scored: Run) -> None:
    page = scored.report(how="pca").path.read_text(encoding="utf-8")
    scores = scored.read_scores()
    assert scores is not None
    assert percent(scores["content"]["from_content"]).replace(" ", "\N{NO-BREAK SPACE}") in page


def test_undefined_scores_are_gaps_and_not_known(run: Run, tmp_path: Path) -> None:
    copy = Run(shutil.copytree(run.path, tmp_path / "run"))
    log = copy.read_log()
    last = next(entry for entry in reversed(log) if "loss" in entry)
    last["loss"]["total"] = last["validation"]["total"] = math.nan
    copy.write_log(log)
    scores = json.loads(copy.scores_path().read_text())
    scores["content"] |= {"from_transformation": math.nan, "gap": math.nan, "sap": math.nan}
    scores["invariance"]["transformation_chance"] = -0.001
    copy.scores_path().write_text(json.dumps(scores))
    page = page_of(copy.report(how="pca").path)
    training = figures_of(copy.report_path())["loss-1-total"]["data"][0]["y"]
    assert training[-1] is None
    assert None not in training[:-1]
    assert "epoch 3: the weights" not in page.texts["training"]
    assert "transformation code not known should not know it" in page.texts["scores"]
    assert "The gap is" not in page.texts["scores"]
    assert "nan" not in page.texts["scores"] + page.texts[""]
    assert "-0.00" not in page.texts["scores"]
