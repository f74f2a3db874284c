"""Draw docs/pictures/architecture.svg, the layers of asyncflow; run `python docs/pictures/architecture.py`."""

from html import escape
from pathlib import Path

LAYERS = (
    ("built from public names", ("cli", "dashboard", "contrib")),
    ("one kind of I/O each", ("client", "watcher", "stream", "download", "journal", "webhook", "cluster")),
    ("pure: no clock, no I/O", ("protocol", "polling", "pacing", "services", "events", "report", "errors")),
)
WIDTH, LEFT, BOX, HIGH, GAP = 980, 190, 104, 40, 8
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#1f2937}rect{fill:#eef2ff;stroke:#4f46e5}.name{font-weight:600}"
    "line{stroke:#6b7280;stroke-width:1.5}path{fill:#6b7280}@media(prefers-color-scheme:dark){text{fill:#e5e7eb}rect{fill:#1e1b4b;stroke:#818cf8}}"
)


def picture() -> str:
    """Return the picture as SVG: a row for each layer, its packages as boxes, and arrows that point down."""
    parts = [f"<style>{STYLE}</style>"]
    for row, (title, packages) in enumerate(LAYERS):
        y = 16 + row * 84
        parts.append(f'<text x="8" y="{y + 25}">{escape(title)}</text>')
        for column, name in enumerate(packages):
            x = LEFT + column * (BOX + GAP)
            parts.append(f'<rect x="{x}" y="{y}" width="{BOX}" height="{HIGH}" rx="6"/>')
            parts.append(f'<text class="name" x="{x + BOX / 2:g}" y="{y + 25}" text-anchor="middle">{escape(name)}</text>')
        if row + 1 < len(LAYERS):
            middle = LEFT + (BOX + GAP) * 2 - GAP / 2
            parts.append(f'<line x1="{middle:g}" y1="{y + HIGH + 6}" x2="{middle:g}" y2="{y + 76}"/>')
            parts.append(
                f'<path d="M{middle - 4:g} {y + 74}l4 8l4 -8z"/><text x="{middle + 10:g}" y="{y + HIGH + 27}">imports</text>'
            )
    height = 16 + len(LAYERS) * 84 - 28
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    return "\n".join((head, *parts, "</svg>", ""))


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(picture(), "utf-8")
