"""The report of a run: one page, whole in itself, that says what is there and how to make what is not."""

from __future__ import annotations

import base64
import gzip
import json
import math
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import starfile
import yaml
from tests.support.command import assert_refused, call
from tests.support.maps import CodedRun, simulated_run, untrained_run
from tests.support.particles import angles_and_origins, write_particles_of
from tests.support.runs import SMALL, small_run

import dualcontrast
from dualcontrast.api import Run
from dualcontrast.errors import DualContrastWarning, RunError, SourceError
from dualcontrast.evaluation.scores import percent
from dualcontrast.maps import relion
from dualcontrast.report import next_steps
from dualcontrast.report.page import unbroken
from dualcontrast.settings import merged


class Words(HTMLParser):
    """What a page says, without its scripts and styles, section by section, and what it points at."""

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


def read(path: Path) -> Words:
    words = Words()
    words.feed(path.read_text(encoding="utf-8"))
    words.texts = {name: re.sub(r"\s+", " ", text) for name, text in words.texts.items()}
    return words


def unpacked(path: Path, name: str) -> str:
    text = re.search(rf'id="{name}">([^<]*)<', path.read_text(encoding="utf-8"))
    assert text is not None
    return gzip.decompress(base64.b64decode(text[1])).decode()


def figures(path: Path) -> dict[str, Any]:
    return dict(json.loads(unpacked(path, "figures")))


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on digits, scored."""
    made = small_run(tmp_path_factory.mktemp("report") / "run")
    made.encode()
    made.evaluate()
    return made


@pytest.fixture(scope="module")
def run(scored: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same, sorted into clusters."""
    made = Run(shutil.copytree(scored.path, tmp_path_factory.mktemp("clustered") / "run"))
    made.cluster(content=3, transformation=2)
    return made


@pytest.fixture(scope="module")
def maps(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> CodedRun:
    made, _ = simulated_run(tmp_path_factory.mktemp("report"), shared_data / "proteins")
    made.cluster()
    made.average(by="builtin")
    return made


def test_the_page_asks_nothing_of_the_network(scored: Run) -> None:
    done = scored.report(how="pca")
    page = done.path.read_text(encoding="utf-8")
    assert done.path == scored.path / "report.html"
    assert done.size == done.path.stat().st_size < 10_000_000
    asked = re.findall(r"""(?:src|href)=["'](?!#|data:)([^"']+)""", re.sub(r"(?s)<script.*?</script>", "", page))
    assert asked == []


def test_what_is_missing_is_told_with_the_command_that_makes_it(scored: Run) -> None:
    done = scored.report(how="pca")
    page = done.path.read_text(encoding="utf-8")
    assert done.left_out
    assert f"dualcontrast cluster {scored.path}" in page
    assert f"dualcontrast transfer {scored.path}" in page


def test_the_scores_of_the_run_are_on_the_page(scored: Run) -> None:
    page = scored.report(how="pca").path.read_text(encoding="utf-8")
    scores = scored.read_scores()
    assert scores is not None
    assert percent(scores["content"]["from_content"]).replace(" ", "\N{NO-BREAK SPACE}") in page


def test_a_run_without_codes_is_refused_in_a_sentence(tmp_path: Path) -> None:
    untouched = small_run(tmp_path / "run")
    with pytest.raises(RunError, match="dualcontrast encode"):
        untouched.report(how="pca")
    assert not (untouched.path / "report.html").exists()


def test_a_report_says_what_was_run_and_found(run: Run) -> None:
    done = run.report(how="pca")
    assert done.path == run.path / "report.html"
    assert done.size == done.path.stat().st_size < 10_000_000
    page = read(done.path)
    scores = run.read_scores()
    assert scores is not None
    head = page.texts[""]
    assert "dualcontrast on 400 pictures of 28 x 28 pixels" in head
    assert " 3 content clusters, as asked for" in head
    for code in ("content", "transformation"):
        assert f"{100 * scores['content'][f'from_{code}']:.1f} %" in head
    assert f"(chance {100 * scores['content']['chance']:.1f} %)" in head
    assert "10 contents: never seen in training" in page.texts["run"]
    assert run.config()["data"]["digest"] in page.texts["provenance"]
    assert run.config()["made_by"]["command"] in page.texts["provenance"]
    assert "Seed 3 " in page.texts["provenance"]
    assert f"dualcontrast report {run.path}" in page.texts["provenance"]


def test_a_page_points_at_nothing_outside_itself(run: Run) -> None:
    page = read(run.report(how="pca").path)
    assert [link for link in page.links if not link.startswith(("#", "data:"))] == []
    text = run.report_path().read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert re.findall(r"url\((?!data:)", text) == []
    assert unpacked(run.report_path(), "plotly").count("Plotly") > 0


def test_both_codes_are_drawn_with_what_is_known_of_each_image(run: Run) -> None:
    drawn = figures(run.report(how="pca").path)["embeddings"]
    assert set(drawn["codes"]) == {"content", "transformation"}
    x = np.frombuffer(base64.b64decode(drawn["codes"]["content"]["x"]["bdata"]), "<f4")
    assert len(x) == len(drawn["rows"]) == drawn["pictured"] == 400
    colourings = {one["title"]: one for one in drawn["colourings"]}
    assert list(colourings) == ["content label", "content cluster", "transformation cluster"]
    table = run.images().table
    labels = dict(zip(table["row"], table["content"].astype(str), strict=True))
    told = colourings["content label"]
    numbers = np.frombuffer(base64.b64decode(told["numbers"]["bdata"]), "<i4")
    assert [told["names"][number] for number in numbers] == [labels[row] for row in drawn["rows"]]
    assert sorted(drawn["pictures"]) == list(range(400))


def test_a_layout_is_kept_as_long_as_the_codes(run: Run) -> None:
    told: list[str] = []

    def listen(what: str, done: int, total: int | None, /, **numbers: float) -> None:
        if done == 0:
            told.append(what)

    run.report(how="tsne", limit=100, progress=listen)
    assert told.count("laying out by t-SNE") == 2
    before = figures(run.report_path())["embeddings"]
    told.clear()
    run.report(how="tsne", limit=100, progress=listen)
    assert "laying out by t-SNE" not in told
    assert figures(run.report_path())["embeddings"] == before
    run.report(how="tsne", limit=90, progress=listen)
    assert told.count("laying out by t-SNE") == 2
    assert len(figures(run.report_path())["embeddings"]["rows"]) == 90


def test_curves_of_every_part_and_the_best_epoch_are_there(run: Run) -> None:
    drawn = figures(run.report(how="pca").path)
    epochs = [entry for entry in run.read_log() if "loss" in entry]
    for name in epochs[0]["loss"]:
        training, held_out, *_ = drawn[f"loss-1-{name}"]["data"]
        assert training["y"] == [entry["loss"][name] for entry in epochs]
        assert held_out["y"] == [entry["validation"][name] for entry in epochs]
    ring = drawn["loss-1-total"]["data"][2]
    best = min(epochs, key=lambda entry: entry["validation"]["total"])
    assert ring["x"] == [best["epoch"]]
    assert ring["y"] == [best["validation"]["total"]]


def test_what_is_missing_says_what_makes_it(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", {"training": {"epochs": 1}})
    with pytest.raises(RunError, match=f"not encoded yet; run dualcontrast encode {run.path}"):
        run.report()
    run.encode()
    done = run.report(how="pca")
    assert done.left_out == {
        "Scores": f"The codes are not scored yet: dualcontrast evaluate {run.path}",
        "Clusters": f"The codes are not sorted into clusters yet: dualcontrast cluster {run.path}",
    }
    page = read(done.path)
    assert f"Make it with dualcontrast evaluate {run.path}" in page.texts["scores"]
    assert "averages" not in page.texts
    run.transfer()
    assert "not scored yet" in run.report(how="pca").left_out["Scores"]
    assert "Do hybrids keep both?" in read(done.path).texts["scores"]
    assert "Which content?" not in read(done.path).texts["scores"]


def test_codes_and_scores_older_than_the_weights_are_not_shown(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    copy = Run.open(tmp_path / "run")
    os.utime(copy.weights_path("best"))
    with pytest.raises(RunError, match="its codes are older than its weights; run dualcontrast encode"):
        copy.report()
    copy.encode()
    left_out = copy.report(how="pca").left_out
    assert left_out["Scores"] == f"The scores are older than the weights: dualcontrast evaluate {copy.path}"
    assert "older than the run's weights" in left_out["Clusters"]


def test_a_report_says_how_to_make_it_again_as_it_is(run: Run) -> None:
    run.cluster(name="two", content=2, transformation=1)
    page = read(run.report(how="pca", clusters="two", seed=3, limit=100).path)
    again = f"dualcontrast report {run.path} --clusters two --how pca --limit 100 --seed 3"
    assert again in page.texts["provenance"]
    assert f"See them with dualcontrast report {run.path} --clusters NAME" in page.texts["clusters"]


def test_numbers_of_clusters_are_drawn_with_how_well_each_was_found_again(run: Run, tmp_path: Path) -> None:
    assert "How many clusters" not in read(run.report(how="pca").path).texts["training"]
    copy = Run(shutil.copytree(run.path, tmp_path / "run"))
    tried = {"prediction_strength": {"2": 0.6, "3": 0.9}, "silhouette": {"3": 0.8}}
    copy.write_log([{"epoch": 0, "stage": 1, "clusters": 3, **tried}, *copy.read_log()])
    assert "How many clusters" in read(copy.report(how="pca").path).texts["training"]
    strength, silhouette = figures(copy.report_path())["numbers"]["data"]
    assert (strength["x"], strength["y"]) == ([2, 3], [0.6, 0.9])
    assert (silhouette["x"], silhouette["y"]) == ([3], [0.8])


def test_figures_that_are_no_numbers_are_gaps_and_not_known(run: Run, tmp_path: Path) -> None:
    copy = Run(shutil.copytree(run.path, tmp_path / "run"))
    log = copy.read_log()
    last = next(entry for entry in reversed(log) if "loss" in entry)
    last["loss"]["total"] = last["validation"]["total"] = math.nan
    copy.write_log(log)
    scores = json.loads(copy.scores_path().read_text())
    scores["content"] |= {"from_transformation": math.nan, "gap": math.nan, "sap": math.nan}
    scores["invariance"]["transformation_chance"] = -0.001
    copy.scores_path().write_text(json.dumps(scores))
    page = read(copy.report(how="pca").path)
    training = figures(copy.report_path())["loss-1-total"]["data"][0]["y"]
    assert training[-1] is None
    assert None not in training[:-1]
    assert "epoch 3: the weights" not in page.texts["training"]
    assert "transformation code not known should not know it" in page.texts["scores"]
    assert "The gap is" not in page.texts["scores"]
    assert "nan" not in page.texts["scores"] + page.texts[""]
    assert "-0.00" not in page.texts["scores"]


def test_two_images_are_too_few_to_lay_out(tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", np.random.default_rng(0).integers(0, 255, (2, 28, 28), dtype=np.uint8))
    run = untrained_run(tmp_path / "run", tmp_path / "two.npy")
    run.encode()
    assert run.report().left_out["Embeddings"].count("2 images are too few to lay out") == 1


def test_weights_have_reports_of_their_own(run: Run) -> None:
    with pytest.raises(RunError, match=r"run dualcontrast encode .* --weights last"):
        run.report(weights="last")
    with pytest.raises(RunError, match="has no weights 'lst'; it has best, last"):
        run.report(weights="lst")
    run.encode(weights="last")
    done = run.report(weights="last", how="pca")
    assert done.path == run.path / "report-last.html"
    assert done.left_out["Scores"].endswith(f"dualcontrast evaluate {run.path} --weights last")
    assert "made with the weights best" in done.left_out["Clusters"]


def test_a_source_that_is_gone_leaves_pictures_out(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 28, 28), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    settings = merged(SMALL, {"training": {"epochs": 1, "limit": None, "batch_size": 20}})
    run = dualcontrast.train(
        tmp_path / "images.npy", out=tmp_path / "run", recipe="mnist", settings=settings, device="cpu"
    )
    run.encode()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "images.npy").rename(tmp_path / "elsewhere" / "images.npy")
    moved = dualcontrast.load(run.path)
    done = moved.report(how="pca")
    assert "its images are no longer there, looked for at" in done.left_out["What was run"]
    assert done.left_out["Transfer"] == (
        "Hybrids are decoded from images, which cannot be read now; say where they are by --datadir."
    )
    drawn = figures(done.path)["embeddings"]
    assert drawn["sheet"] is None
    assert len(drawn["rows"]) == drawn["pictured"] == 60
    found = dualcontrast.load(run.path).report(how="pca", datadir=tmp_path / "elsewhere")
    assert set(found.left_out) == {"Scores", "Clusters"}
    with pytest.raises(SourceError, match="its images are no longer there"):
        dualcontrast.load(run.path).report(how="pca", datadir=tmp_path)


def test_images_in_memory_have_pictures_while_they_are_there(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((60, 3, 20, 28)).astype(np.float32)
    settings = {"training": {"epochs": 1, "batch_size": 20}}
    run = dualcontrast.train(pixels, out=tmp_path / "run", settings=settings, device="cpu")
    run.encode()
    assert set(run.report(how="pca").left_out) == {"Scores", "Clusters"}
    sheet = figures(run.report_path())["embeddings"]["sheet"]
    assert (sheet["width"], sheet["height"]) == (28, 20)
    assert "trained on images in memory" in dualcontrast.load(run.path).report(how="pca").left_out["What was run"]


def test_a_method_without_a_decoder_and_a_code_of_one_number_leave_their_parts_out(tmp_path: Path) -> None:
    method = {"name": "simclr", "content_size": 1, "transformation_size": 4}
    run = small_run(tmp_path / "run", {"method": method, "training": {"epochs": 1}})
    run.encode()
    left_out = run.report(how="pca").left_out
    assert "SimCLR has no decoder" in left_out["Transfer"]
    assert "a content code of one number cannot be laid out" in left_out["Embeddings"]
    assert list(figures(run.report_path())["embeddings"]["codes"]) == ["transformation"]


def test_a_run_of_a_newer_version_and_clusters_that_are_not_there_are_refused(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({**config, "format": 99}))
    assert_refused(call("report", tmp_path / "run"), "made by a newer version (format 99")
    assert_refused(call("report", run.path, "--clusters", "none"), "has no clusters called none")
    assert_refused(call("report", run.path, "--how", "som"), "no layout is called som")
    assert_refused(call("report", tmp_path / "nothing"), "no such run folder")


def test_the_verb_tells_where_the_report_is(run: Run) -> None:
    ended = call("report", run.path, "--how", "pca")
    assert ended.status == 0, ended.err
    told = ended.out.splitlines()
    assert told[0].startswith("Left out of Scores: Hybrids are not judged yet: dualcontrast transfer ")
    assert re.fullmatch(r"Report: .*report\.html \(\d\.\d MB\); open it in a browser", told[1])
    found = json.loads(call("report", run.path, "--how", "pca", "--json", "--quiet").out)
    assert found["report"] == str(run.report_path())
    assert found["bytes"] == run.report_path().stat().st_size
    assert set(found["left_out"]) == {"Scores"}
    silent = call("report", run.path, "--how", "pca", "--quiet")
    assert (silent.status, silent.out, silent.err) == (0, "", "")


def test_averages_are_shown_with_what_they_are_like(maps: CodedRun) -> None:
    done = maps.report(how="pca")
    assert set(done.left_out) == {"Scores", "Training"}
    assert done.size < 10_000_000
    text = read(done.path).texts["averages"]
    assert "content 1, transformation 1 12 particles, 42 Å; most like spike" in text
    assert text.count("Poses as stated, averaged by the built-in averager.") == 3
    assert "in boxes of 16 voxels of 21 Å" in text
    drawn = figures(done.path)
    names = [f"content{content}_transformation{part}" for content, part in ((1, 1), (1, 2), (2, 1))]
    assert [f"surface-{name}" in drawn for name in names] == [True] * 3
    unit = json.loads((maps.averages_folder("main") / f"{names[0]}.json").read_text())
    assert drawn["fsc"]["data"][0]["y"] == unit["fsc"]


def test_clusters_sorted_anew_part_from_their_averages(maps: CodedRun) -> None:
    maps.cluster(name="other", content=2, transformation=1)
    left_out = maps.report(how="pca", clusters="other").left_out
    assert left_out["Averages"].endswith(f"dualcontrast average {maps.path} --clusters other")
    maps.average(clusters="other", by="builtin")
    assert "Averages" not in maps.report(how="pca", clusters="other").left_out
    maps.cluster(name="other", content=1, transformation=3)
    left_out = maps.report(how="pca", clusters="other").left_out
    assert "averages belong to an earlier clustering" in left_out["Averages"]


def test_an_average_that_is_gone_is_told_with_what_makes_it_again(maps: CodedRun, tmp_path: Path) -> None:
    for ending in ("mrc", "star"):
        copy = Run(shutil.copytree(maps.path, tmp_path / ending))
        gone = copy.averages_folder("main") / f"content1_transformation1.{ending}"
        gone.unlink()
        left_out = copy.report(how="pca").left_out
        again = f"make them again with dualcontrast average {copy.path} --clusters main --overwrite."
        assert left_out["Averages"] == f"{gone}: is missing, so the average is incomplete; {again}"
        assert "references to refine against, are missing" in left_out["On with RELION"]


def test_a_cluster_of_one_image_is_not_said_to_wait_for_its_average(maps: CodedRun, tmp_path: Path) -> None:
    copy = Run(shutil.copytree(maps.path, tmp_path / "run"))
    copy.cluster(name="odd", content=2, transformation=1)
    path = copy.clusters_path("odd")
    table = pd.read_csv(path)
    table.loc[0, "transformation_cluster"] = 9
    table.to_csv(path, index=False)
    with pytest.warns(DualContrastWarning, match="has a single image"):
        copy.average(clusters="odd", by="builtin")
    left_out = copy.report(how="pca", clusters="odd").left_out
    assert left_out["Averages"] == "1 of 3 clusters holds a single image, which cannot be averaged."


def test_commands_take_every_cluster_on(maps: CodedRun) -> None:
    text = read(maps.report(how="pca").path).texts["relion"]
    folder = maps.averages_folder("main").resolve()
    assert f"dualcontrast export {maps.path} --per-class" in text
    assert f"cd {maps.path.parent / 'sim'}" in text
    for content, part in ((1, 1), (1, 2), (2, 1)):
        star = folder / f"content{content}_transformation{part}.star"
        assert text.count(f"relion_reconstruct --i {star} ") == text.count(f"relion_refine --i {star} ") == 1
    assert text.count("--ctf") >= 6


def test_premultiplied_particles_are_told_from_others(maps: CodedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """RELION 4 and 5 take CTF volumes for squared ones, which those of a simulation are not."""
    monkeypatch.setattr(relion, "takes_premultiplied", lambda: False)
    assert "add --ctf3d_not_squared there" in next_steps._of_ctfs(ctf=True, premultiplied=False)
    stars = list(maps.averages_folder("main").glob("content*.star"))
    before = {star: star.read_bytes() for star in stars}
    for star in stars:
        blocks = starfile.read(star)
        blocks["optics"] = blocks["optics"].assign(rlnCtfDataAreCtfPremultiplied=1)
        starfile.write(blocks, star)
    text = read(maps.report(how="pca").path).texts["relion"]
    assert "The particles are multiplied by their CTF" in text
    assert "add --ctf3d_not_squared" not in text
    for star, kept in before.items():
        star.write_bytes(kept)


def test_commands_start_where_the_particles_are_now(maps: CodedRun, tmp_path: Path) -> None:
    shutil.copytree(maps.path, tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    config["data"]["options"]["datadir"] = str(tmp_path / "before")
    config["data"]["source"] = str(tmp_path / "before" / "particles.star")
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.copytree(maps.path.parent / "sim", tmp_path / "after")
    copy = Run.open(tmp_path / "run")
    text = read(copy.report(how="pca", datadir=tmp_path / "after").path).texts["relion"]
    assert f"cd {tmp_path / 'after'}" in text
    assert f"dualcontrast export {copy.path} --per-class --datadir {tmp_path / 'after'}" in text
    assert str(tmp_path / "before") not in text


@pytest.mark.parametrize(
    ("box", "invert", "sentence"),
    [(8, True, "RELION averages and refines white ones"), (9, False, "The boxes are odd, and RELION takes even")],
)
def test_dark_particles_and_odd_boxes_are_not_taken_on_by_relion(
    box: int, invert: bool, sentence: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    columns = angles_and_origins(rng.uniform(-90, 90, (12, 3)), np.zeros((12, 3)))
    volumes = rng.normal(size=(12, box, box, box))
    volumes[:, 3:6, 3:6, 3:6] += -3 if invert else 3
    star = write_particles_of(volumes, tmp_path / "data", **columns)
    run = untrained_run(tmp_path / "run", star, invert=invert)
    run.keep_codes(rng.normal(size=(12, 4)), rng.normal(size=(12, 3)))
    run.cluster(content=1, transformation=1)
    run.average()
    done = run.report(how="pca")
    assert sentence in done.left_out["On with RELION"]
    text = read(done.path).texts["relion"]
    assert "dualcontrast export" in text
    assert "relion_refine" not in text


def test_numbers_keep_their_units() -> None:
    assert unbroken("9.5 % of 20 Å") == "9.5\N{NO-BREAK SPACE}% of 20\N{NO-BREAK SPACE}Å"
    assert unbroken(3) == 3
