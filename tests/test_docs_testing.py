"""The page about testing runs as its reader would run it: all blocks in one file, under pytest, by the plug-in as installed."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from test_docs import BLOCKS
from test_pytest_plugin import ALONE

if TYPE_CHECKING:
    from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAGE = "\n\n".join(block.text for block in BLOCKS if block.page == "docs/testing.md" and block.language == "python")


def test_every_test_of_the_page_passes(tmp_path: Path) -> None:
    # The last block is for a conftest.py of its own; tests/test_pytest_plugin.py has it.
    (tmp_path / "test_page.py").write_text(PAGE.rpartition("from asyncflow import testing")[0], "utf-8")
    run = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "asyncflow", "-p", "no:cacheprovider", "."]
    done = subprocess.run(run, check=False, capture_output=True, text=True, cwd=tmp_path, env=ALONE, timeout=120)
    names = re.findall(r"def (test_\w+)", PAGE)
    assert len(names) > 10
    assert f"{len(names)} passed" in done.stdout, done.stdout
