"""No public name, parameter, default, field or base class is lost or changed by accident.

tests/public_api.txt has a line for each. What is new may be missing there, unless it breaks calls that there are: a parameter
without a default. When a change is meant, say so in CHANGELOG.md and have the file written anew:

    ASYNCFLOW_ACCEPT_API=1 pytest tests/test_public_api.py
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Generic, Protocol

import pytest

import asyncflow
from asyncflow import cluster, records, report, simulator, telemetry, testing
from asyncflow.contrib import opentelemetry, prometheus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILE = Path(__file__).with_name("public_api.txt")
MODULES = (asyncflow, cluster, records, report, simulator, telemetry, testing, opentelemetry, prometheus)
BASES = {value for each in MODULES for key in each.__all__ if isinstance(value := getattr(each, key), type)}
PLAIN = (bool, int, float, str, type(None))


def parameters(name: str, value: object) -> Iterator[str]:
    """Yield a line for each parameter of *value*, and one for what it returns."""
    try:
        signature = inspect.signature(value)  # type: ignore[arg-type] # refused by itself
    except (TypeError, ValueError):
        return
    for parameter in signature.parameters.values():
        if parameter.name in {"self", "cls"}:
            continue
        default = parameter.default
        is_open = parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
        if default is parameter.empty:
            rest = "any number" if is_open else "required"
        else:
            rest = f"= {default!r}" if isinstance(default, PLAIN) and not isinstance(default, enum.Enum) else "= ..."
        kind = "keyword only, " if parameter.kind is parameter.KEYWORD_ONLY else ""
        yield f"{name}({parameter.name}): {kind}{rest}"


def members(name: str, cls: type) -> Iterator[str]:
    """Yield a line for each public member of *cls* that is ours, and for each base that others know."""
    # What a foreign base is made of depends on its version.
    bases = [base for base in cls.__mro__[1:] if base is not object and base not in {Generic, Protocol}]
    known = (base for base in bases if base in BASES or not base.__module__.startswith("asyncflow"))
    yield from (f"{name} is a {base.__name__}" for base in known)
    if issubclass(cls, enum.Enum):
        yield from (f"{name}.{member.name} = {member.value!r}" for member in cls)
    fields = [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
    yield from (f"{name}.{field}: field" for field in (*fields, *getattr(cls, "__struct_fields__", ())))
    ours = [base for base in cls.__mro__ if base.__module__.startswith(("asyncflow", "tests", __name__))]
    for key, member in {key: member for base in reversed(ours) for key, member in vars(base).items()}.items():
        if key.startswith("_") or isinstance(member, enum.Enum) or inspect.ismemberdescriptor(member):
            continue
        plain = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if callable(plain):
            yield f"{name}.{key}: method"
            yield from parameters(f"{name}.{key}", plain)
        else:
            yield f"{name}.{key}: {'property' if isinstance(member, property) else 'attribute'}"


def api(modules: Iterable[ModuleType]) -> set[str]:
    """Return a line for each thing that users may rely on."""
    lines: set[str] = set()
    seen: set[type] = set()
    for module in modules:
        for key in module.__all__:
            name, value = f"{module.__name__}.{key}", getattr(module, key)
            if isinstance(value, type):
                lines.add(f"{name}: class")
                if value in seen:
                    continue  # under another name of the same
                seen.add(value)
                lines |= {*members(name, value)}
                if not issubclass(value, enum.Enum) and not getattr(value, "_is_protocol", False):
                    lines |= set(parameters(name, value))
            else:
                lines |= {f"{name}: {'function' if inspect.isroutine(value) else 'name'}"}
                lines |= set(parameters(name, value)) if inspect.isroutine(value) else set()
    return lines


def breaks(before: set[str], now: set[str]) -> list[str]:
    """Return what of *now* breaks code that was written against *before*."""
    owners = {line.split("(", maxsplit=1)[0].split(":", maxsplit=1)[0] for line in before}
    new = {line for line in now - before if line.endswith("required") and line.split("(", maxsplit=1)[0] in owners}
    # A parameter that is no longer required, or not by keyword only, accepts all that it did.
    looser = {line.split(":")[0] for line in now if "= " in line}
    gone = {line for line in before - now if not (line.endswith("required") and line.split(":")[0] in looser)}
    return sorted({f"gone: {line}" for line in gone} | {f"new, and required: {line}" for line in new})


def test_nothing_public_is_lost_or_changed() -> None:
    now = api(MODULES)
    if os.environ.get("ASYNCFLOW_ACCEPT_API"):
        FILE.write_text("".join(f"{line}\n" for line in sorted(now)), "utf-8")
    before = set(FILE.read_text("utf-8").splitlines())
    assert len(before) > 500
    assert breaks(before, now) == [], "if this is meant: CHANGELOG.md, and ASYNCFLOW_ACCEPT_API=1 pytest tests/test_public_api.py"


def module(source: str) -> set[str]:
    made = ModuleType("tests.made")
    exec(source, vars(made))  # noqa: S102 - the lines below
    vars(made)["__all__"] = [name for name in vars(made) if not name.startswith("__")]
    return api([made])


BEFORE = "class A:\n    def f(self, x, y=1): ...\n    p = property(len)\ndef g(): ...\n"


@pytest.mark.parametrize(
    ("after", "broken"),
    [
        (BEFORE, []),
        (BEFORE + "def h(z): ...\n", []),
        (BEFORE.replace("y=1", "y=1, *, z=None"), []),
        (BEFORE.replace("x, y=1", "x=0, y=1"), []),
        (BEFORE.replace("y=1", "y=2"), ["gone: tests.made.A.f(y): = 1"]),
        (BEFORE.replace("x, y=1", "x, z, y=1"), ["new, and required: tests.made.A.f(z): required"]),
        (BEFORE.replace("y=1", "*, y=1"), ["gone: tests.made.A.f(y): = 1"]),
        (BEFORE.replace("def g", "def _g"), ["gone: tests.made.g: function"]),
        (BEFORE.replace("    p = property(len)\n", ""), ["gone: tests.made.A.p: property"]),
        (BEFORE.replace("class A", "class B"), None),
    ],
)
def test_a_break_is_seen(after: str, broken: list[str] | None) -> None:
    found = breaks(module(BEFORE), module(after))
    assert found == broken if broken is not None else len(found) == 5
