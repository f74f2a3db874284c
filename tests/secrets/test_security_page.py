"""Each line of SECURITY.md names tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_line_of_the_threat_model_names_tests_that_exist() -> None:
    lines = [line for line in (ROOT / "SECURITY.md").read_text("utf-8").splitlines() if line.startswith("| ") and "? |" in line]
    files = (ROOT / "tests").rglob("test_*.py")
    known = {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text("utf-8"))}
    named = {line: re.findall(r"test_\w+", line) for line in lines}
    assert len(lines) > 20
    assert [line for line, names in named.items() if not names or not known.issuperset(names)] == []
