"""Settings: merged mappings, YAML files, and validation errors in one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from dualcontrast.errors import RecipeError, nearest

SettingsDict = dict[str, Any]  # nested settings, as in YAML
SettingsMapping = Mapping[str, Any]


def merged(base: SettingsMapping, changes: SettingsMapping) -> SettingsDict:
    """Merge `changes` into `base`, recursively for mappings; other values are replaced."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def parse_changes(assignments: Iterable[str]) -> SettingsDict:
    """Parse `key=value` assignments into nested settings.

    Examples
    --------
    >>> parse_changes(["method.gamma_z=1", "training.epochs=3"])
    {'method': {'gamma_z': 1}, 'training': {'epochs': 3}}
    """
    changes: SettingsDict = {}
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        if not sign or not key.strip():
            raise RecipeError(f"{assignment!r} sets nothing; write it as key=value, such as training.epochs=10")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise RecipeError(f"the value in {assignment!r} is not understood as YAML") from None
        if isinstance(value, str):
            value = _number_or(value)
        nested: Any = value
        for part in reversed(key.strip().split(".")):
            nested = {part: nested}
        changes = merged(changes, nested)
    return changes


def read_yaml(name_or_file: str | Path, packaged: Mapping[str, Path]) -> SettingsDict:
    """Read settings that are packaged or in a file, and add their name.

    Raises
    ------
    RecipeError
        There is no such file, or it is not a mapping in YAML; the message names the line.
    """
    path = packaged.get(str(name_or_file), Path(name_or_file))
    if not path.is_file():
        raise RecipeError(
            f"no recipe is called {name_or_file} and no such file exists; {nearest(str(name_or_file), packaged)}"
        )
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = "" if line is None else f", line {line + 1}"
        raise RecipeError(f"{path}{place}: not valid YAML") from None
    return {"name": path.stem, **mapping_of(settings or {}, f"the recipe {path}")}


def packaged(folder: str) -> dict[str, Path]:
    """List the YAML files in a folder of this package by name."""
    files = (Path(__file__).parent / folder).glob("*.yaml")
    return {path.stem: path for path in sorted(files, key=lambda path: path.stem)}


def mapping_of(value: object, what: str) -> SettingsDict:
    """Convert a mapping to a dict.

    Raises
    ------
    RecipeError
        The value is not a mapping.
    """
    if not isinstance(value, Mapping):
        raise RecipeError(f"{what} is a mapping of settings, not {value!r}")
    return dict(value)


def sentence(
    error: ValidationError,
    model: type[BaseModel],
    inside: str = "",
    parts: Mapping[str, type[BaseModel]] | None = None,
) -> str:
    """Describe the first validation error of a model in one sentence.

    Parameters
    ----------
    error
        As raised by pydantic.
    model
        The model that was validated.
    inside
        The key of the model in the settings.
    parts
        Models of fields that are more specific than their annotations.
    """
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join([inside, *location] if inside else location)
    if first["type"] == "extra_forbidden":
        elsewhere = [path for path in _paths(model, parts or {}) if path.split(".")[-1] == location[-1]]
        if elsewhere:
            return f"no setting is called {key}; did you mean {elsewhere[0]}?"
        return f"no setting is called {key}; {nearest(location[-1], _known_keys(model, location[:-1]))}"
    if first["type"] == "missing":
        return f"{key} has no default; give it a value"
    message = first["msg"].removeprefix("Value error, ")
    reason = f"is not accepted: {message[0].lower()}{message[1:]}"
    return f"{key} {reason}" if first["type"] == "invalid_key" else f"{key} = {first['input']!r} {reason}"


def _number_or(text: str) -> float | str:
    """Convert text to a finite number if possible, since YAML 1.1 reads 1e-4 as text."""
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _known_keys(model: type[BaseModel], location: Iterable[str]) -> list[str]:
    """Return the valid keys at a location within a model."""
    for part in location:
        if part.isdecimal():  # an index into a list, whose entries share a model
            continue
        inner = _model_in(model.model_fields[part].annotation)
        if inner is not None:
            model = inner
    return list(model.model_fields)


def _paths(model: type[BaseModel], parts: Mapping[str, type[BaseModel]]) -> Iterator[str]:
    """Yield the paths of all nested settings of a model, such as training.epochs."""
    for name, field in model.model_fields.items():
        inner = parts.get(name) or _model_in(field.annotation)
        for key in inner.model_fields if inner else ():
            yield f"{name}.{key}"
        yield from (f"{name}.{path}" for path in (_paths(inner, {}) if inner else ()))


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model in a field's annotation: alone, in a tuple or optional."""
    inside = [annotation, *getattr(annotation, "__args__", ())]
    return next((one for one in inside if isinstance(one, type) and issubclass(one, BaseModel)), None)
