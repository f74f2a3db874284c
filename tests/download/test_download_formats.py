"""What a file is, by its first bytes, and what is refused in the place of one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow import DownloadError
from asyncflow.download.file_types import HEAD_BYTES, Format, checked_format, sniff
from asyncflow.simulator import samples

BOX = b"\0\0\0\x18ftyp"
HEADS = {
    "mp4": [samples.mp4("a"), BOX + b"isom", BOX + b"avc1", BOX + b"????"],
    "mov": [BOX + b"qt  "],
    "m4a": [samples.m4a("a"), BOX + b"M4B "],
    "avif": [BOX + b"avif"],
    "heic": [BOX + b"heic"],
    "png": [samples.png("a")],
    "jpg": [b"\xff\xd8\xff\xe0\0\x10JFIF"],
    "webp": [b"RIFF\x10\0\0\0WEBPVP8 "],
    "gif": [samples.gif("a"), b"GIF87a\1\0"],
    "wav": [samples.wav("a")],
    "avi": [b"RIFF\x10\0\0\0AVI LIST"],
    "mp3": [b"ID3\4\0\0", b"\xff\xfb\x90\x64", b"\xff\xf3\x40\xc0", b"\xff\xe3\x18\xc4"],
    "aac": [b"\xff\xf1\x50\x80"],
    "ogg": [b"OggS\0\2"],
    "flac": [b"fLaC\0\0"],
    "webm": [b"\x1a\x45\xdf\xa3\x9f\x42"],
}
PAGES = [
    b"<!DOCTYPE html><html>",
    b"\xef\xbb\xbf <?xml version='1.0'?>",
    b'{"error": "expired"}',
    b"[]",
    b"Access denied",
    b"\n\n  <html>",
]


@pytest.mark.parametrize(("ext", "head"), [(ext, head) for ext, heads in HEADS.items() for head in heads])
def test_first_bytes_tell_the_format(ext: str, head: bytes) -> None:
    found = sniff(head[:HEAD_BYTES])
    assert found is not None
    assert found.ext == ext


@pytest.mark.parametrize(
    "head", [b"", b"\xff", b"\xff\xff\xff", b"\xff\xe8\x00", b"\xff\xfb\xf0", b"\xff\xe1\x50", b"RIFF\0\0\0\0????", b"\0\1\2"]
)
def test_other_bytes_tell_nothing(head: bytes) -> None:
    assert sniff(head) is None


@pytest.mark.parametrize("content_type", ["video/mp4", "application/octet-stream", "", "text/html; charset=utf-8"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_text_is_no_file_whatever_it_is_called(page: bytes, content_type: str) -> None:
    with pytest.raises(DownloadError, match="page of text") as refusal:
        checked_format("video", page, content_type)
    assert refusal.value.reason == "not_media"


@pytest.mark.parametrize(
    "content_type", ["text/html", "application/json", "application/problem+json", "image/svg+xml", "text/javascript"]
)
def test_unknown_bytes_that_are_called_a_page_are_one(content_type: str) -> None:
    with pytest.raises(DownloadError):
        checked_format("video", b"\x1f\x8b\x08", content_type)


def test_known_bytes_count_more_than_what_they_are_called() -> None:
    assert checked_format("video", samples.mp4("a"), "text/html") == Format("mp4", "video")


@pytest.mark.parametrize(
    ("content_type", "found"),
    [
        ("video/x-matroska", Format("bin", "video")),
        ("video/av1", Format("av1", "video")),
        ("audio/x-aiff; q=1", Format("aiff", "audio")),
        ("image/../sh", Format("bin", "image")),
        ("application/octet-stream", Format("bin", "")),
        ("", Format("bin", "")),
    ],
)
def test_unknown_bytes_go_by_their_type_as_far_as_it_is_plain(content_type: str, found: Format) -> None:
    kind = {"video": "video", "audio": "music", "image": "image"}.get(content_type.partition("/")[0], "video")
    assert checked_format(kind, b"\0\1\2\3", content_type) == found


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("video", samples.png("a")),
        ("image", samples.mp4("a")),
        ("video", samples.wav("a")),
        ("music", samples.png("a")),
        ("gif", samples.m4a("a")),
    ],
)
def test_a_file_of_another_family_is_refused(kind: str, head: bytes) -> None:
    with pytest.raises(DownloadError, match=f"no {kind}"):
        checked_format(kind, head)


@pytest.mark.parametrize(
    ("kind", "head", "ext"),
    [
        ("music", BOX + b"isom", "m4a"),
        ("music", b"\x1a\x45\xdf\xa3", "webm"),
        ("video", samples.gif("a"), "gif"),
        ("gif", samples.gif("a"), "gif"),
        ("hologram", samples.png("a"), "png"),
        ("hologram", b"\0\1", "bin"),
    ],
)
def test_what_may_stand_for_a_kind_is_taken(kind: str, head: bytes, ext: str) -> None:
    assert checked_format(kind, head).ext == ext


def test_an_empty_file_is_none() -> None:
    with pytest.raises(DownloadError, match="empty"):
        checked_format("video", b"", "video/mp4")


@given(
    kind=st.sampled_from(["video", "image", "music", "gif", "x"]),
    head=st.binary(max_size=HEAD_BYTES),
    content_type=st.text(max_size=40),
)
def test_whatever_comes_is_a_format_with_a_plain_ending_or_refused(kind: str, head: bytes, content_type: str) -> None:
    try:
        found = checked_format(kind, head, content_type)
    except DownloadError:
        return
    assert found.ext.isascii()
    assert found.ext.isalnum()
    assert len(found.ext) <= 5
