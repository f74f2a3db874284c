"""docs/faults.md says what is so: each row names tests that exist, each answer of the service has a row, exit codes are right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from test_faults_service import CASES

from asyncflow.cli.exits import code_of
from asyncflow.errors import error_class

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"


class Row(NamedTuple):
    fault: str
    seen: str
    code: str
    tests: list[str]


def rows() -> Iterator[Row]:
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if line.startswith("| ") and len(cells) == len(Row._fields) and cells[0] != "fault":
            fault, seen, code, names = cells
            yield Row(fault, seen, code, re.findall(r"test_\w+", names))


def names_of_tests() -> set[str]:
    files = (ROOT / "tests").rglob("test_*.py")
    return {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text("utf-8"))}


def test_every_row_of_the_page_names_tests_that_exist() -> None:
    known = names_of_tests()
    assert len(list(rows())) > 50
    assert [row.fault for row in rows() if not row.tests or not known.issuperset(row.tests)] == []


@pytest.mark.parametrize("name", CASES)
def test_the_page_has_a_row_for_each_answer_of_the_service(name: str) -> None:
    event, kind = CASES[name].word.split()
    [row] = [row for row in rows() if f"`{name}`" in row.fault]
    said = {"raises": "error", "abandoned": "`Abandoned`", "unreachable": "`Unreachable`"}[event]
    assert row.seen.startswith(f"{said} `{kind}`")


def test_the_exit_codes_of_the_page_are_those_of_the_command() -> None:
    """What ends the watch has the code of its error; a job that is given up or out of reach to the end makes it 5."""
    codes = {
        (seen[1], row.code): str(int(code_of(error_class(seen[1])(kind=seen[1])))) if row.seen.startswith("error") else "5"
        for row in rows()
        if (seen := re.match(r"(?:error|`Abandoned`|`Unreachable`) `(\w+)`", row.seen)) is not None
    }
    assert len(codes) > 20
    assert {kind: told for (kind, told), right in codes.items() if told != right} == {}
