from __future__ import annotations

import click
import pytest

from asyncflow.cli.input.options import as_duration, as_faults
from asyncflow.simulator import Faults

CONTEXT = click.Context(click.Command("any"))
OPTION = click.Option(["--any"])


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("none", Faults()),
        ("", Faults()),
        ("some", Faults.preset("some")),
        ("reset=0.1", Faults(reset=0.1)),
        ("none, latency = 0.1..0.5 ,rate_limit=20", Faults(latency=(0.1, 0.5), rate_limit=20.0)),
    ],
)
def test_faults_are_a_preset_and_members(text: str, faults: Faults) -> None:
    assert as_faults(CONTEXT, OPTION, text) == faults


@pytest.mark.parametrize("text", ["bad", "reset=often", "resets=0.1", "latency=1..2..3"])
def test_faults_that_there_are_not_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        as_faults(CONTEXT, OPTION, text)


def test_a_duration_may_be_left_out() -> None:
    assert as_duration(CONTEXT, OPTION, None) is None
    assert as_duration(CONTEXT, OPTION, "2m") == 120
    with pytest.raises(click.BadParameter, match="looks like 90s"):
        as_duration(CONTEXT, OPTION, "soon")
