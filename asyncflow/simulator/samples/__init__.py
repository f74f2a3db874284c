"""Small media files that really play: a video and a song shipped as bytes, pictures and sounds made by code.

Pure but for two files of this package that are read once. Every file differs from every other by the name it is made for, so
that checksums tell whether the right one arrived; *size* pads a file to about as many bytes without making it unplayable.
"""

import math
import struct
import zlib
from functools import cache
from hashlib import sha256
from importlib.resources import files

__all__ = ["gif", "m4a", "mp4", "png", "wav"]

_SIDE = 48
_WAV_RATE = 8000


def mp4(name: str, size: int = 0) -> bytes:
    """Return a video of one and a half seconds, H.264 in MP4."""
    return _with_free_box(_shipped("clip.mp4"), name, size)


def m4a(name: str, size: int = 0) -> bytes:
    """Return a tone of one and a half seconds, AAC in MP4."""
    return _with_free_box(_shipped("song.m4a"), name, size)


def png(name: str, size: int = 0) -> bytes:
    """Return a picture: a square whose colours come from *name*."""
    red, green, blue = sha256(name.encode()).digest()[:3]
    rows = b"".join(
        b"\0" + b"".join(bytes(((red + 3 * x) & 255, (green + 3 * y) & 255, (blue + x + y) & 255)) for x in range(_SIDE))
        for y in range(_SIDE)
    )
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"tEXt", b"Title\0" + name.encode()) + _chunk(b"IDAT", zlib.compress(rows))
    padding = _chunk(b"zzPa", bytes(size - len(chunks) - 32)) if size > len(chunks) + 32 else b""
    return b"\x89PNG\r\n\x1a\n" + chunks + padding + _chunk(b"IEND", b"")


def wav(name: str, size: int = 0) -> bytes:
    """Return a tone of a second or more, mono, eight bits; its pitch comes from *name*."""
    pitch = 220 + sha256(name.encode()).digest()[0]
    wave = bytes(128 + round(90 * math.sin(2 * math.pi * pitch * i / _WAV_RATE)) for i in range(_WAV_RATE))
    sound = wave * max(1, size // _WAV_RATE)
    title = name.encode().ljust(64, b"\0")[:64]
    note = b"LIST" + struct.pack("<I", 12 + len(title)) + b"INFOINAM" + struct.pack("<I", len(title)) + title
    form = (
        b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, _WAV_RATE, _WAV_RATE, 1, 8)
        + note
        + b"data"
        + struct.pack("<I", len(sound))
    )
    return b"RIFF" + struct.pack("<I", len(form) + len(sound)) + form + sound


def gif(name: str) -> bytes:
    """Return a picture of one pixel, the smallest that viewers accept; its colour comes from *name*."""
    colour = sha256(name.encode()).digest()[:3]
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + colour + bytes(3)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00;"


@cache
def _shipped(name: str) -> bytes:
    return files("asyncflow.simulator.samples").joinpath(name).read_bytes()


def _with_free_box(file: bytes, name: str, size: int) -> bytes:
    """Return *file* with a `free` box behind it: players skip it, checksums do not."""
    content = name.encode() + bytes(max(0, size - len(file) - len(name) - 8))
    return file + struct.pack(">I", 8 + len(content)) + b"free" + content


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
