"""Every public name can be had, says what it is, and is told of in the README or the docs."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import asyncflow

ROOT = Path(__file__).parent.parent
TYPE_ALIASES = {"AnyJob", "Event"}


def told() -> str:
    return "\n".join(path.read_text("utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))])


@pytest.mark.parametrize("name", asyncflow.__all__)
def test_a_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(asyncflow, name)
    assert name in TYPE_ALIASES or inspect.getdoc(value)
    assert re.search(rf"\b{name}\b", told()), f"neither the README nor the docs tell of {name}"


@pytest.mark.parametrize("name", asyncflow.__all__)
def test_the_public_methods_of_a_public_class_are_documented(name: str) -> None:
    value = getattr(asyncflow, name)
    members = vars(value).items() if inspect.isclass(value) else ()
    own = [
        member
        for key, member in members
        if not key.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
    ]
    assert [member for member in own if not inspect.getdoc(member)] == []


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


def test_public_names_are_listed_and_others_are_refused() -> None:
    assert set(asyncflow.__all__) <= set(dir(asyncflow))
    with pytest.raises(AttributeError, match="NoSuchName"):
        _ = vars(asyncflow)["__getattr__"]("NoSuchName")
