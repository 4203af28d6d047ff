"""What this machine and its packages offer, and what each optional part adds."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module, metadata

from packaging.requirements import Requirement

from dualcontrast.files import JSONObject
from dualcontrast.maps import relion
from dualcontrast.version import __version__

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 20.0  # that a program may take to print its version


@dataclass(frozen=True)
class Part:
    """An optional program, package or device.

    Attributes
    ----------
    name : str
        Its name.
    adds : str
        What it adds.
    get : str
        How to get it.
    found : str or None
        What was found, such as a version; None if nothing was.
    fault : str or None
        Why it cannot be used although it was found; None if it can.
    """

    name: str
    adds: str
    get: str
    found: str | None = None
    fault: str | None = None

    def describe(self) -> str:
        """Describe the part in a line."""
        if self.fault is not None:
            return f"{self.name}: broken ({self.fault}); would add {self.adds} ({self.get})"
        if self.found is None:
            return f"{self.name}: not found; would add {self.adds} ({self.get})"
        return f"{self.name}: {self.found}; adds {self.adds}"


@dataclass(frozen=True)
class Examination:
    """The state of an installation.

    Attributes
    ----------
    versions : dict of str to str
        The versions of dualcontrast, Python and torch.
    processors, threads : int
        Processors that this process may use, and threads that torch uses.
    missing : list of str
        Required packages that are missing or too old.
    parts : list of Part
        Optional parts.
    """

    versions: dict[str, str]
    processors: int
    threads: int
    missing: list[str]
    parts: list[Part]

    @property
    def faults(self) -> list[str]:
        """What must be repaired: required packages that are missing, and optional parts that are broken."""
        return [*self.missing, *(f"{part.name}: {part.fault}" for part in self.parts if part.fault is not None)]

    def as_dict(self) -> JSONObject:
        """Convert the examination to plain values."""
        return {**asdict(self), "faults": self.faults}

    def describe(self) -> list[str]:
        """Describe the installation in lines."""
        lines = [
            ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            f"Processors: {self.processors}; torch uses {self.threads} thread(s)",
            *(f"Required: {each}" for each in self.missing),
        ]
        return [*lines, "Optional parts:", *(f"  {part.describe()}" for part in self.parts)]


def examine() -> Examination:
    """Examine the installation."""
    import torch

    from dualcontrast.devices import processors

    return Examination(
        versions={"dualcontrast": __version__, "Python": sys.version.split()[0], "torch": str(torch.__version__)},
        processors=processors(),
        threads=torch.get_num_threads(),
        missing=list(_missing()),
        parts=[
            _gpu(),
            _relion(),
            _package("libcpab", "the method vitae", "vitae"),
            _package("trimesh", "scripts/render_linemod.py, with embreex", "render"),
            _package("embreex", "scripts/render_linemod.py, with trimesh", "render"),
            _package("mkdocs-material", "make docs, which builds the documentation", "docs", module="material"),
            _browser(),
        ],
    )


def _missing() -> Iterator[str]:
    """Yield the required packages that are missing or too old; none if this package itself is not installed."""
    try:
        required = metadata.requires("dualcontrast") or []
    except metadata.PackageNotFoundError:
        return
    for requirement in map(Requirement, required):
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
    except Exception as error:  # whatever the import raises, the package is of no use
        return Part(name, adds, get, found, _first_line(error))
    return Part(name, adds, get, found)


def _gpu() -> Part:
    import torch

    name, adds, get = "GPU", "speed; --device auto uses it", "install a build of torch for it"
    if not torch.cuda.is_available():
        return Part(name, adds, get)
    count, found = torch.cuda.device_count(), torch.cuda.get_device_name(0)
    try:
        torch.ones(2, device="cuda").sum().item()
    except Exception as error:  # whatever the driver raises, the GPU is of no use
        return Part(name, adds, get, f"{count} x {found}", _first_line(error))
    return Part(name, adds, get, f"{count} x {found}")


def _relion() -> Part:
    name, adds = "RELION", "average --with relion"
    get = "install RELION, with relion_reconstruct and relion_refine on the PATH"
    if not relion.installed():
        return Part(name, adds, get)
    return Part(name, adds, get, *_program_version(relion.REFINE))


def _browser() -> Part:
    name, adds, get = (
        "Chromium",
        "the tests in a browser; no command needs it",
        "on Debian: apt-get install chromium",
    )
    program = next((browser for browser in BROWSERS if shutil.which(browser)), None)
    return Part(name, adds, get) if program is None else Part(name, adds, get, *_program_version(program))


def _program_version(program: str) -> tuple[str | None, str | None]:
    """Ask a program for its version; return it, or None and why there is none."""
    try:
        ended = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, _first_line(error)
    version = re.search(r"\d+(\.\d+)+", ended.stdout)
    if ended.returncode or version is None:
        return None, (ended.stderr.strip().splitlines() or [f"{program} prints no version"])[0]
    return version[0], None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
