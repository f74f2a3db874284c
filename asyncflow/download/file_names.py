"""Names of files, made from a template: safe on every system, and without a word that a stranger chose freely.

Pure: no clock, no I/O, no asyncio. Prompts and titles are no fields of a template: they are private, and whoever wrote them could
draw on a screen with them. A job id holds an e-mail address, so its digest stands in for it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC
from hashlib import sha256
from string import Formatter
from typing import TYPE_CHECKING

from asyncflow.errors import UsageError
from asyncflow.redaction import digest, redact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from asyncflow.records import Job

__all__ = ["DEFAULT_TEMPLATE", "FIELDS", "NameFacts", "Template", "collision_key", "identity", "is_plain_name", "numbered"]

DEFAULT_TEMPLATE = "{service}-{created:%Y%m%d-%H%M%S}-{digest}-{index}.{ext}"
FIELDS = ("service", "kind", "model", "created", "digest", "index", "ext")

_TIME = "%Y%m%d-%H%M%S"
# Digits only, and the same in every locale and on every system.
_TIME_FORMAT = re.compile(r"(?:%[YmdHMSyjf]|[^%])+")
_INDEX_FORMAT = re.compile(r"0?[1-9]")
_LONGEST_BYTES = 180
"""Well below the 255 of most file systems, and below what is left of the 260 of a Windows path in a folder of usual depth."""

_FORBIDDEN = frozenset('<>:"/\\|?*@')
_DEVICES = frozenset({"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"}) | {
    f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"
}


@dataclass(frozen=True, slots=True)
class NameFacts:
    """What a name may tell of a job; *digest* stands for its id."""

    service: str
    kind: str
    model: str
    created_at: datetime | None
    digest: str

    @classmethod
    def of(cls, job: Job) -> NameFacts:
        """Return the facts of *job*."""
        return cls(job.service, job.kind, job.model or "", job.created_at, digest(identity(job)))


def identity(job: Job) -> str:
    """Return the id of *job*, or its record where it has none: some answers bring a file and name no job."""
    return job.job_id or sha256(job.raw).hexdigest()


class Template:
    """A checked template. `UsageError` says what is wrong with *text*, and which fields there are.

    *is_telling* is whether the digest and the index stand in each name, so that a name belongs to one file of one job.
    """

    def __init__(self, text: str = DEFAULT_TEMPLATE) -> None:
        self.text: str = text
        self._parts: list[tuple[str, str, str]] = list(_parts(text))
        fields = {field for _, field, _ in self._parts}
        self.is_telling: bool = {"digest", "index"} <= fields

    def name(self, facts: NameFacts, index: int, ext: str) -> str:
        """Return the name of the *index*-th file of a job; it ends with `.` and *ext* whatever the template says."""
        values = {
            "service": facts.service,
            "kind": facts.kind,
            "model": facts.model or "model",
            "digest": facts.digest,
            "ext": ext,
        }
        text = ""
        for literal, field, form in self._parts:
            text += literal
            if field == "created":
                text += "undated" if facts.created_at is None else facts.created_at.astimezone(UTC).strftime(form or _TIME)
            elif field == "index":
                text += format(index, form)
            elif field:
                text += values[field]
        return _safe(text.removesuffix(f".{ext}"), ext)


def numbered(name: str, number: int) -> str:
    """Return another name for a file where *name* is taken: `a.mp4` is followed by `a-2.mp4`."""
    stem, dot, ext = name.rpartition(".")
    suffix = f"-{number}{dot}{ext}"
    return _cut(stem, _LONGEST_BYTES - len(suffix)) + suffix


def collision_key(name: str) -> str:
    """Return what *name* has in common with every name that some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def is_plain_name(name: str) -> bool:
    """Return whether *name* is one that a template could have made: a file's in the folder itself, not hidden."""
    stem, dot, ext = name.rpartition(".")
    return bool(dot) and _safe(stem, ext) == name


def _parts(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield the parts of a template: literal, field and format."""
    if "/" in text or "\\" in text:
        raise UsageError("the template names files, and no folders: it holds a slash")
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise UsageError(f"the template cannot be read: {error}") from error
    if not parts:
        raise UsageError("the template is empty")
    for literal, field, form, conversion in parts:
        if field is None:
            yield literal, "", ""
            continue
        if field not in FIELDS or conversion:
            raise UsageError(f"the template knows {', '.join(f'{{{name}}}' for name in FIELDS)}, and not {{{field}}}")
        allowed = {"created": _TIME_FORMAT, "index": _INDEX_FORMAT}.get(field)
        if form and (allowed is None or not allowed.fullmatch(form)):
            raise UsageError(f"the template's {{{field}}} cannot be written as {form!r}: see {{created:%Y%m%d}} and {{index:02}}")
        yield literal, field, form or ""


def _safe(stem: str, ext: str) -> str:
    text = unicodedata.normalize("NFC", redact(stem))
    text = "".join(letter if letter.isprintable() and letter not in _FORBIDDEN else "_" for letter in text)
    # A dot or a dash in front means something to a shell, a dot or a space behind is dropped by Windows.
    text = _cut(text.lstrip(" .-~"), _LONGEST_BYTES - len(ext) - 1).rstrip(" .")
    if text.partition(".")[0].rstrip().casefold() in _DEVICES:
        text = f"_{text}"
    return f"{text or 'file'}.{ext}"


def _cut(text: str, most: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= most else encoded[:most].decode("utf-8", "ignore")
