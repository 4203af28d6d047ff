"""The way on: the commands that take the clusters back into RELION."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from dualcontrast.cryoet.star import read_particles
from dualcontrast.maps import relion
from dualcontrast.maps.cluster_average import ClusterAverage
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
    if material.options.get("invert"):
        missing.append(
            Missing(
                "The particles are dark, and RELION averages and refines white ones: extract them with their "
                "contrast inverted, and go on with those."
            )
        )
    elif isinstance(material.averages, Missing):
        sentence = "The averages, which are the references to refine against, are missing."
        missing.append(Missing(sentence, material.averages.command))
    elif material.averages[0].box % 2:
        missing.append(Missing("The boxes are odd, and RELION takes even ones: extract the particles again."))
    else:
        folder = material.run.averages_folder(material.clusters.name).resolve()
        steps += [_refinement(material, folder, material.averages)]
    return Section(anchor, title, "next_steps.html", {"steps": steps}, missing=tuple(missing))


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


def _refinement(material: Material, folder: Path, averages: list[ClusterAverage]) -> Step:
    """Return the commands that average every cluster again and refine it from its average."""
    commands = [shlex.join(["cd", str(material.options["datadir"])])]
    told = (
        "The STAR file of each cluster has the poses that its average was made with, and halves in "
        "rlnRandomSubset. The first command averages them again, the second aligns them to their average from all "
        "orientations, starting at 60 Å."
    )
    ctf = premultiplied = False
    for average in averages:
        name = average.name
        star = folder / f"{name}.star"
        particles = read_particles(star)
        ctf, premultiplied = particles.ctf_names is not None, particles.ctf_premultiplied
        place = Path("dualcontrast") / name
        words = [
            ["mkdir", "-p", str(place)],
            relion.reconstruct_command(star, place / "average.mrc", ctf=ctf, premultiplied=premultiplied),
            relion.refine_command(
                star,
                place / "run",
                folder / f"{name}.mrc",
                ctf=ctf,
                premultiplied=premultiplied,
                box=average.box,
                voxel_size=average.voxel_size,
                iterations=ITERATIONS,
                degrees=DEGREES,
            ),
        ]
        commands += ["", f"# {name}, {average.particles:,} particles", *map(shlex.join, words)]
    return Step("Average and refine each cluster", f"{told}{_of_ctfs(ctf, premultiplied)}", commands)


def _of_ctfs(ctf: bool, premultiplied: bool) -> str:
    """Say which versions of RELION take the particles' CTF volumes, and how."""
    if not ctf:
        return ""
    if premultiplied:
        return (
            " The particles are multiplied by their CTF, and their CTF volumes squared, as RELION 4 and 5 take "
            f"them; older versions do not, and {relion.NOT_SQUARED} is for other particles."
        )
    if relion.takes_premultiplied():
        return ""
    return (
        f" RELION 4 and 5 take CTF volumes for squared ones, which these are not: add {relion.NOT_SQUARED} there."
    )
