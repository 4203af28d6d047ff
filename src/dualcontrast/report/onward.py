"""The way on: the commands that take the clusters back into RELION."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, NamedTuple

from dualcontrast.cryoet import relion
from dualcontrast.cryoet.star import read_particles
from dualcontrast.report.material import Material
from dualcontrast.report.section import Missing, Section

ITERATIONS, DEGREES = 15, 7.5


class Step(NamedTuple):
    """Commands, and what they do."""

    title: str
    told: str
    commands: list[str]


def section(material: Material) -> Section | None:
    """Return what to call next; None where there is no STAR file to go on with."""
    if not material.is_star:
        return None
    anchor, title = "relion", "On with RELION"
    if isinstance(material.clusters, Missing):
        lack = Missing("Classes are made of clusters, which are missing.", material.command("cluster"))
        return Section(anchor, title, missing=(lack,))
    steps = [_export(material)]
    missing = []
    if isinstance(material.averages, Missing):
        sentence = "The averages, which are the references to refine against, are missing."
        missing.append(Missing(sentence, material.of_clusters("average")))
    else:
        folder = material.run.averages_folder(material.clusters.name).resolve()
        steps += [_refinement(material, folder, material.averages)]
    return Section(anchor, title, "onward.html", {"steps": steps}, missing=tuple(missing))


def _export(material: Material) -> Step:
    assert not isinstance(material.clusters, Missing)
    folder = material.run.export_folder(material.clusters.name)
    there = (folder / "particles.star").is_file()
    where = f"They lie in {folder}." if there else f"They come to lie in {folder}."
    options = ["--per-class", *(["--overwrite"] if there else [])]
    return Step(
        "Your own STAR, with classes",
        f"Every row and column of the source, with codes, clusters and rlnClassNumber, and a file of each class. "
        f"{where} "
        "With --join STAR they are joined onto another STAR of the same rlnTomoParticleName, such as RELION 5's.",
        [material.of_clusters("export", *options)],
    )


def _refinement(material: Material, folder: Path, units: list[dict[str, Any]]) -> Step:
    """Return the commands that average every cluster again and refine it from its average."""
    commands = [shlex.join(["cd", str(material.config["data"]["options"]["datadir"])])]
    ctf = False
    for unit in units:
        name = unit["cluster"]
        star = folder / f"{name}.star"
        ctf = read_particles(star).ctf_names is not None
        place = Path("dualcontrast") / name
        words = [
            ["mkdir", "-p", str(place)],
            relion.reconstruct_command(star, place / "average.mrc", ctf=ctf),
            relion.refine_command(
                star,
                place / "run",
                folder / f"{name}.mrc",
                ctf=ctf,
                box=unit["box"],
                voxel_size=unit["voxel_size"],
                iterations=ITERATIONS,
                degrees=DEGREES,
            ),
        ]
        commands += ["", f"# {name}, {unit['particles']:,} particles", *map(shlex.join, words)]
    told = (
        "The STAR file of each cluster has the poses that its average was made with, and halves in "
        "rlnRandomSubset. The first command averages them again, the second aligns them to their average from all "
        "orientations, starting at 60 Å."
    )
    if ctf and not relion.installed():
        told += " RELION is not installed here; since version 4 it needs --ctf3d_not_squared as well."
    return Step("Average and refine each cluster", told, commands)
