"""What is shipped, what it declares to need, and what the README says about setting it up."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import asyncflow

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
DISTRIBUTION = "asyncflow-useapi"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)["project"]
    return table


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    [path] = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with ZipFile(path) as file:
        yield file


def test_the_wheel_holds_the_package_and_nothing_else(wheel: ZipFile) -> None:
    names = {name for name in wheel.namelist() if not name.startswith("asyncflow_useapi-")}
    shipped = (path for path in (ROOT / "asyncflow").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert names == {path.relative_to(ROOT).as_posix() for path in shipped}
    assert "asyncflow/py.typed" in names


def test_the_wheel_tells_its_licence_its_command_and_its_version(wheel: ZipFile) -> None:
    folder = f"asyncflow_useapi-{asyncflow.__version__}.dist-info"
    about = wheel.read(f"{folder}/METADATA").decode()
    assert "License-Expression: MIT\n" in about
    assert f"\nVersion: {asyncflow.__version__}\n" in about
    assert wheel.read(f"{folder}/licenses/LICENSE").startswith(b"MIT License")
    assert "asyncflow = asyncflow.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()


def test_what_is_installed_is_this_version() -> None:
    assert metadata.version(DISTRIBUTION) == asyncflow.__version__


def test_the_oldest_run_uses_the_declared_minima(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    run_time = [
        *project["dependencies"],
        *(line for key, lines in extras.items() if key not in {"test", "dev"} for line in lines),
    ]
    # Parts of one release: the SDK takes no other version of the API than its own.
    run_time += [line for line in extras["test"] if line.startswith("opentelemetry-sdk")]
    declared = {
        canonicalize_name(requirement.name): str(requirement.specifier).removeprefix(">=")
        for requirement in map(Requirement, run_time)
    }
    lines = (ROOT / "tests/constraints-oldest.txt").read_text("utf-8").splitlines()
    oldest = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {name: version.removesuffix(".0") for name, version in oldest.items()} == declared


def test_every_dependency_is_pinned_for_the_gate(project: dict[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines if not line.startswith("#")}
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    needed = {canonicalize_name(Requirement(line).name) for group in groups for line in group}
    assert needed - {DISTRIBUTION} <= pinned


def imported_by(folder: str) -> set[str]:
    """Return the names of the distributions that the files of *folder* import; type checkers bring `_typeshed` themselves."""
    files = [*(ROOT / folder).rglob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    known = sys.stdlib_module_names | {"_typeshed", "asyncflow", *(file.stem for file in files)}
    tops = {top.replace("_", "-") for name in names if (top := name.split(".")[0]) not in known}
    return {{"opentelemetry": "opentelemetry-api", "yaml": "pyyaml"}.get(top, top) for top in tops}


def test_what_is_imported_is_declared(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    declared = {key: {Requirement(line).name for line in lines} for key, lines in extras.items()}
    run_time = {Requirement(line).name for line in project["dependencies"]}
    extra = set[str]().union(*(names for key, names in declared.items() if key not in {"test", "dev"}))
    # Who imports the plug-in has pytest: it is pytest.
    assert imported_by("asyncflow") - {"pytest"} <= run_time | extra
    assert imported_by("tests") <= run_time | extra | declared["test"] | declared["dev"]


def test_the_readme_has_two_set_up_commands_and_the_gate_runs_them() -> None:
    commands = re.findall(r"^pip install .*$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert commands == ["pip install -e '.[cli]' && asyncflow demo", "pip install -e '.[test]' && pytest"]
    gate = (ROOT / ".ci/run").read_text("utf-8")
    assert "grep -E '^pip install -e ' README.md" in gate


def test_the_changelog_has_a_place_for_the_next_line() -> None:
    titles = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert titles[0] == "Unreleased"
