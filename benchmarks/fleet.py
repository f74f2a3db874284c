"""200 jobs at once, one server, several clients: python -m benchmarks.fleet [--rivals PYTHON] [--json FILE].

The jobs end evenly between 4 and 20 s after the start, in four kinds of weather. Each client waits for all of them in its natural
way and with its defaults (benchmarks/rivals), in a process of its own; what it did is counted by the server, and lag is the time
from a job's end to the first poll that saw it. CPU is that of the client's process, as a multiple of what a bare aiohttp loop
takes for as many requests in the same go: at the pace of a watch, forty a second, and flat out. *to fixed* compares the requests
with what polling at a fixed interval of the same mean lag needs for these jobs.
"""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks._report import Report, parser
from benchmarks._service import Orders, command, running
from benchmarks.rivals import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 70.0
SCENARIOS: dict[str, Callable[[float, float], dict[str, Any]]] = {
    "normal": lambda _time, _jobs: {},
    "503": lambda time, _jobs: {"outages": [(9.0 * time, 12.0 * time, "503")]},
    "reset": lambda time, _jobs: {"outages": [(9.5 * time, 11.5 * time, "reset")]},
    "20 a second": lambda time, jobs: {"rate": 20.0 * jobs / time},
}
COLUMNS = (
    "weather",
    "client",
    "delivered",
    "requests",
    "to fixed",
    "peak, requests in a second",
    "429s",
    "polls inside Retry-After",
    "lag mean",
    "p95",
    "max",
    "after the outage",
    "connections: most at a time / opened",
    "CPU s",
    "to bare, paced",
    "flat out",
    "waits ended by",
)


@dataclass
class Bench:
    """What the runs share: the *python* that has the rivals, how many *jobs*, and by how much their time is *stretched*."""

    python: str
    jobs: int
    stretch: float
    seed: int

    def orders(self, weather: str, shape: str = "flow") -> Orders:
        how = SCENARIOS[weather](self.stretch, self.jobs / 200)
        core = 1
        return Orders(self.jobs, 4.0 * self.stretch, 20.0 * self.stretch, shape, seed=self.seed, core=core, **how)

    def bare(self, name: str, count: int) -> float:
        """Return the CPU seconds of one request of a bare aiohttp loop: "bare" is flat out, "paced" is not."""
        took, _ = self._run(name, replace(self.orders("normal"), jobs=count), sys.executable)
        return float(took["cpu"]) / count

    def run(self, name: str, weather: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what the client says of a run, and what the server says."""
        adapter = importlib.import_module(f"benchmarks.rivals.{name}")
        orders = self.orders(weather, getattr(adapter, "SHAPE", name))
        return self._run(name, orders, self.python if adapter.PACKAGE else sys.executable)

    def _run(self, name: str, orders: Orders, python: str) -> tuple[dict[str, Any], dict[str, Any]]:
        with running(orders) as base:
            limit = str(LIMIT * self.stretch)
            arguments = [python, "-m", "benchmarks.rivals", name, base, str(orders.jobs), limit]
            ran = subprocess.run(arguments, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
            if ran.returncode:
                raise RuntimeError(f"{name}: {ran.stderr[-2000:]}")
            return json.loads(ran.stdout.splitlines()[-1]), command(base, "stats")

    def fixed(self, lag: float) -> int:
        """Return how many requests a fixed interval takes whose mean lag is this."""
        return sum(math.ceil(duration / (2.0 * lag)) for duration in self.orders("normal").durations())


def has(python: str, package: str) -> bool:
    """Return whether that interpreter has the distribution."""
    code = f"import importlib.metadata as m; m.version({package!r})"
    return not subprocess.run([python, "-c", code], capture_output=True, check=False).returncode  # noqa: S603 - an interpreter


def versions(python: str, names: list[str]) -> Iterator[str]:
    for name in names:
        package = importlib.import_module(f"benchmarks.rivals.{name}").PACKAGE
        if package:
            code = f"import importlib.metadata as m; print(m.version({package!r}))"
            ran = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 - an interpreter
            yield f"{package} {ran.stdout.strip()}"


def row(bench: Bench, name: str, weather: str) -> list[Any]:
    said, seen = bench.run(name, weather)
    lag = seen["lag_mean"]
    return [
        weather,
        "asyncflow" if name == "ours" else name.replace("_", " "),
        f"{said['delivered']}/{bench.jobs}" + (f", {said['twice']} twice" if said["twice"] else ""),
        seen["requests"],
        seen["requests"] / bench.fixed(lag) if lag and weather == "normal" else "",
        seen["peak"],
        seen["throttle"],
        seen["inside"],
        *(seen[key] if seen[key] is not None else "-" for key in ("lag_mean", "lag_p95", "lag_max")),
        seen["after_back"] if seen["after_back"] is not None else "",
        f"{seen['peak_open']} / {seen['connections']}",
        said["cpu"],
        said["cpu"] / seen["requests"],
        said["cpu"] / seen["requests"],
        ", ".join(f"{error} {count}" for error, count in said["errors"].items())
        + (f" (cut at {LIMIT * bench.stretch:.0f} s)" if said["seconds"] >= LIMIT * bench.stretch else ""),
    ]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rivals", default=sys.executable, metavar="PYTHON", help="the interpreter that has the rivals")
    options.add_argument("--clients", default=",".join(NAMES), help="which ones, separated by commas")
    options.add_argument("--weather", default=",".join(SCENARIOS), help="which kinds, separated by commas")
    options.add_argument("--jobs", type=int, default=200)
    options.add_argument("--stretch", type=float, default=1.0, help="by how much the jobs' time and the weather's is longer")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    bench = Bench(given.rivals, given.jobs, given.stretch, given.seed)
    report = Report("fleet")
    clients: list[str] = []
    for name in given.clients.split(","):
        package = importlib.import_module(f"benchmarks.rivals.{name}").PACKAGE
        if package and not has(bench.python, package):
            print(f"{name} is left out: make a virtual environment, pip install -r benchmarks/rivals/requirements.txt in it,")
            print("and pass its interpreter as --rivals")
        else:
            clients.append(name)
    weathers = given.weather.split(",")[: 1 if given.quick else None]
    paced, flat = [bench.bare("paced", 400)], [bench.bare("bare", 4000)]
    rows: list[list[Any]] = []
    for weather in weathers:
        for name in clients:
            rows.append(row(bench, name, weather))
            print(*rows[-1][:4], file=sys.stderr, flush=True)
        paced.append(bench.bare("paced", 400))
        flat.append(bench.bare("bare", 4000))
    for line in rows:
        line[-3] /= median(paced)
        line[-2] /= median(flat)
    report.table(f"{bench.jobs} jobs at once, {4 * bench.stretch:g} to {20 * bench.stretch:g} s long", COLUMNS, rows)
    print(
        f"\nbare aiohttp: {median(paced) * 1e6:.0f} us a request paced, {median(flat) * 1e6:.0f} flat out. "
        + ", ".join(versions(bench.python, clients))
    )
    report.finish(given.json)


if __name__ == "__main__":
    main()
