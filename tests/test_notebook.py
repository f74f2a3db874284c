"""The boxes that values show themselves in: well-formed, escaped, and to be seen on white and on black."""

from __future__ import annotations

import pytest
from notebook_page import NASTY, Read

from asyncflow.notebook import COLOURS, WORDS, box


def test_a_box_holds_what_it_is_given_and_leaves_out_what_is_not_there() -> None:
    html = box(NASTY, [("a", None), ("b", ""), ("c", 0), (NASTY, NASTY)], counts={"failed": 1234, "partial": 0, "odd": 3})
    assert Read(html).texts == [NASTY, "c", "0", NASTY, NASTY]
    assert 'title="1,234 failed"' in html
    assert Read(box("nothing")).texts == ["nothing"]
    assert Read(box("x", table=[("kind", "jobs"), (NASTY, 12_000)])).texts == ["x", "kind", "jobs", NASTY, "12,000"]


def light(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("outcome", WORDS)
def test_colours_stand_out_on_white_and_on_black(outcome: str) -> None:
    own = light(COLOURS[outcome]) + 0.05
    assert min(1.05 / own, own / (light("#111111") + 0.05)) >= 2.9


def test_a_mark_of_colour_only_where_there_is_an_outcome() -> None:
    assert COLOURS["failed"] in box("x", outcome="failed")
    assert "background:#" not in box("x", outcome="odd")
