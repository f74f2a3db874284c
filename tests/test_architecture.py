"""The layers of asyncflow as a table, and the checker that holds every import to it.

Imports point down. A shell knows the pure rooms and the one kind of I/O that is its own; only the client knows other shells.
An import under `if TYPE_CHECKING:` is not counted: it names a type for a reader and is never carried out.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import asyncflow

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(asyncflow.__file__).parent

PURE_ROOMS = frozenset(
    {"errors", "events", "notebook", "pacing", "polling", "protocol", "records", "redaction", "report", "services", "telemetry"}
)
# Their `__all__` is public, like that of asyncflow.
PUBLIC_PACKAGES = frozenset({"cluster", "records", "report", "simulator", "telemetry", "testing"})

# What pure code may use of the standard library: nothing here reads a clock, does I/O or knows an event loop. `random` is for
# the type of the generator that the caller passes in.
PURE_STDLIB = frozenset(
    {
        *("__future__", "abc", "array", "dataclasses", "enum", "types", "typing"),
        *("bisect", "collections", "contextvars", "functools", "heapq", "itertools", "operator", "weakref"),
        *("base64", "binascii", "email.utils", "json", "re", "string", "struct", "unicodedata", "urllib.parse"),
        *("hashlib", "hmac", "html", "zlib"),
        *("datetime", "math", "random"),
    }
)


@dataclass(frozen=True)
class Room:
    """What the files of one room may import: rooms of ours, distributions, the standard library whole or only its pure part."""

    ours: frozenset[str] = frozenset()
    outside: frozenset[str] = frozenset()
    is_pure: bool = False


def pure(*ours: str, outside: tuple[str, ...] = ()) -> Room:
    return Room(frozenset(ours), frozenset(outside), is_pure=True)


def shell(*ours: str, outside: tuple[str, ...] = ()) -> Room:
    return Room(PURE_ROOMS | {"logs", *ours}, frozenset({"msgspec", *outside}))


def built_on_public_names(*outside: str) -> Room:
    return Room(frozenset({"public", "redaction"}), frozenset({"msgspec", *outside}))


def witness(*outside: str) -> Room:
    return Room(frozenset(), frozenset(outside))


ROOMS = {
    "redaction": pure(),
    "errors": pure("redaction"),
    "notebook": pure("redaction"),
    "services": pure("errors", "notebook", "redaction", outside=("msgspec",)),
    "records": pure("services"),
    "protocol": pure("errors", "records", "redaction", "services", outside=("msgspec",)),
    "polling": pure(),
    "pacing": pure(),
    "events": pure("errors", "records", "redaction", "services", outside=("msgspec",)),
    "report": pure("errors", "events", "notebook", "records", "redaction", "services", outside=("msgspec",)),
    "telemetry": pure("errors", "records", "redaction", "services", outside=("msgspec",)),
    "stream": Room(outside=frozenset({"anyio"})),
    "watcher": shell("stream", outside=("anyio",)),
    "client": shell("stream", "watcher", "download", outside=("aiohttp", "anyio", "yarl")),
    "journal": shell(),
    "download": shell("stream", outside=("aiohttp", "anyio", "yarl")),
    "webhook": shell(outside=("aiohttp",)),
    "cluster": shell("stream", "watcher", outside=("anyio", "redis")),
    "__main__": Room(frozenset({"cli"})),
    "cli": built_on_public_names("anyio", "click", "rich"),
    "dashboard": built_on_public_names("aiohttp", "anyio"),
    "contrib": built_on_public_names("opentelemetry", "prometheus_client"),
    "logs": Room(frozenset({"redaction", "telemetry"}), frozenset({"msgspec"})),
    "pytest_plugin": built_on_public_names("pytest", "pytest_asyncio"),
    "testing": witness(),
    "simulator": witness("aiohttp", "msgspec"),
}
# The half of the simulator that says what the service says; the other half says it over HTTP. Its samples are shipped files.
SCENARIO = frozenset(
    f"simulator.{name}" for name in ("identity", "faults", "google_flow.records", "signed_links", "flowmusic.records", "scenario")
)
ROOMS |= dict.fromkeys(SCENARIO, Room(SCENARIO | {"simulator.samples"}, frozenset({"msgspec"}), is_pure=True))
ROOMS["simulator.samples"] = Room()


def modules() -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the file of every module of asyncflow."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def room_of(module: str) -> str:
    """Return the room of the dotted name *module*, "public" for asyncflow itself."""
    parts = module.split(".")[1:]
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in ROOMS), parts[0] if parts else "public")


def imports(tree: ast.AST, module: str, *, is_package: bool = False) -> Iterator[tuple[str, str | None]]:
    """Yield each import that is carried out as (module, name or None), those in functions too."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                for other in node.orelse:
                    yield from imports(ast.Module([other], []), module, is_package=is_package)
            case ast.Import():
                yield from ((alias.name, None) for alias in node.names)
            case ast.ImportFrom():
                base = node.module or ""
                if node.level:
                    package = module.split(".") if is_package else module.split(".")[:-1]
                    base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [base])])
                yield from ((base, alias.name) for alias in node.names)
            case _:
                yield from imports(node, module, is_package=is_package)


def is_allowed(importer: str, base: str, name: str | None) -> bool:
    room = ROOMS[importer]
    top = base.split(".", maxsplit=1)[0]
    if top == "asyncflow":
        target = room_of(f"{base}.{name}" if name else base)
        target = target if target in ROOMS else "public"
        shared = target.split(".", maxsplit=1)[0]
        is_own = shared == importer.split(".", maxsplit=1)[0] and importer not in SCENARIO
        return is_own or target in room.ours or ("public" in room.ours and shared in PUBLIC_PACKAGES)
    if top in sys.stdlib_module_names:
        return not room.is_pure or not PURE_STDLIB.isdisjoint({top, base, f"{base}.{name}"})
    return top in room.outside


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """Return what *source* may not do as the module of that dotted name, each in a sentence."""
    importer = room_of(module)
    found = imports(ast.parse(source), module, is_package=is_package)
    if importer == "public":
        return [f"{module} loads {base} eagerly" for base, _ in found if base.startswith("asyncflow")]
    if importer not in ROOMS:
        return [f"{module} is in no room of the table"]
    return [f"{module} imports {base}:{name}" for base, name in found if not is_allowed(importer, base, name)]


@pytest.mark.parametrize(("module", "path"), [pytest.param(module, path, id=module) for module, path in modules()])
def test_imports_point_down(module: str, path: Path) -> None:
    assert violations(module, path.read_text("utf-8"), is_package=path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("asyncflow.polling", "import asyncio"),
        ("asyncflow.polling", "import time"),
        ("asyncflow.pacing", "def now():\n    from time import monotonic"),
        ("asyncflow.errors", "from asyncflow.records import Job"),
        ("asyncflow.errors", "from asyncflow import records"),
        ("asyncflow.errors", "from asyncflow import Job"),
        ("asyncflow.errors", "from . import records"),
        ("asyncflow.errors", "from .records import Job"),
        ("asyncflow.redaction", "import asyncflow.errors"),
        ("asyncflow.services.job", "from .. import protocol"),
        ("asyncflow.services.job", "import aiohttp"),
        ("asyncflow.protocol", "import urllib.request"),
        ("asyncflow.protocol", "from urllib import request"),
        ("asyncflow.events", "try:\n    import socket\nexcept ImportError:\n    pass"),
        ("asyncflow.watcher", "from asyncflow.client import AsyncClient"),
        ("asyncflow.watcher", "import aiohttp"),
        ("asyncflow.stream", "from asyncflow.errors import AsyncflowError"),
        ("asyncflow.stream", "if TYPE_CHECKING:\n    pass\nelse:\n    import aiohttp"),
        ("asyncflow.client", "from asyncflow.simulator import Simulator"),
        ("asyncflow.journal", "from asyncflow.watcher import JobWatcher"),
        ("asyncflow.cli.commands.watch", "from asyncflow.watcher import JobWatcher"),
        ("asyncflow.cli.commands.watch", "import aiohttp"),
        ("asyncflow.simulator.server", "from asyncflow.protocol import job_path"),
        ("asyncflow.simulator.server", "from asyncflow import Job"),
        ("asyncflow.simulator.scenario", "from asyncflow.simulator.server import serve"),
        ("asyncflow.simulator.scenario", "from asyncflow.simulator import server"),
        ("asyncflow.simulator.scenario", "import asyncio"),
        ("asyncflow.testing", "from asyncflow import JobWatcher"),
        ("asyncflow.utils", ""),
        ("asyncflow", "from asyncflow.errors import AsyncflowError"),
        ("asyncflow", "from asyncflow import errors"),
    ],
)
def test_the_checker_refuses(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("asyncflow.errors", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from asyncflow.records import Job"),
        ("asyncflow.errors", "import typing\nif typing.TYPE_CHECKING:\n    from asyncflow.records import Job"),
        ("asyncflow.protocol", "from urllib.parse import quote"),
        ("asyncflow.protocol", "from urllib import parse"),
        ("asyncflow.services.job", "from asyncflow.services import google_flow"),
        ("asyncflow.services.job", "from . import google_flow"),
        ("asyncflow.client", "import aiohttp, asyncio, time"),
        ("asyncflow.client", "from asyncflow.watcher import JobWatcher"),
        ("asyncflow.cli.commands.watch", "from asyncflow import JobWatcher"),
        ("asyncflow.cli.commands.watch", "from asyncflow.records import Job"),
        ("asyncflow.cli.commands.watch", "from asyncflow.cli import table"),
        ("asyncflow.simulator.server", "from asyncflow.simulator.scenario import Scenario"),
        ("asyncflow.simulator.scenario", "from asyncflow.simulator import signed_links"),
    ],
)
def test_the_checker_lets_pass(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_a_package_resolves_its_own_relative_imports() -> None:
    assert violations("asyncflow.records", "from . import base\nfrom .base import Job", is_package=True) == []
    assert violations("asyncflow.records", "from .. import client", is_package=True) == [
        "asyncflow.records imports asyncflow:client"
    ]


STARTERS = frozenset({"TaskGroup", "Thread", "create_task", "create_task_group", "ensure_future", "gather", "to_thread"})


def started_by(source: str) -> list[str]:
    """Return what *source* calls to start tasks or threads of its own."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = [
        call.attr if isinstance(call, ast.Attribute) else call.id for call in calls if isinstance(call, ast.Attribute | ast.Name)
    ]
    return [name for name in names if name in STARTERS]


@pytest.mark.parametrize(("module", "path"), [pytest.param(module, path, id=module) for module, path in modules()])
def test_only_the_stream_starts_tasks(module: str, path: Path) -> None:
    """And the simulator, which is a server; in a journal, SQLite has a thread of its own."""
    allowed = {"stream": STARTERS, "simulator": STARTERS, "journal": {"Thread"}}.get(room_of(module), frozenset())
    assert set(started_by(path.read_text("utf-8"))) <= allowed


def test_a_started_task_is_seen() -> None:
    assert started_by("from asyncio import create_task\ncreate_task(work())") == ["create_task"]
    assert started_by("async with anyio.create_task_group() as group: ...") == ["create_task_group"]
    assert started_by("sink.start_soon(work)") == []


def test_every_pure_room_is_measured() -> None:
    with (PACKAGE.parent / "pyproject.toml").open("rb") as file:
        measured = tomllib.load(file)["tool"]["coverage"]["run"]["include"]
    rooms = {path for room in PURE_ROOMS for path in (f"asyncflow/{room}.py", f"asyncflow/{room}/*.py")}
    assert set(measured) == rooms | {"asyncflow/services/*/*.py", "asyncflow/simulator/scenario.py"}


def loaded_by(*arguments: str) -> set[str]:
    """Return the names of the modules that a fresh interpreter has loaded after running with *arguments*."""
    run = [sys.executable, "-X", "importtime", *arguments]
    report = subprocess.run(run, check=True, capture_output=True, text=True, timeout=60).stderr
    return {line.rpartition("|")[2].strip() for line in report.splitlines() if line.startswith("import time:")}


def test_importing_asyncflow_is_light() -> None:
    loaded = loaded_by("-c", "import asyncflow")
    assert "asyncflow" in loaded
    assert loaded.isdisjoint({"aiohttp", "anyio", "asyncio", "asyncflow.errors", "click", "msgspec", "rich"})


def text_decisions(source: str) -> list[str]:
    """Return the comparisons in *source* that look into the text of an error: a change of words would break them unseen."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.In | ast.NotIn | ast.Eq | ast.NotEq) for operator in node.ops)
        and any(isinstance(side, ast.Attribute) and side.attr == "message" for side in (node.left, *node.comparators))
    ]


@pytest.mark.parametrize(("module", "path"), [pytest.param(module, path, id=module) for module, path in modules()])
def test_nothing_is_decided_by_the_text_of_an_error(module: str, path: Path) -> None:
    assert text_decisions(path.read_text("utf-8")) == [], f"{module}: give the error a reason"


def test_a_decision_by_text_is_seen() -> None:
    assert text_decisions('x = 1 if "same key" in error.message else 2') == ["'same key' in error.message"]
    assert text_decisions('x = 1 if error.reason == "duplicate_key" else 2') == []
