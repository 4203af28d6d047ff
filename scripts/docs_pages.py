"""MkDocs hook that generates pages from the code, so that they cannot drift from it (see mkdocs.yml).

- index.md, contributing.md and changelog.md are copies of README.md, CONTRIBUTING.md and CHANGELOG.md.
- verbs/NAME.md comes from the command line: description, arguments and options of a command, with the hand-written
  examples and text of docs/verbs/NAME.md between them.
- settings.md comes from the models that validate recipes.
- reference/NAME.md has the docstrings of a package.
- Equations between dollar signs become MathML, which browsers render without a script.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
import yaml
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from dualcontrast.cli import command_line

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "dualcontrast"
COPIED = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
ORDER = ("cryoet", "poses", "images", "transforms", "networks", "methods", "runs", "training")
ORDER += ("figures", "evaluation", "analysis", "maps", "report", "benchmarks", "demo")
TITLES = {"api": "Python API", "cryoet": "Cryo-ET"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the generated pages to the navigation."""
    verbs = ["verbs/index.md", *({name: page_of(name)} for name in verbs_by_name())]
    python = [{title_of(name): f"reference/{name}.md"} for name in reference()]
    generated = {"verbs/": verbs, "reference/": python}
    for section in config.nav or []:
        for title, place in section.items() if isinstance(section, dict) else ():
            section[title] = generated.get(place, place) if isinstance(place, str) else place
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, source in COPIED.items():
        _put(files, config, name, copied(source))
    for name, verb in verbs_by_name().items():
        _put(files, config, page_of(name), verb_page(name, verb, _prose(files, page_of(name))))
    _put(files, config, "verbs/index.md", verbs_page(_prose(files, "verbs/index.md")))
    _put(files, config, "settings.md", settings_page(_prose(files, "settings.md")))
    for name, modules in reference().items():
        _put(files, config, f"reference/{name}.md", reference_page(name, modules))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Convert equations to MathML."""
    return re.sub(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', _mathml, content, flags=re.DOTALL)


def _mathml(found: re.Match[str]) -> str:
    display = "block" if found[1] == "div" else "inline"
    return str(convert(html.unescape(found[2]), display=display))


def _put(files: Files, config: MkDocsConfig, name: str, content: str) -> None:
    existing = files.get_file_from_path(name)
    if existing is not None:
        files.remove(existing)
    files.append(File.generated(config, name, content=content))


def _prose(files: Files, name: str) -> str:
    """Return the hand-written part of a page, empty if there is no such file."""
    file = files.get_file_from_path(name)
    return "" if file is None else file.content_string.strip()


def copied(source: str) -> str:
    """Return a file of the repository root, with its links made relative to docs/."""
    text = (ROOT / source).read_text(encoding="utf-8")
    for name, other in COPIED.items():
        text = text.replace(f"]({other})", f"]({name})")
    return text.replace("](docs/", "](").replace('src="docs/', 'src="')


# ---- commands


def verbs_by_name() -> dict[str, Any]:
    """Return the visible commands by name, such as `benchmark table1`."""
    return dict(_verbs_of(typer.main.get_command(command_line())))


def _verbs_of(group: Any, *before: str) -> Iterator[tuple[str, Any]]:
    for name, verb in group.commands.items():
        if hasattr(verb, "commands"):
            yield from _verbs_of(verb, *before, name)
        elif not verb.hidden:
            yield " ".join([*before, name]), verb


def page_of(verb: str) -> str:
    """Return the path of a command's page."""
    return f"verbs/{verb.replace(' ', '-')}.md"


def verb_page(name: str, verb: Any, prose: str) -> str:
    """Return the page of a command: description, hand-written text, arguments and options."""
    arguments = [one for one in verb.params if one.param_type_name == "argument"]
    options = [one for one in verb.params if one.param_type_name == "option"]
    needed = [written(one) for one in options if one.required]
    usage = " ".join(["dualcontrast", name, *map(written, arguments), *needed, "[OPTIONS]"])
    example = f"For example:\n\n{prose}" if prose.startswith("```") else prose
    parts = [f"# {name}", _paragraphs(verb.help), f"```text\n{usage}\n```", example]
    if arguments:
        parts += ["## Arguments", *map(definition, arguments)]
    parts += ["## Options", *map(definition, options)]
    return "\n\n".join(part for part in parts if part) + "\n"


def verbs_page(prose: str) -> str:
    """Return the overview page of all commands."""
    lines = [f"[{name}]({page_of(name).removeprefix('verbs/')})\n:   {_first(verb.help)}"
             for name, verb in verbs_by_name().items()]  # fmt: skip
    return "\n\n".join(["# Commands", prose, "## All commands", *lines]) + "\n"


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _first(text: str) -> str:
    return " ".join(text.split("\n\n", maxsplit=1)[0].split())


def written(parameter: Any) -> str:
    """Return a parameter as typed, such as --out RUN; in brackets if optional, such as [SOURCE]."""
    if parameter.param_type_name == "option":
        flag = max(parameter.opts, key=len)
        return flag if parameter.is_flag else f"{flag} {parameter.metavar}"
    bare = parameter.metavar.strip("[]") + ("..." if parameter.nargs == -1 else "")
    return bare if parameter.required else f"[{bare}]"


def definition(parameter: Any) -> str:
    """Return the description of a parameter as an entry of a definition list."""
    text, default = _escaped(parameter.help), parameter.default
    if parameter.required and parameter.param_type_name == "option":
        text += " Required."
    elif default is not None and default is not False and default not in ((), []) and not callable(default):
        text += f" Default: `{default}`."
    if getattr(parameter, "multiple", False) and "repeatedly" not in text:
        text += " Can be given repeatedly."
    return f"`{written(parameter)}`\n:   {text}"


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


# ---- settings


def settings_page(prose: str) -> str:
    """Write the page of all settings and packaged recipes."""
    from dualcontrast.cryoet.simulation import SimulationSettings, packaged_simulations
    from dualcontrast.methods import METHODS
    from dualcontrast.networks import DecoderSettings, EncoderSettings
    from dualcontrast.recipe import TrainingSettings, packaged_recipes
    from dualcontrast.transforms import VIEWS

    parts = ["# Settings", prose, "## Training", table_of(TrainingSettings, "training.")]
    parts += ["## Encoder", table_of(EncoderSettings, "network.encoder.")]
    parts += ["## Decoder", table_of(DecoderSettings, "network.decoder."), "## Methods"]
    for name, method in METHODS.items():
        presets = f"`--method {name}`; presets: {', '.join(f'`{preset}`' for preset in method.presets)}."
        parts += [f"### {name}", presets, table_of(method.Settings, "method.", without=("name",))]
    parts += ["## Views"]
    for name, view in VIEWS.items():
        parts += [f"### {name}", _first(view.__doc__ or ""), table_of(view, without=("name",))]
    parts += ["## Simulations", table_of(SimulationSettings)]
    for title, packaged in (
        ("Packaged recipes", packaged_recipes()),
        ("Packaged simulations", packaged_simulations()),
    ):
        parts += [f"## {title}"]
        for name, path in packaged.items():
            parts += [
                f"### {title[9:-1].capitalize()} {name}",
                f"```yaml\n{path.read_text(encoding='utf-8').strip()}\n```",
            ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table_of(model: type[BaseModel], before: str = "", without: tuple[str, ...] = ()) -> str:
    """Return a table of a model's settings (name, default, meaning), empty if it has none."""
    rows = []
    for name, field in model.model_fields.items():
        if name in without:
            continue
        if field.is_required():
            default = "required"
        else:
            value = field.get_default(call_default_factory=True)
            default = "" if value is PydanticUndefined else f"`{_as_yaml(value)}`"
        text = "; ".join(part for part in (field.description, _choices(field.annotation)) if part)
        rows.append(f"| `{before}{name}` | {default} | {_cell(text)} |")
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows]) if rows else ""


def _choices(annotation: Any) -> str:
    """Return the allowed values of a setting, empty if it is not a choice."""
    choices = [
        one
        for part in (annotation, *get_args(annotation))
        if get_origin(part) is Literal
        for one in get_args(part)
    ]
    return f"one of {', '.join(map(str, choices))}" if len(choices) > 1 else ""


def _as_yaml(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    elif isinstance(value, tuple):
        value = [one.model_dump(mode="json") if isinstance(one, BaseModel) else one for one in value]
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


# ---- reference


def reference() -> dict[str, list[str]]:
    """Return the modules of each page: api has the top-level ones; packages are in the order of the data flow."""
    alone = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem[0] != "_")
    packages = [path.parent.name for path in PACKAGE.glob("*/__init__.py") if path.parent.name != "cli"]
    packages.sort(key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    pages: dict[str, list[str]] = {"api": []}
    for package in packages:
        paths = sorted(path for path in (PACKAGE / package).rglob("*.py") if path.stem[0] != "_")
        pages[package] = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in paths]
    pages["api"] += alone
    return pages


def reference_page(name: str, modules: list[str]) -> str:
    """Write the page of a package's docstrings."""
    return "\n\n".join([f"# {title_of(name)}", *(f"::: dualcontrast.{module}" for module in modules)]) + "\n"


def title_of(name: str) -> str:
    """Return the title of a reference page."""
    return TITLES.get(name, name.capitalize())
