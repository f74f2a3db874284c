"""The small answers: a fresh link to a file, and the acknowledgement of a cancel.

Pure: no clock, no I/O, no asyncio.
"""

from datetime import datetime

from msgspec import Struct

from asyncflow.errors import DecodeError
from asyncflow.redaction import digest
from asyncflow.services.job import RedactedStruct
from asyncflow.services.lenient import forgive, load_object, parse_expiry


class AssetLink(RedactedStruct, frozen=True, gc=False):
    """A fresh link to a file; it needs no credentials and works until *expires_at* (aware, None if it does not say)."""

    url: str
    asset_id: str
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"<AssetLink {digest(self.asset_id)}>"


class Cancelled(RedactedStruct, frozen=True, gc=False):
    """A Flow Music job was cancelled. Its credits are spent all the same, and the song may still be finished."""

    job_id: str
    credits_refunded: bool = False

    def __repr__(self) -> str:
        return f"<Cancelled {digest(self.job_id)}>"


class _Link(Struct, gc=False, rename="camel"):
    url: str | None = None
    media_generation_id: str | None = None


def decode_link(body: bytes, asset_id: str = "") -> AssetLink:
    """Return the link that *body* holds; *asset_id* is the one asked for. `DecodeError` if there is no link in it."""
    link = forgive(load_object(body), _Link)
    if link.url is None or not link.url.startswith(("https://", "http://")):
        raise DecodeError("the answer holds no link")
    return AssetLink(link.url, link.media_generation_id or asset_id, parse_expiry(link.url))
