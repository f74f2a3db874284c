"""The architecture page and its picture show the tree as it is."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:asyncflow|tests)/[\w./-]+)`", PAGE))))
def test_what_the_page_names_exists(name: str) -> None:
    assert (ROOT / name).exists()


def test_the_picture_is_the_one_that_its_script_draws() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "pictures" / "architecture.py"))
    assert script["picture"]() == (ROOT / "docs" / "pictures" / "architecture.svg").read_text("utf-8")
    for _, packages in script["LAYERS"]:
        for name in packages:
            assert (ROOT / "asyncflow" / name).is_dir() or (ROOT / "asyncflow" / f"{name}.py").is_file()


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_its_context_and_its_consequences(path: Path) -> None:
    headings = [line for line in path.read_text("utf-8").splitlines() if line.startswith("## ")]
    assert headings == ["## Context", "## Decision", "## Consequences"]
    assert f"]({path.name})" in (path.parent / "README.md").read_text("utf-8")
