"""Job ids as users hand them over: as arguments and in files, each checked before the first request.

Pure but for `read_source`.
"""

import codecs
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from asyncflow import UsageError, service_of
from asyncflow.cli.exits import BadIdsError
from asyncflow.cli.formatting import one_line

__all__ = ["checked", "collect_ids", "ids_in_text", "read_source", "text_of"]

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LONGEST_SHOWN = 48


def collect_ids(arguments: Iterable[str], sources: Iterable[str]) -> list[str]:
    """Return the ids of *arguments* and of the files called *sources* ("-" is standard input), each once, in order."""
    found = [("", argument) for argument in arguments if argument != "-"]
    names = list(sources) + ["-"] * any(argument == "-" for argument in arguments)
    for name in dict.fromkeys(names):
        shown = _shown_name(name)
        found += [(f"{shown}, line {number}: ", text) for number, text in ids_in_text(text_of(read_source(name), shown))]
    if not found:
        raise BadIdsError(
            f"no job ids in {' or '.join(map(_shown_name, names))}" if names else "no job ids: name some, or a --file of them"
        )
    return checked(found)


def checked(found: Iterable[tuple[str, str]]) -> list[str]:
    """Return the ids of *found*, pairs of where and id, each id once. `BadIdsError` names the first that cannot be one."""
    ids: dict[str, None] = {}
    flaws: list[str] = []
    for where, text in found:
        try:
            service_of(text)
        except UsageError as error:
            flaws.append(f"{where}{_flaw(text, error)}")
        else:
            ids[text] = None
    if flaws:
        raise BadIdsError(flaws[0] if len(flaws) == 1 else f"{flaws[0]} ({len(flaws) - 1} more like it)")
    return list(ids)


def _flaw(text: str, error: UsageError) -> str:
    if not text.strip():
        return "a job id is empty"
    hint = f": it is a file, use --file {one_line(text)}" if _is_file(text) else ""
    reason = (
        "is percent-encoded: give it as the service does"
        if error.reason == "percent_encoded"
        else "does not end in -bot:google-flow or -bot:flowmusic"
    )
    return (
        f"{one_line(text, _LONGEST_SHOWN)!r} is no job id{hint}"
        if hint
        else f"{one_line(text, _LONGEST_SHOWN)!r} is no job id: it {reason}"
    )


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long for a name, or no text for one
        return False


def ids_in_text(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number and the id of each line; blank lines and what follows a `#` are passed over."""
    for number, line in enumerate(text.splitlines(), 1):
        word = line.split("#", 1)[0].strip()
        if word:
            yield number, word


def text_of(content: bytes, name: str) -> str:
    """Return *content* as text, whatever editor wrote it. `BadIdsError` if it is none; *name* is how it is called there."""
    encoding = next((encoding for mark, encoding in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise BadIdsError(f"{name} is no text file")
    return text


def read_source(name: str, what: str = "job ids") -> bytes:
    """Return what the file called *name* holds, or standard input for "-"; it is read to its end. *what* is expected there."""
    if name == "-":
        return _read_standard_input(what)
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no such file"
        raise BadIdsError(f"{_shown_name(name)}: {reason.lower()}") from error


def _read_standard_input(what: str) -> bytes:
    # Both lack where the process was started without one.
    if sys.stdin is None or sys.stdin.closed:
        raise BadIdsError("standard input is closed")
    if sys.stdin.isatty():
        sys.stderr.write(f"asyncflow: reading {what} from the terminal, one a line; end with Ctrl-D\n")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise BadIdsError(f"standard input: {(error.strerror or 'cannot be read').lower()}") from error


def _shown_name(name: str) -> str:
    return "standard input" if name == "-" else one_line(name, 200)
