"""What `asyncflow doctor` finds on this machine: Python, packages, names that are taken, settings."""

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from msgspec import Struct

import asyncflow
from asyncflow.cli.client import host, open_client
from asyncflow.cli.exits import CommandExit
from asyncflow.cli.formatting import one_line

__all__ = ["Finding", "look_at_installation", "look_at_settings", "requirements"]

DISTRIBUTION = "asyncflow-useapi"
_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)\s*(?:\[[^\]]*\])?\s*(?:>=\s*([0-9][0-9.]*))?")
_OURS = re.compile(r"^asyncflow(?:/__init__)?\.py,", re.MULTILINE)
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


class Finding(Struct, frozen=True):
    """Something that was looked at: its *name*, its *state*, what was seen, and what to do about it ("" if nothing)."""

    name: str
    state: Literal["ok", "warn", "fail", "skip"]
    text: str
    advice: str = ""


def look_at_installation() -> Iterator[Finding]:
    """Yield findings about Python, our own package and what it needs."""
    python = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    yield Finding("python", "ok", python)
    yield _own_package()
    yield from _other_owners()
    yield from _shadows()
    yield _dependencies()


def look_at_settings() -> Iterator[Finding]:
    """Yield findings about the settings in the environment; the token is not shown."""
    token = os.environ.get("USEAPI_TOKEN")
    advice = "set USEAPI_TOKEN to your API token, user:<number>-..., from useapi.net"
    if not token or not token.strip():
        yield Finding("token", "fail", "USEAPI_TOKEN is empty" if token is not None else "USEAPI_TOKEN is not set", advice)
    elif (flaw := _flaw_of(token)) is not None:
        yield Finding("token", "fail", f"USEAPI_TOKEN: {flaw}", advice)
    else:
        yield Finding("token", "ok", f"USEAPI_TOKEN is set and well-formed, {len(token)} characters")
    yield _base_url()
    if found := [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())]:
        advice = "the commands connect directly; in Python pass a session of your own to AsyncClient(session=...)"
        yield Finding("proxy", "warn", f"{', '.join(found)} is set and not used", advice)


def _own_package() -> Finding:
    where = one_line(str(Path(asyncflow.__file__).parent), 200)
    try:
        known = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return Finding(
            "asyncflow",
            "warn",
            f"{asyncflow.__version__} in {where}, not installed as a package",
            f"python -m pip install '{DISTRIBUTION}[cli]'",
        )
    if known != asyncflow.__version__:
        return Finding(
            "asyncflow",
            "warn",
            f"{asyncflow.__version__} in {where}, but {known} is installed",
            "another folder comes first: see PYTHONPATH and the folder in which you are",
        )
    return Finding("asyncflow", "ok", f"{known} in {where}")


def _other_owners() -> Iterator[Finding]:
    """Two distributions may install the same import name, and the later one overwrites the files of the earlier."""
    owners = {each.metadata["Name"] for each in metadata.distributions() if _OURS.search(each.read_text("RECORD") or "")}
    owners |= {each.metadata["Name"] for each in metadata.distributions() if "asyncflow" in _top_level(each)}
    for owner in sorted(owners - {DISTRIBUTION}):
        yield Finding(
            "name taken",
            "fail",
            f"the package {one_line(owner, 60)} installs asyncflow too",
            f"python -m pip uninstall {one_line(owner, 60)}, then python -m pip install --force-reinstall '{DISTRIBUTION}[cli]'",
        )


def _top_level(distribution: metadata.Distribution) -> list[str]:
    return (distribution.read_text("top_level.txt") or "").split()


def _shadows() -> Iterator[Finding]:
    """Yield what else is called asyncflow: a file of that name beside a script is imported instead of us."""
    own = Path(asyncflow.__file__).resolve().parent
    folders = dict.fromkeys([Path.cwd(), *(Path(entry or ".") for entry in sys.path)])
    for folder in folders:
        for path in (folder / "asyncflow.py", folder / "asyncflow" / "__init__.py"):
            try:
                is_other = path.is_file() and path.resolve().parent != own
            except OSError:
                continue
            if is_other:
                name = path if path.suffix == ".py" and path.name != "__init__.py" else path.parent
                yield Finding(
                    "name taken", "warn", f"{one_line(str(name), 200)} may be imported instead", "rename it, or move it"
                )


def requirements() -> dict[str, str]:
    """Return what we need besides Python, with the least version of each, "" where any will do; extras but cli left out."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        lines = ["aiohttp", "anyio", "msgspec", "yarl", "click", "rich"]
    wanted = [line for line in lines if "extra" not in line or "'cli'" in line or '"cli"' in line]
    found = (_REQUIREMENT.match(line) for line in wanted)
    return {match[1]: match[2] or "" for match in found if match is not None}


def _dependencies() -> Finding:
    told, flaws = list[str](), list[str]()
    for name, least in requirements().items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = "" if find_spec(name) is None else "of unknown version"
        told.append(f"{name} {version}".strip())
        if not version:
            flaws.append(f"{name} is missing")
        elif least and _numbers(version) < _numbers(least):
            flaws.append(f"{name} {version} is older than {least}")
    if flaws:
        return Finding("packages", "fail", "; ".join(flaws), f"python -m pip install --upgrade '{DISTRIBUTION}[cli]'")
    return Finding("packages", "ok", ", ".join(told))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _flaw_of(token: str) -> str | None:
    if token != token.strip():
        return "there is white space around it"
    if token[0] in "\"'":
        return "there are quotation marks around it"
    if token.lower().startswith("bearer"):
        return "leave out the word Bearer"
    if not re.fullmatch(r"user:\d+-[!-~]+", token):
        return "it does not look like user:<number>-..."
    return None


def _base_url() -> Finding:
    if not os.environ.get("USEAPI_BASE_URL"):
        return Finding("base URL", "ok", f"{host()}, the default")
    try:
        open_client()
    except CommandExit as ending:
        if "BASE_URL" in ending.text:
            return Finding("base URL", "fail", ending.text, "unset USEAPI_BASE_URL, or set it to https://...")
    scheme = os.environ["USEAPI_BASE_URL"].partition(":")[0].lower()
    if scheme == "http" and not host().startswith(("127.", "localhost", "[::1]")):
        return Finding("base URL", "warn", f"{host()} without TLS", "the token travels in the clear: use https")
    return Finding("base URL", "ok", f"{host()}, from USEAPI_BASE_URL")
