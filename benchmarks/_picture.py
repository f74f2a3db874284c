"""Panels over one time axis, as SVG: just enough of a plotting library for the pictures of this folder."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, LEFT, RIGHT, TOP, GAP = 1000, 74, 22, 122, 46
FONT = "font-family='DejaVu Sans, Verdana, Helvetica, Arial, sans-serif'"


@dataclass(frozen=True)
class Line:
    """Values at the picture's instants, None where there is none; *fill* draws the area below instead, *dots* single points."""

    label: str
    colour: str
    values: Sequence[float | None]
    fill: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Panel:
    """A row of the picture; *top* is the end of its axis, *log* makes that logarithmic from *bottom* on."""

    title: str
    lines: Sequence[Line]
    top: float
    ticks: Sequence[float]
    bottom: float = 0.0
    log: bool = False
    height: int = 150

    def y(self, value: float) -> float:
        """Return the share of the panel's height at which *value* lies."""
        if self.log:
            value = math.log(max(value, self.bottom) / self.bottom) / math.log(self.top / self.bottom)
        else:
            value = (value - self.bottom) / (self.top - self.bottom)
        return min(max(value, 0.0), 1.0)


@dataclass(frozen=True)
class Band:
    """A stretch of time with a name."""

    begin: float
    end: float
    label: str
    colour: str


@dataclass
class Picture:
    """Panels over *instants* (seconds) up to *end*; a mark each *tick* seconds, in *unit*s of *unit_length* seconds."""

    title: str
    subtitle: str
    instants: Sequence[float]
    panels: Sequence[Panel]
    end: float
    bands: Sequence[Band] = ()
    tick: float = 300.0
    unit: str = "min"
    unit_length: float = 60.0
    _parts: list[str] = field(default_factory=list)

    def svg(self) -> str:
        height = TOP + sum(panel.height + GAP for panel in self.panels) + 14
        self._parts = [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}' {FONT}>",
            f"<title>{escape(self.title)}</title>",
            f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
            text(LEFT, 30, self.title, size=18, weight="bold"),
            text(LEFT, 52, self.subtitle, size=12, colour="#555555"),
        ]
        bottom = height - 14 - GAP
        for band in self.bands:
            left, right = self._x(band.begin), self._x(band.end)
            size = f"width='{right - left:.1f}' height='{bottom - TOP + 28}'"
            self._parts.append(f"<rect x='{left:.1f}' y='{TOP - 28}' {size} fill='{band.colour}'/>")
            self._parts.append(text((left + right) / 2, TOP - 33, band.label, size=12, colour="#333333", anchor="middle"))
        y = TOP
        for number, panel in enumerate(self.panels):
            self._panel(panel, y, is_last=number == len(self.panels) - 1)
            y += panel.height + GAP
        return "\n".join([*self._parts, "</svg>"]) + "\n"

    def _x(self, instant: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * instant / self.end

    def _panel(self, panel: Panel, y: int, *, is_last: bool) -> None:
        parts, bottom = self._parts, y + panel.height
        parts.append(text(LEFT, y - 8, panel.title, size=13, weight="bold"))
        x = WIDTH - RIGHT
        for line in reversed(panel.lines):
            x -= 7.3 * len(line.label) + 4
            parts.append(text(x, y - 8, line.label, size=12))
            if line.dots:
                mark = f"<circle cx='{x - 10:.1f}' cy='{y - 12}' r='3.5'"
            else:
                mark = f"<rect x='{x - 17:.1f}' y='{y - 17}' width='13' height='{9 if line.fill else 3}'"
            parts.append(f"{mark} fill='{line.colour}'/>")
            x -= 26
        for tick in panel.ticks:
            at = bottom - panel.height * panel.y(tick)
            parts.append(f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{at:.1f}' y2='{at:.1f}' stroke='#00000018'/>")
            parts.append(text(LEFT - 8, at + 4, f"{tick:g}", size=11, colour="#555555", anchor="end"))
        for line in panel.lines:
            self._line(panel, line, bottom)
        parts.append(f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{bottom}' y2='{bottom}' stroke='#777777'/>")
        for number in range(round(self.end / self.tick) + 1):
            at = self._x(number * self.tick)
            parts.append(f"<line x1='{at:.1f}' x2='{at:.1f}' y1='{bottom}' y2='{bottom + 4}' stroke='#777777'/>")
            unit = f" {self.unit}" if is_last and not number else ""
            parts.append(
                text(
                    at,
                    bottom + 17,
                    f"{number * self.tick / self.unit_length:g}{unit}",
                    size=11,
                    colour="#555555",
                    anchor="middle",
                )
            )

    def _line(self, panel: Panel, line: Line, bottom: int) -> None:
        stretches: list[list[tuple[float, float]]] = [[]]
        for instant, value in zip(self.instants, line.values, strict=True):
            if value is None:
                stretches.append([])
            else:
                stretches[-1].append((self._x(instant), bottom - panel.height * panel.y(value)))
        for points in filter(None, stretches):
            track = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            if line.dots:
                self._parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2' fill='{line.colour}'/>" for x, y in points]
            elif line.fill:
                track = f"{points[0][0]:.1f},{bottom} {track} {points[-1][0]:.1f},{bottom}"
                self._parts.append(f"<polygon points='{track}' fill='{line.colour}' fill-opacity='0.75'/>")
            else:
                style = f"fill='none' stroke='{line.colour}' stroke-width='1.8' stroke-linejoin='round'"
                self._parts.append(f"<polyline points='{track}' {style}/>")


def text(
    x: float, y: float, words: str, *, size: int, colour: str = "#111111", weight: str = "normal", anchor: str = "start"
) -> str:
    style = f"font-size='{size}' fill='{colour}' font-weight='{weight}' text-anchor='{anchor}'"
    return f"<text x='{x:.1f}' y='{y:.1f}' {style}>{escape(words)}</text>"
