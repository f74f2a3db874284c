"""Every public name can be had, says what it is, and is told of in the README or the docs."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import asyncflow
from asyncflow import errors, events, records, simulator, telemetry, testing

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parent.parent
TYPE_ALIASES = {"AnyJob", "Event", "TelemetryEvent", "Hook"}
PUBLIC = [(module, name) for module in (asyncflow, records, simulator, telemetry, testing) for name in module.__all__]


def told() -> str:
    return "\n".join(path.read_text("utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))])


def of(module: ModuleType, name: str) -> object:
    value: object = getattr(module, name)
    return value


@pytest.mark.parametrize("name", asyncflow.__all__)
def test_the_readme_or_the_docs_tell_of_a_public_name(name: str) -> None:
    assert re.search(rf"\b{name}\b", told())


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_a_public_name_says_what_it_is(module: ModuleType, name: str) -> None:
    value = of(module, name)
    assert name in TYPE_ALIASES or value.__doc__


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_the_public_members_of_a_public_class_say_what_they_are(module: ModuleType, name: str) -> None:
    value = of(module, name)
    members = vars(value).items() if inspect.isclass(value) else ()
    own = {key: member for key, member in members if inspect.isfunction(member) or isinstance(member, property)}
    assert [key for key, member in own.items() if not key.startswith("_") and not inspect.getdoc(member)] == []


def test_what_a_type_checker_sees_is_what_is_loaded() -> None:
    tree = ast.parse(Path(asyncflow.__file__).read_text("utf-8"))
    imported = {
        alias.name: str(node.module).removeprefix("asyncflow.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("asyncflow.")
        for alias in node.names
    }
    assert imported == asyncflow._HOMES
    assert asyncflow.__all__ == sorted(imported)


def test_every_error_and_every_event_is_public() -> None:
    classes = {name for module in (errors, events) for name in module.__all__ if inspect.isclass(of(module, name))}
    assert classes <= set(asyncflow.__all__)


def test_public_names_are_listed_and_others_are_refused() -> None:
    assert set(asyncflow.__all__) <= set(dir(asyncflow))
    with pytest.raises(AttributeError, match="NoSuchName"):
        _ = vars(asyncflow)["__getattr__"]("NoSuchName")
