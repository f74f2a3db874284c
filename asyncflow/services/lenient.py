"""How an answer that is not quite as documented becomes one that is: repair what can be read, drop what cannot.

Pure: no clock, no I/O, no asyncio. The typed decoders beside this module refuse such answers as a whole; here every field is
looked at by itself, so that one odd value costs that value and not the record.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import msgspec
from msgspec import Raw, Struct, inspect

from asyncflow.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
S = TypeVar("S", bound=Struct)

_REASON = re.compile(r"PUBLIC_ERROR_[A-Z0-9_]*[A-Z0-9]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SIGNED_AT = re.compile(r"[?&]X-(?:Goog|Amz)-Date=(\d{8}T\d{6})Z")
# What the caller wrote comes back in these: a prompt about PUBLIC_ERROR_MINOR is no reason of anything.
_ECHOES = frozenset({"request", "requestData", "prompt", "mediaTitle", "title", "lyrics"})
_NEWLINE = 10
# No record is half as deep, and what is not deeper can be walked through by calls.
_DEEPEST = 100
_TOO_DEEP = "the answer is nested too deeply"
_MILLISECONDS_FROM = 100_000_000_000


def loads(body: bytes) -> Json:
    """Return the JSON value of *body*, whatever its flaws: a byte order mark, invalid UTF-8, lone surrogates, NaN.

    `DecodeError` for what is no JSON at all, or is nested deeper than any answer.
    """
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    try:
        return cast("Json", json.loads(text, strict=False, parse_constant=_nothing))
    except RecursionError:
        raise DecodeError(_TOO_DEEP) from None
    except ValueError as error:
        raise DecodeError("the answer is empty" if not text.strip() else _describe(text)) from error


def load_object(body: bytes) -> dict[str, Json]:
    """Return the JSON object that *body* is, or that stands alone in a list there. `DecodeError` for anything else."""
    value = loads(body)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise DecodeError(f"the answer is JSON, but no object: {type(value).__name__}")
    if _is_deep(value):
        raise DecodeError(_TOO_DEEP)
    return value


def faithful(body: bytes, value: Json) -> Raw:
    """Return *body* as it came if it is a JSON object that others can read too, else *value* written anew: all of it is kept."""
    try:
        body.decode()
        if not body.lstrip().startswith(b"["):
            msgspec.json.decode(body, type=Raw)
            return single_line(body)
    except ValueError:
        pass
    return Raw(json.dumps(clean(value)).encode())


def single_line(body: bytes) -> Raw:
    """Return *body* without line breaks, which JSON has between its tokens only: an event is one line wherever it is written."""
    # The number is found several times faster than the bytes b"\n" are.
    if body.find(_NEWLINE) >= 0:
        body = body.replace(b"\r", b" ").replace(b"\n", b" ")
    return Raw(body.strip())


def clean(value: Json) -> Json:
    """Return a JSON value that can be written: lone surrogates replaced, and null for numbers too large for a float (1E999)."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {clean_text(key): clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return value


def clean_text(text: str) -> str:
    """Return *text* with lone surrogates replaced."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def forgive(value: Json, struct: type[S]) -> S:
    """Return the *struct* that *value* is meant to be; a field that is null or cannot be read keeps its default."""
    return cast("S", _struct(value if isinstance(value, dict) else {}, _shape(struct)))


def parse_time(text: str | None) -> datetime | None:
    """Return the instant in UTC that *text* names, None where it names none. A time without an offset is UTC already."""
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is UTC:
            return when
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        return _epoch(text)


def parse_expiry(url: str) -> datetime | None:
    """Return when the signed link *url* ends by its own words (`Expires=`, or `X-Goog-Date=` and `X-Goog-Expires=`)."""
    before, _, after = url.partition("xpires=")
    if not after:
        return None
    signed = _SIGNED_AT.search(url) if before.endswith("-E") else None
    return _expiry(after.partition("&")[0], None if signed is None else signed[1])


def number(text: str) -> int | float | None:
    """Return the number that *text* is, None if it is none (or is infinite, or absurdly long)."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value - value == 0 else None


def plain_code(*codes: int | str | None) -> int | str | None:
    """Return the first of *codes* that is one, as a number if it is a number in quotes."""
    code = next((code for code in codes if code is not None), None)
    found = number(code) if isinstance(code, str) else None
    return code if found is None else int(found)


def deepest_reason(value: Json) -> str | None:
    """Return the `PUBLIC_ERROR_` word that lies deepest in *value*, the first of equally deep ones; echoes are left out."""
    found = sorted(_reasons(value, 0), key=lambda entry: -entry[0])
    return found[0][1] if found else None


def _reasons(value: Json, depth: int) -> Iterator[tuple[int, str]]:
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        yield from ((depth, word) for word in _REASON.findall(value))
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in _ECHOES:
                yield from _reasons(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _reasons(item, depth + 1)


def _is_deep(value: Json) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        lists = [item for item in level if isinstance(item, list)]
        objects = [list(item.values()) for item in level if isinstance(item, dict)]
        level = [inner for items in (*lists, *objects) for inner in items]
        if not level:
            return False
    return True


def _nothing(_constant: str) -> None:
    """NaN and its kin are no JSON and no value."""


def _describe(text: str) -> str:
    return "the answer is HTML: is this the service's address?" if text.lstrip().startswith("<") else "the answer is no JSON"


@lru_cache(maxsize=1024)  # The links of one job end together.
def _expiry(seconds: str, signed_at: str | None) -> datetime | None:
    try:
        start = 0 if signed_at is None else datetime.strptime(f"{signed_at}Z", "%Y%m%dT%H%M%S%z").timestamp()
        return _instant(start + int(seconds))
    except (ValueError, OverflowError, OSError):
        return None


def _epoch(text: str) -> datetime | None:
    seconds = number(text)
    if seconds is None or not 0 < seconds < _MILLISECONDS_FROM * 1000:
        return None
    return _instant(seconds)


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds / 1000 if seconds >= _MILLISECONDS_FROM else seconds, UTC)


def _shape(struct: type[Struct]) -> inspect.StructType:
    shape = _SHAPES.get(struct)
    if shape is None:
        shape = _SHAPES[struct] = cast("inspect.StructType", inspect.type_info(struct))
    return shape


_SHAPES: dict[type[Struct], inspect.StructType] = {}


def _struct(value: Json, wanted: inspect.Type) -> Struct | None:
    if not isinstance(value, dict):
        return None
    shape = cast("inspect.StructType", wanted)
    fields: dict[str, object] = {}
    for field in shape.fields:
        mended = _mend(value.get(field.encode_name), field.type)
        if mended is not None:
            fields[field.name] = mended
    return shape.cls(**fields)


def _list(value: Json, wanted: inspect.Type) -> list[object] | None:
    items = [value] if isinstance(value, dict) else value
    if not isinstance(items, list):
        return None
    inner = cast("inspect.ListType", wanted).item_type
    return [_mend(item, inner) for item in items]


def _str(value: Json, _wanted: inspect.Type) -> str | None:
    if isinstance(value, str):
        return clean_text(value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _int(value: Json, _wanted: inspect.Type) -> int | None:
    found = _float(value, _wanted)
    return int(found) if found is not None and found == int(found) else None


def _float(value: Json, _wanted: inspect.Type) -> float | None:
    if isinstance(value, str):
        return number(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and value - value == 0 else None


def _bool(value: Json, _wanted: inspect.Type) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def _union(value: Json, wanted: inspect.Type) -> object:
    for choice in cast("inspect.UnionType", wanted).types:
        mended = _mend(value, choice)
        if mended is not None:
            return mended
    return None


def _mend(value: Json, wanted: inspect.Type) -> object:
    if value is None:
        return None
    return _MENDERS[type(wanted)](value, wanted)


def _none(_value: Json, _wanted: inspect.Type) -> None:
    """Nothing but null is null."""


_MENDERS: dict[type[inspect.Type], Callable[[Json, inspect.Type], object]] = {
    inspect.StructType: _struct,
    inspect.ListType: _list,
    inspect.StrType: _str,
    inspect.IntType: _int,
    inspect.FloatType: _float,
    inspect.BoolType: _bool,
    inspect.UnionType: _union,
    inspect.NoneType: _none,
}
