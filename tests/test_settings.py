"""Settings: merged mappings, assignments, YAML files, and validation errors in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dualcontrast.errors import RecipeError
from dualcontrast.settings import mapping_of, merged, packaged, parse_changes, read_yaml, sentence


def test_merging_goes_mapping_by_mapping_and_leaves_its_arguments_alone() -> None:
    base = {"a": {"b": 1, "c": {"d": 2}}, "e": [1, 2], "f": {"g": 1}}
    changes = {"a": {"c": {"x": 3}}, "e": [3], "f": 4, "h": {"i": 5}}
    assert merged(base, changes) == {
        "a": {"b": 1, "c": {"d": 2, "x": 3}},
        "e": [3],
        "f": 4,
        "h": {"i": 5},
    }
    assert base == {"a": {"b": 1, "c": {"d": 2}}, "e": [1, 2], "f": {"g": 1}}


# ---- assignments


@pytest.mark.parametrize(
    ("assignment", "changes"),
    [
        ("training.epochs=3", {"training": {"epochs": 3}}),
        ("training.learning_rate=1e-4", {"training": {"learning_rate": 1e-4}}),
        ("a=-2.5E+3", {"a": -2500.0}),
        ("a=0.5", {"a": 0.5}),
        ("network.encoder.channels=[8, 16]", {"network": {"encoder": {"channels": [8, 16]}}}),
        (
            "views=[rotation, {name: hue, degrees: 30}]",
            {"views": ["rotation", {"name": "hue", "degrees": 30}]},
        ),
        ("method.kl_as_log_std=true", {"method": {"kl_as_log_std": True}}),
        ("network.decoder.code_width=null", {"network": {"decoder": {"code_width": None}}}),
        ("training.minutes=", {"training": {"minutes": None}}),
        ("a.b=c=d", {"a": {"b": "c=d"}}),
        ("name=my digits", {"name": "my digits"}),
        (" training.seed = 4 ", {"training": {"seed": 4}}),
    ],
)
def test_an_assignment_is_a_nested_setting(assignment: str, changes: dict[str, Any]) -> None:
    parsed = parse_changes([assignment])
    assert parsed == changes
    assert repr(parsed) == repr(changes)  # 3 is not True and 4 is not 4.0


def test_assignments_add_up_and_the_last_one_wins() -> None:
    parsed = parse_changes(["training.epochs=3", "training.seed=1", "method.name=x", "training.epochs=5"])
    assert parsed == {"training": {"epochs": 5, "seed": 1}, "method": {"name": "x"}}
    assert parse_changes([]) == {}


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("training.epochs", "'training.epochs' sets nothing; write it as key=value"),
        ("=3", "'=3' sets nothing"),
        ("", "'' sets nothing"),
        ("views=[rotation", r"the value in 'views=\[rotation' is not understood as YAML"),
    ],
)
def test_what_is_no_assignment_is_refused(assignment: str, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        parse_changes([assignment])


@pytest.mark.parametrize("assignment", ["name=nan", "name=infinity"])
def test_words_stay_words(assignment: str) -> None:
    assert isinstance(parse_changes([assignment])["name"], str)


# ---- files


def test_a_file_is_read_and_named_after_itself(tmp_path: Path) -> None:
    file = tmp_path / "apples.yaml"
    file.write_text("a: {b: [1, 2.5]}\n")
    assert read_yaml(str(file), {}) == {"name": "apples", "a": {"b": [1, 2.5]}}
    file.write_text("name: pears\n")
    assert read_yaml(file, {}) == {"name": "pears"}
    file.write_text("# nothing yet\n")
    assert read_yaml(file, {}) == {"name": "apples"}


def test_a_packaged_name_goes_before_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("apples").write_text("of: the folder\n")
    (tmp_path / "packaged.yaml").write_text("of: the package\n")
    assert read_yaml("apples", {"apples": tmp_path / "packaged.yaml"})["of"] == "the package"
    assert read_yaml("apples", {})["of"] == "the folder"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("training:\n  epochs: 3\n  seed: [1\n", "{file}, line 4: not valid YAML"),
        ("method: {name: dualcontrast\ntraining: {}\n", "{file}, line 2: not valid YAML"),
        ("\tname: a\n", "{file}, line 1: not valid YAML"),
        (b"\xff\xfe\x00binary", "{file}: not valid YAML"),
        ("- a\n- b\n", "the recipe {file} is a mapping of settings, not ['a', 'b']"),
    ],
)
def test_a_damaged_file_is_named_with_the_line(text: str | bytes, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecipeError) as refusal:
        read_yaml(file, {})
    assert str(refusal.value) == problem.format(file=file)


@pytest.mark.parametrize(
    ("name", "clause"), [("mnits", "did you mean mnist?"), ("nowhere/x.yaml", "known are linemod, mnist")]
)
def test_an_unknown_name_is_answered_with_known_ones(name: str, clause: str, tmp_path: Path) -> None:
    known = {"mnist": tmp_path / "a.yaml", "linemod": tmp_path / "b.yaml"}
    with pytest.raises(RecipeError) as refusal:
        read_yaml(name, known)
    assert str(refusal.value) == f"no recipe is called {name} and no such file exists; {clause}"


def test_packaged_files_are_listed_by_name_in_order() -> None:
    recipes = packaged("recipes")
    assert list(recipes) == sorted(recipes)
    assert {"mnist", "linemod"} <= recipes.keys()
    assert all(path.is_file() and path.name == f"{name}.yaml" for name, path in recipes.items())
    assert "protein18" in packaged("recipes/simulations")
    assert "protein18" not in recipes  # folders inside are not searched
    assert packaged("no-such-folder") == {}


def test_only_mappings_are_settings() -> None:
    value = {"a": 1}
    assert mapping_of(value, "method") == value
    assert mapping_of(value, "method") is not value
    with pytest.raises(RecipeError, match=r"^method is a mapping of settings, not \[1\]$"):
        mapping_of([1], "method")


# ---- validation errors


class Strict(BaseModel):
    """A model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid")


class Part(Strict):
    """A part of a drink."""

    litres: float = Field(1.0, gt=0)
    taste: Literal["sweet", "sour"] = "sweet"


class Juice(Part):
    """A part with a setting of its own."""

    pulp: bool = False


class Drink(Strict):
    """A model with models inside it: alone, optional, and in a tuple."""

    name: str
    ice: Part = Part()
    lid: Part | None = None
    parts: tuple[Part, ...] = ()

    @field_validator("name")
    @classmethod
    def _short(cls, name: str) -> str:
        if len(name) > 5:
            raise ValueError("Give a shorter name")
        return name


def sentence_for(settings: Any, **options: Any) -> str:
    with pytest.raises(ValidationError) as refusal:
        Drink.model_validate(settings)
    return sentence(refusal.value, Drink, **options)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "name has no default; give it a value"),
        ({"name": "water!"}, "name = 'water!' is not accepted: give a shorter name"),
        ({"name": "a", "ice": {"litres": 0}}, "ice.litres = 0 is not accepted: input should be greater than 0"),
        (
            {"name": "a", "parts": [{}, {"taste": "bad"}]},
            "parts.1.taste = 'bad' is not accepted: input should be 'sweet' or 'sour'",
        ),
        ({"name": "a", 7: 2}, "7 is not accepted: keys should be strings"),
        ({"name": "a", "icee": 1}, "no setting is called icee; did you mean ice?"),
        ({"name": "a", "ice": {"litre": 1}}, "no setting is called ice.litre; did you mean litres?"),
        ({"name": "a", "lid": {"tast": 1}}, "no setting is called lid.tast; did you mean taste?"),
        ({"name": "a", "parts": [{}, {"xyz": 1}]}, "no setting is called parts.1.xyz; known are litres, taste"),
        # a key that belongs elsewhere is named with the place
        ({"name": "a", "litres": 2}, "no setting is called litres; did you mean ice.litres?"),
        # only the first error is described
        ({"name": "water!", "icee": 1}, "name = 'water!' is not accepted: give a shorter name"),
    ],
)
def test_the_first_error_is_one_sentence(settings: Any, expected: str) -> None:
    assert sentence_for(settings) == expected


def test_a_model_inside_another_is_named_with_its_key() -> None:
    assert sentence_for({}, inside="menu.0") == "menu.0.name has no default; give it a value"
    assert sentence_for({"name": "a", "icee": 1}, inside="menu").startswith("no setting is called menu.icee; ")


def test_a_part_can_be_more_specific_than_its_annotation() -> None:
    unknown = {"name": "a", "pulp": True}
    assert sentence_for(unknown) == "no setting is called pulp; known are ice, lid, name, parts"
    assert sentence_for(unknown, parts={"lid": Juice}) == "no setting is called pulp; did you mean lid.pulp?"
