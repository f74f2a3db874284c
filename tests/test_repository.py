"""The files that contributors meet say what is true of this repository."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
YAML = sorted([*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"])


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_a_configuration_file_is_yaml(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)


def test_the_workflow_runs_the_gate_on_every_supported_python() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))["jobs"]["gate"]
    assert any(".ci/run" in step.get("run", "") for step in job["steps"])
    with (ROOT / "pyproject.toml").open("rb") as file:
        classifiers = tomllib.load(file)["project"]["classifiers"]
    supported = [version for line in classifiers if (version := line.rpartition(" :: ")[2]).startswith("3.")]
    assert job["strategy"]["matrix"]["python"] == supported


def test_a_release_is_published_without_a_stored_secret() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text("utf-8")
    assert yaml.safe_load(text)["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in text


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:\.ci|asyncflow|docs|tests|\.github)/[\w./-]*)`", GUIDE))))
def test_what_the_guide_names_exists(name: str) -> None:
    assert (ROOT / name).exists()


def test_the_guide_installs_an_extra_that_there_is() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    named = re.findall(r"-e '\.\[(\w+)\]'", GUIDE + (ROOT / "Makefile").read_text("utf-8"))
    assert named
    assert set(named) <= set(extras)
