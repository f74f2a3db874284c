"""What a file is, by its first bytes, and whether that is what was to come.

Pure: no clock, no I/O, no asyncio. The bytes decide; what the media host calls them only counts where they tell nothing. Refused
is what is certainly no file of the kind: a page of text, or a picture in the place of a video.
"""

from __future__ import annotations

from typing import NamedTuple

from asyncflow.errors import DownloadError
from asyncflow.redaction import one_line

__all__ = ["HEAD_BYTES", "Format", "checked_format", "sniff"]

HEAD_BYTES = 512
"""So many bytes tell what a file is."""

_FAMILIES = {"video": "video", "image": "image", "music": "audio", "audio": "audio", "gif": "image"}
_BRANDS = {
    b"M4A ": ("m4a", "audio"),
    b"M4B ": ("m4a", "audio"),
    b"M4P ": ("m4a", "audio"),
    b"qt  ": ("mov", "video"),
    b"avif": ("avif", "image"),
    b"avis": ("avif", "image"),
    b"heic": ("heic", "image"),
    b"heix": ("heic", "image"),
    b"mif1": ("heic", "image"),
}
_RIFF = {b"WEBP": ("webp", "image"), b"WAVE": ("wav", "audio"), b"AVI ": ("avi", "video")}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "png", "image"),
    (b"\xff\xd8\xff", "jpg", "image"),
    (b"GIF87a", "gif", "image"),
    (b"GIF89a", "gif", "image"),
    (b"ID3", "mp3", "audio"),
    (b"OggS", "ogg", "audio"),
    (b"fLaC", "flac", "audio"),
    (b"\x1a\x45\xdf\xa3", "webm", "video"),
)
_WRITTEN = frozenset(b"\t\n\r\f") | frozenset(range(0x20, 0x7F))


class Format(NamedTuple):
    """A kind of file: the *ext* of its name, and its *family*: "video", "image", "audio", or "" where nothing is known."""

    ext: str
    family: str


def sniff(head: bytes) -> Format | None:
    """Return what a file that begins with *head* is, None for an unknown one."""
    if head[4:8] == b"ftyp":
        return Format(*_BRANDS.get(head[8:12], ("mp4", "video")))
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return Format(*_RIFF[head[8:12]])
    for magic, ext, family in _MAGIC:
        if head.startswith(magic):
            return Format(ext, family)
    return _sniff_frames(head)


def _sniff_frames(head: bytes) -> Format | None:
    """MPEG audio without a header begins with a frame: eleven bits set, then version and layer."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if layer == 0:
        return Format("aac", "audio") if head[1] & 0xF0 == 0xF0 else None
    is_sound = version != 1 and head[2] >> 4 != 15 and head[2] >> 2 & 3 != 3
    return Format("mp3", "audio") if is_sound else None


def checked_format(kind: str, head: bytes, content_type: str = "") -> Format:
    """Return what the file that begins with *head* is. `DownloadError` ("not_media") if a media of *kind* cannot be that.

    *content_type* is that of the answer, "" where there is none.
    """
    told = content_type.partition(";")[0].strip().lower()
    found = sniff(head)
    if found is None:
        found = _by_type(head, told)
    expected = _FAMILIES.get(kind)
    if expected == "audio" and found.family == "video":
        # Sound comes in the containers of videos too.
        return Format("m4a" if found.ext == "mp4" else found.ext, "audio")
    is_moving_picture = expected == "video" and found.ext == "gif"
    if expected and found.family and found.family != expected and not is_moving_picture:
        raise DownloadError(f"the link leads to {found.ext}, which is no {kind}", reason="not_media")
    return found


def _by_type(head: bytes, told: str) -> Format:
    if not head:
        raise DownloadError("the file is empty", reason="not_media")
    family, _, word = told.partition("/")
    is_page = family == "text" or word.endswith(("json", "xml", "html", "javascript"))
    if is_page or _is_text(head):
        shown = one_line(told)[:60] or "no type"
        raise DownloadError(f"the media host sent a page of text ({shown}) and no file", reason="not_media")
    word = word.removeprefix("x-")
    if family in {"video", "image", "audio"}:
        return Format(word if word.isascii() and word.isalnum() and len(word) <= 5 else "bin", family)
    return Format("bin", "")


def _is_text(head: bytes) -> bool:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith((b"<", b"{", b"[")) or _WRITTEN.issuperset(head)
