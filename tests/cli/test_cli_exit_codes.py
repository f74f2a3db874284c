from __future__ import annotations

import pytest

from asyncflow.cli.exits import ExitCode, code_of, verdict
from asyncflow.errors import error_class


@pytest.mark.parametrize(
    ("timed_out", "lost", "bad", "code"),
    [(0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 0, 5), (0, 1, 1, 5), (1, 0, 0, 3), (1, 1, 1, 3), (1, 0, 1, 3)],
)
def test_of_several_reasons_the_strongest_wins(timed_out: int, lost: int, bad: int, code: int) -> None:
    assert verdict(timed_out=timed_out, lost=lost, bad=bad) == code


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("usage", ExitCode.USAGE),
        ("unauthorized", ExitCode.REFUSED),
        ("payment_required", ExitCode.REFUSED),
        ("insufficient_credits", ExitCode.REFUSED),
        ("wait_timeout", ExitCode.TIMEOUT),
        ("stall_timeout", ExitCode.TIMEOUT),
        ("not_found", ExitCode.LOST),
        ("transport", ExitCode.LOST),
        ("of tomorrow", ExitCode.LOST),
    ],
)
def test_an_error_has_a_code(kind: str, code: ExitCode) -> None:
    assert code_of(error_class(kind)("why", kind=kind)) is code
