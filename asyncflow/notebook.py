"""How values show themselves in a notebook: small tables in HTML.

Pure: no clock, no I/O, no asyncio. A notebook is saved and passed on, so what goes in here must be fit for strangers: no ids, no
links, no prompts. Colours are those of the notebook, light or dark, but for a few that stand out on both; styles stand at each
element, since a style sheet would be one of the whole notebook.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from asyncflow.redaction import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["COLOURS", "WORDS", "box"]

WORDS = {
    "succeeded": "succeeded",
    "partial": "partial",
    "no_output": "no output",
    "failed": "failed",
    "abandoned": "given up",
    "pending": "pending",
}
"""What outcomes are called, in the order in which they are shown."""

COLOURS = {
    "pending": "#5b7cf0",
    "succeeded": "#2f9e6b",
    "partial": "#c08a12",
    "no_output": "#9270cf",
    "failed": "#d9554c",
    "abandoned": "#858b94",
}
"""Each can be told from white and from black; none is the only one to say what it says."""

_FONT = "font:14px/1.5 system-ui,-apple-system,sans-serif;font-variant-numeric:tabular-nums"
_BOX = f"{_FONT};display:inline-block;min-width:18em;max-width:60em;padding:10px 16px 12px"
_EDGE = "border:1px solid rgba(128,128,128,.35);border-radius:10px"
# Tables take their colour from the page around them only where they are told to.
_TABLE = "border-collapse:collapse;border:0;color:inherit;font:inherit"
_CELL = "border:0;padding:2px 0;text-align:left;vertical-align:top;background:none;white-space:normal"
_NUMBER = "border:0;padding:2px 0 2px 18px;text-align:right;background:none"
_FAINT = "font-weight:400;opacity:.72"


def box(
    title: str,
    facts: Iterable[tuple[str, object]] = (),
    *,
    outcome: str = "",
    counts: Mapping[str, int] | None = None,
    table: Sequence[Sequence[object]] = (),
) -> str:
    """Return a box with *title*, *facts* in a line each (None and "" are left out), a bar of *counts* by outcome, and a *table*.

    The first row of the table names its columns, the first column is text and the others are numbers. All texts are redacted,
    cut to a line and escaped.
    """
    head = f'<div style="font-weight:600;margin-bottom:4px">{_dot(outcome)}{_text(title)}</div>'
    return f'<div style="{_BOX};{_EDGE}">{head}{_bar(counts or {})}{_facts(facts)}{_table(table)}</div>'


def _facts(facts: Iterable[tuple[str, object]]) -> str:
    rows = "".join(
        f'<tr style="background:none"><th scope="row" style="{_CELL};{_FAINT};padding-right:18px">{_text(name)}</th>'
        f'<td style="{_CELL}">{_text(value)}</td></tr>'
        for name, value in facts
        if value is not None and value != ""
    )
    return f'<table style="{_TABLE};margin:0">{rows}</table>' if rows else ""


def _table(table: Sequence[Sequence[object]]) -> str:
    if not table:
        return ""
    head, *rows = table
    names = "".join(
        f'<th scope="col" style="{_CELL if not place else _NUMBER};{_FAINT}">{_text(name)}</th>'
        for place, name in enumerate(head)
    )
    lines = "".join(
        '<tr style="background:none">'
        + "".join(f'<td style="{_CELL if not place else _NUMBER}">{_text(value)}</td>' for place, value in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return (
        f'<table style="{_TABLE};margin:8px 0 0">'
        f'<thead><tr style="background:none">{names}</tr></thead><tbody>{lines}</tbody></table>'
    )


def _bar(counts: Mapping[str, int]) -> str:
    parts = "".join(
        f'<span title="{_text(count)} {WORDS[outcome]}" style="flex:{int(count)};background:{COLOURS[outcome]}"></span>'
        for outcome in WORDS
        if (count := counts.get(outcome, 0)) > 0
    )
    style = "display:flex;gap:2px;height:7px;margin:6px 0 8px;border-radius:9px;overflow:hidden"
    return f'<div style="{style}">{parts}</div>' if parts else ""


def _dot(outcome: str) -> str:
    colour = COLOURS.get(outcome)
    style = "display:inline-block;width:9px;height:9px;margin-right:8px;border-radius:50%"
    return f'<span style="{style};background:{colour}"></span>' if colour else ""


def _text(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return escape(one_line(text))
