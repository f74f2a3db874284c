"""What the benchmarks share: interleaved repeats, one table, one JSON file."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PACKAGES = ("asyncflow-useapi", "aiohttp", "msgspec", "anyio")


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum of repeated measurements."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(min(values), statistics.median(values), max(values))

    def __str__(self) -> str:
        return f"{_short(self.minimum)} / {_short(self.median)} / {_short(self.maximum)}"


@dataclass
class Report:
    """The tables of one benchmark; a cell is a text, a number or a `Spread`, which is shown as minimum / median / maximum."""

    name: str
    packages: tuple[str, ...] = ()
    tables: list[dict[str, Any]] = field(default_factory=list)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        texts = [list(columns), *([_text(cell) for cell in row] for row in rows)]
        widths = [max(len(row[column]) for row in texts) for column in range(len(columns))]
        lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in texts]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        print(f"\n{title}\n\n" + "\n".join(lines), flush=True)
        cells = [[vars(cell) if isinstance(cell, Spread) else cell for cell in row] for row in rows]
        self.tables.append({"title": title, "columns": list(columns), "rows": cells})

    def finish(self, path: Path | None) -> None:
        """Print where this was measured, and write everything to *path* if there is one."""
        machine = environment(self.packages)
        print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items()))
        if path is not None:
            answer = {"benchmark": self.name, "environment": machine, "tables": self.tables}
            path.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")


def environment(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Return the versions, those of other *packages* too and the machine, without anything that names a person or a place."""
    versions: dict[str, Any] = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    versions["cores"] = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    for package in (*PACKAGES, *packages):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def interleaved(repeats: int, measures: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Run every measure once, then all of them again, so that a slow spell of the machine meets all alike."""
    results: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repeats):
        for name, measure in measures.items():
            results[name].append(measure())
    return results


def ratios(values: Sequence[float], base: Sequence[float]) -> Spread:
    """Return the ratios of measurements of the same rounds."""
    return Spread.of([value / other for value, other in zip(values, base, strict=True)])


def parser(description: str) -> argparse.ArgumentParser:
    """Return the options that all benchmarks have."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--json", type=Path, help="write the tables to this file")
    options.add_argument("--repeats", type=int, default=5, help="interleaved repeats of each measurement")
    options.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    return options


def _text(cell: object) -> str:
    return _short(cell) if isinstance(cell, float) else str(cell)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
