"""Next steps: the commands that continue with the clusters in RELION."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from dualcontrast.cryoet.particles import read_particles
from dualcontrast.maps import relion
from dualcontrast.maps.cluster_average import ClusterAverage
from dualcontrast.report.material import Material
from dualcontrast.report.section import Section, Unavailable

ITERATIONS, DEGREES = 15, 7.5


@dataclass(frozen=True)
class Step:
    """Commands with a title and an explanation."""

    title: str
    explanation: str
    commands: list[str]


@dataclass(frozen=True)
class Content:
    """The steps that the section shows."""

    steps: list[Step]


def section(material: Material) -> Section | None:
    """Show what to run next; None unless the images are from a STAR file."""
    if not material.is_star:
        return None
    anchor, title = "relion", "Continue in RELION"
    if isinstance(material.clusters, Unavailable):
        reason = "Classes are made from clusters, which are missing."
        return Section(anchor, title, missing=(Unavailable(reason, material.command("cluster")),))
    steps, missing = [_export(material, material.clusters.name)], []
    if material.reader_options.get("invert"):
        missing.append(
            Unavailable(
                "The particles are dark, but RELION averages and refines white ones: extract them again with "
                "inverted contrast."
            )
        )
    elif isinstance(material.averages, Unavailable):
        reason = "The averages, which serve as references for refinement, are missing."
        missing.append(Unavailable(reason, material.averages.command))
    elif material.averages[0].box % 2:
        missing.append(Unavailable("The boxes are odd, but RELION needs even ones: extract the particles again."))
    else:
        folder = material.run.averages_folder(material.clusters.name).resolve()
        steps.append(_refinement(material, folder, material.averages))
    return Section(anchor, title, "next_steps.html", Content(steps), missing=tuple(missing))


def _export(material: Material, clusters: str) -> Step:
    folder = material.run.export_folder(clusters)
    exists = (folder / "particles.star").is_file()
    where = f"They are in {folder}." if exists else f"They are written to {folder}."
    words = ["--per-class", *(["--overwrite"] if exists else [])]
    return Step(
        "Your STAR file with classes",
        "Every row and column of the source, with codes, clusters and rlnClassNumber, and one file per class. "
        f"{where} "
        "With --join STAR, they are joined to another STAR file with the same rlnTomoParticleName, such as one of "
        "RELION 5.",
        [material.clusters_command("export", *words)],
    )


def _refinement(material: Material, folder: Path, averages: list[ClusterAverage]) -> Step:
    """List the commands that average every cluster again and refine it from its average."""
    commands = [shlex.join(["cd", str(material.reader_options["datadir"])])]
    explanation = (
        "The STAR file of each cluster has the poses of its average, and random halves in rlnRandomSubset. The "
        "first command averages the particles again. The second aligns them to their average, over all "
        "orientations, starting at 60 Å."
    )
    ctf = premultiplied = False
    for average in averages:
        name = average.name
        star = folder / f"{name}.star"
        particles = read_particles(star)
        ctf, premultiplied = particles.ctf_names is not None, particles.ctf_premultiplied
        output = Path("dualcontrast") / name
        words = [
            ["mkdir", "-p", str(output)],
            relion.reconstruct_command(star, output / "average.mrc", ctf=ctf, premultiplied=premultiplied),
            relion.refine_command(
                star,
                output / "run",
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
    return Step("Average and refine each cluster", f"{explanation}{_ctf_advice(ctf, premultiplied)}", commands)


def _ctf_advice(ctf: bool, premultiplied: bool) -> str:
    """Explain which versions of RELION read the CTF volumes of the particles correctly."""
    if not ctf:
        return ""
    if premultiplied:
        return (
            " The particles are multiplied by their CTF, and their CTF volumes are squared, as RELION 4 and 5 "
            f"expect, but not older versions. {relion.NOT_SQUARED} is for other particles."
        )
    if relion.takes_premultiplied():
        return ""
    return (
        f" RELION 4 and 5 expect squared CTF volumes, but these are not squared: add {relion.NOT_SQUARED} there."
    )
