"""The server-side scripts: files of their own in the folder `lua`, each with the same beginning."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

__all__ = ["Script", "script"]


class Script(NamedTuple):
    """A script's text, and the name under which a server remembers it."""

    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """Return the script of this name."""
    folder = files("asyncflow.cluster") / "lua"
    text = "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in ("common", name))
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
