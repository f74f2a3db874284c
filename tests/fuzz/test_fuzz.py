"""Fuzzing with Hypothesis, for seconds; `.ci/fuzz` does it with coverage for ten minutes. What once crashed is tried again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fuzz_targets import TARGETS, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LONG = bool(os.environ.get("ASYNCFLOW_LONG"))
FOLDER = Path(__file__).parent.parent / "fixtures-fuzz"
EXAMPLES = {"protocol": 300, "callback": 300, "journal": 40, "id_file": 300}
PIECES = [
    b"\0",
    b"\xff",
    b'"',
    b"{",
    b"[",
    b"]",
    b"}",
    b",",
    b"1E999",
    b"-0",
    b"\\ud800",
    b"\xed\xa0\x80",
    b"\r\n",
    b"\xe2\x80\xa8",
    b"#",
]


@st.composite
def mutated(draw: st.DrawFn, target: str) -> bytes:
    """Draw a good input with some of its bytes changed, lost, doubled, moved or exchanged for another's; or any bytes at all."""
    data = bytearray(draw(st.sampled_from(seeds(target))) if draw(st.integers(0, 9)) else draw(st.binary(max_size=200)))
    for _ in range(draw(st.integers(0, 6))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 40))
        match draw(st.integers(0, 5)):
            case 0 if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length]
            case 3:
                data[at:at] = draw(st.sampled_from(PIECES))
            case 4:
                other = draw(st.sampled_from(seeds(target)))
                data[at:] = other[at:]
            case _:
                data[at : at + length] = draw(st.binary(max_size=8))
    return bytes(data)


@pytest.mark.parametrize("target", TARGETS)
def test_whatever_comes_in_is_taken_or_refused_in_our_own_words(target: str) -> None:
    @settings(
        max_examples=EXAMPLES[target] * (50 if LONG else 1),
        deadline=None,
        suppress_health_check=[HealthCheck.large_base_example, HealthCheck.data_too_large, HealthCheck.too_slow],
    )
    @given(mutated(target))
    def run(data: bytes) -> None:
        TARGETS[target](data)

    run()


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in sorted(FOLDER.glob("*/*"))]
)
def test_what_once_crashed_does_not(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_good_inputs_are_there_to_start_from(target: str) -> None:
    assert len(seeds(target)) > 1
    for seed in seeds(target):
        TARGETS[target](seed)
