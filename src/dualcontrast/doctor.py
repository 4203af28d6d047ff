"""What of this machine and its packages the verbs can use, and what each optional part adds."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from typing import Any

from packaging.requirements import Requirement

from dualcontrast.maps import relion
from dualcontrast.version import __version__

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 20.0  # a program may take to tell its version


@dataclass(frozen=True)
class Part:
    """Something that verbs can do without.

    Attributes
    ----------
    name : str
        What it is called.
    adds : str
        What it is good for.
    get : str
        How to have it.
    found : str or None
        What is there, such as a version; None where nothing is.
    fault : str or None
        Why what is there cannot be used.
    """

    name: str
    adds: str
    get: str
    found: str | None = None
    fault: str | None = None

    def describe(self) -> str:
        """Return a line on it."""
        if self.fault is not None:
            return f"{self.name}: broken ({self.fault}); would add {self.adds} ({self.get})"
        if self.found is None:
            return f"{self.name}: not there; would add {self.adds} ({self.get})"
        return f"{self.name}: {self.found}; adds {self.adds}"


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes
    ----------
    versions : dict of str to str
        Of dualcontrast, Python and torch.
    processors, threads : int
        Those of the machine that this process may use, and those that torch does.
    lacking : list of str
        Packages that are needed, and are missing or too old.
    parts : list of Part
        What is optional.
    """

    versions: dict[str, str]
    processors: int
    threads: int
    lacking: list[str]
    parts: list[Part]

    @property
    def faults(self) -> list[str]:
        """What must be mended: nothing that is needed may be missing, and nothing that is there may be broken."""
        return [*self.lacking, *(f"{part.name}: {part.fault}" for part in self.parts if part.fault is not None)]

    def as_dict(self) -> dict[str, Any]:
        """Return the whole as plain values."""
        return {**asdict(self), "faults": self.faults}

    def describe(self) -> list[str]:
        """Return the whole in lines."""
        told = [
            ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            f"Processors: {self.processors}; torch uses {self.threads} thread(s)",
            *(f"Needed, but {one}" for one in self.lacking),
        ]
        return [*told, "Optional parts:", *(f"  {part.describe()}" for part in self.parts)]


def examine() -> Examination:
    """Look for all that verbs need or can use."""
    import torch

    from dualcontrast.devices import processors

    return Examination(
        versions={"dualcontrast": __version__, "Python": sys.version.split()[0], "torch": str(torch.__version__)},
        processors=processors(),
        threads=torch.get_num_threads(),
        lacking=list(_lacking()),
        parts=[
            _gpu(),
            _relion(),
            _package("libcpab", "the method vitae", "vitae"),
            _package("trimesh", "scripts/render_linemod.py, with embreex", "render"),
            _package("embreex", "scripts/render_linemod.py, with trimesh", "render"),
            _package("mkdocs-material", "make docs, which builds these docs", "docs", module="material"),
            _browser(),
        ],
    )


def _lacking() -> Iterator[str]:
    """Yield what of the needed packages is missing or too old; nothing where this package is not installed."""
    try:
        stated = metadata.requires("dualcontrast") or []
    except metadata.PackageNotFoundError:
        return
    for requirement in map(Requirement, stated):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name)
        if version is None:
            yield f"{requirement.name} is missing; pip install '{requirement}'"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} is {version}; pip install '{requirement}'"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _package(name: str, adds: str, extra: str, module: str | None = None) -> Part:
    get, found = f"pip install 'dualcontrast[{extra}]'", _version(name)
    if found is None:
        return Part(name, adds, get)
    try:
        import_module(module or name)
    except Exception as error:  # whatever an import may raise: the package is of no use
        return Part(name, adds, get, found, _first_line(error))
    return Part(name, adds, get, found)


def _gpu() -> Part:
    import torch

    name, adds, get = "GPU", "speed: --device auto takes it", "torch must be a build for it"
    if not torch.cuda.is_available():
        return Part(name, adds, get)
    count, found = torch.cuda.device_count(), torch.cuda.get_device_name(0)
    try:
        torch.ones(2, device="cuda").sum().item()
    except Exception as error:  # whatever a driver or a build of torch may raise: the GPU is of no use
        return Part(name, adds, get, f"{count} x {found}", _first_line(error))
    return Part(name, adds, get, f"{count} x {found}")


def _relion() -> Part:
    name, adds = "RELION", "average --with relion"
    get = "install RELION, and have relion_reconstruct and relion_refine on the PATH"
    if not relion.installed():
        return Part(name, adds, get)
    return Part(name, adds, get, *_told_by(relion.REFINE))


def _browser() -> Part:
    name, adds, get = "Chromium", "the tests in a browser; no verb needs it", "on Debian: apt-get install chromium"
    program = next((browser for browser in BROWSERS if shutil.which(browser)), None)
    return Part(name, adds, get) if program is None else Part(name, adds, get, *_told_by(program))


def _told_by(program: str) -> tuple[str | None, str | None]:
    """Return the version that a program tells, and why it tells none."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, _first_line(error)
    version = re.search(r"\d+(\.\d+)+", done.stdout)
    if done.returncode or version is None:
        return None, (done.stderr.strip().splitlines() or [f"{program} tells no version"])[0]
    return version[0], None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
