"""A manifest: a file of submits, a line each, as JSON lines or as CSV, checked whole before anything is sent.

Pure: no clock, no I/O, no asyncio.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, cast

import msgspec

from asyncflow import SubmitRequest, UsageError
from asyncflow.cli.exits import CommandExit, ExitCode
from asyncflow.cli.formatting import one_line

__all__ = ["BadManifestError", "Format", "ManifestLine", "ManifestProblems", "read_manifest"]

Format = Literal["json", "csv"]

_MOST_SHOWN = 5
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_PROSE = frozenset({"lyrics", "model", "prompt", "replyRef", "title", "voice"})
_DELIMITERS = ",;\t"
_OWN = frozenset({"key", "path"})


class ManifestLine(NamedTuple):
    """A line of a manifest: where it begins in the file, what it asks for, and the key that the journal knows it by."""

    number: int
    line: SubmitRequest
    key: str


class BadManifestError(CommandExit):
    """The manifest cannot be submitted as it is; nothing was sent."""

    def __init__(self, text: str) -> None:
        super().__init__(text, ExitCode.USAGE)


class ManifestProblems:
    """What is wrong with the manifest called *name*, line by line."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._found: list[tuple[int, str]] = []

    def note(self, number: int, text: str) -> None:
        """Note what is wrong with the line of this *number*."""
        self._found.append((number, text))

    def raise_if_any(self) -> None:
        """Raise `BadManifestError` with the first few."""
        if self._found:
            first = [f"{self._name}, line {number}: {one_line(text)}" for number, text in sorted(self._found)[:_MOST_SHOWN]]
            more = len(self._found) - len(first)
            last = [f"and {more:,} more like these"] if more else []
            raise BadManifestError("\n  ".join(["the manifest has flaws, nothing was submitted", *first, *last]))


def read_manifest(text: str, name: str, form: Format | None = None) -> list[ManifestLine]:
    """Return the lines of *text*, all of them checked. *form* is told by the first character where it is None.

    `BadManifestError` names the file by *name* and the lines by their numbers.
    """
    if form is None:
        form = "json" if text.lstrip()[:1] in {"{", "["} else "csv"
    problems = ManifestProblems(name)
    seen: Counter[str] = Counter()
    first: dict[object, int] = {}
    entries: list[ManifestLine] = []
    for number, value in _json_rows(text, problems) if form == "json" else _csv_rows(text, problems):
        try:
            line = SubmitRequest.of(value)
            key = line.known_as(seen)
        except UsageError as error:
            before = first.get(_key(value)) if error.reason == "duplicate_key" else None
            problems.note(number, error.message if before is None else f"the key is that of line {before}")
        else:
            first.setdefault(line.key, number)
            entries.append(ManifestLine(number, line, key))
    problems.raise_if_any()
    if not entries:
        raise BadManifestError(f"{name} holds no lines to submit")
    return entries


def _key(value: object) -> object:
    return cast("Mapping[str, object]", value).get("key") if isinstance(value, Mapping) else None


def _json_rows(text: str, problems: ManifestProblems) -> Iterator[tuple[int, Any]]:
    for number, row in enumerate(text.split("\n"), 1):
        if row.strip():
            try:
                yield number, msgspec.json.decode(row)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                problems.note(number, "is no JSON by itself: a manifest has one object a line")


def _csv_rows(text: str, problems: ManifestProblems) -> Iterator[tuple[int, Any]]:
    header = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[_Column] | None = None
    end = 0
    try:
        for row in reader:
            number, end = end + 1, reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if columns is None:
                columns = _columns(row, number, problems)
                if not columns:
                    return
            elif len(row) > len(columns):
                problems.note(number, f"has {len(row)} cells for {len(columns)} columns")
            else:
                value = _row_value(columns, row, number, problems)
                if value is not None:
                    yield number, value
    except csv.Error as error:
        problems.note(reader.line_num, f"is no CSV: {error}")


class _Column(NamedTuple):
    path: tuple[str, ...]
    read: Callable[[str], Any]


def _columns(names: list[str], number: int, problems: ManifestProblems) -> list[_Column]:
    """Return what the header's *names* mean, nothing if they mean nothing: then that is noted."""
    columns: list[_Column] = []
    for name in (name.strip() for name in names):
        field, _, kind = name.partition(":")
        if not field or kind not in _READERS:
            problems.note(number, f"the column {name!r} is no field, or field:{'|'.join(filter(None, _READERS))}")
            return []
        columns.append(_Column(tuple(field.split(".")), str if not kind and field in _PROSE | _OWN else _READERS[kind]))
    fields = [column.path for column in columns]
    double = next((field for field in fields if fields.count(field) > 1), None)
    if double is not None:
        problems.note(number, f"two columns are called {'.'.join(double)!r}")
        return []
    if ("path",) not in fields:
        problems.note(number, "there is no column path: the first line of a CSV manifest names its columns")
        return []
    return columns


def _row_value(columns: list[_Column], row: list[str], number: int, problems: ManifestProblems) -> dict[str, Any] | None:
    """Return the line that *row* is, None if a cell is not what its column is for. Empty cells are no fields."""
    value: dict[str, Any] = {"body": _Fields()}
    for (path, read), cell in zip(columns, row, strict=False):
        if not cell.strip():
            continue
        try:
            found = read(cell)
        except ValueError:
            problems.note(number, f"the cell of {'.'.join(path)} is not of its column's kind")
            return None
        if path[0] in _OWN and len(path) == 1:
            value[path[0]] = found.strip()
        elif not _put(value["body"], path, found):
            problems.note(number, f"{'.'.join(path)} belongs to a field that has a value of its own")
            return None
    return value


class _Fields(dict[str, Any]):
    """An object that columns fill; one that a cell holds is whole already."""


def _put(body: _Fields, path: tuple[str, ...], value: object) -> bool:
    """Put *value* into *body*, below the fields of *path*; return whether there is room for it."""
    *parents, name = path
    place: object = body
    for parent in parents:
        place = place.setdefault(parent, _Fields()) if isinstance(place, _Fields) else None
    if not isinstance(place, _Fields) or name in place:
        return False
    place[name] = value
    return True


def _number(cell: str) -> float:
    return msgspec.json.decode(cell.strip(), type=int | float)


def _flag(cell: str) -> bool:
    return msgspec.json.decode(cell.strip().lower(), type=bool)


def _any(cell: str) -> object:
    """Return a number, true, false, an object or a list where the cell looks like one, else its text."""
    word = cell.strip()
    if word.lower() in {"true", "false"}:
        return word.lower() == "true"
    if _NUMBER.fullmatch(word) or word[0] in "{[":
        return msgspec.json.decode(word)
    return cell


_READERS: dict[str, Callable[[str], Any]] = {
    "": _any,
    "text": str,
    "number": _number,
    "flag": _flag,
    "json": msgspec.json.decode,
}
