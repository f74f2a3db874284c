"""Links to media: signed ones that end, plain ones that do not.

Pure: no clock, no I/O, no asyncio.
"""

import hmac
import math
from hashlib import sha256
from urllib.parse import parse_qs

__all__ = ["SignedLinks"]

_KEY_NAME = "k1"


class SignedLinks:
    """Makes and checks links below *base_url*; a signed one lives *life* seconds, rounded up to a whole one (API.md 5).

    *key* signs; whoever has the same key can check.
    """

    __slots__ = ("_key", "base_url", "life")

    def __init__(self, base_url: str = "http://127.0.0.1", *, key: bytes = b"simulator", life: float = 21_600.0) -> None:
        self.base_url: str = base_url
        self.life: float = life
        self._key = key

    def signed(self, path: str, wall: float) -> str:
        """Return a link to *path* that is good until *wall* plus the life of links."""
        expires = math.ceil(wall + self.life)
        return f"{self.base_url}{path}?Expires={expires}&KeyName={_KEY_NAME}&Signature={self._signature(path, expires)}"

    def plain(self, path: str) -> str:
        """Return a link to *path* that anybody may read for ever, as those of songs."""
        return f"{self.base_url}{path}"

    def refusal(self, path: str, query: str, wall: float) -> str | None:
        """Return the error code with which the media host refuses a signed link at *wall*, or None if it is good."""
        fields = parse_qs(query)
        expires = fields.get("Expires", [""])[0]
        if not expires.isdigit() or not hmac.compare_digest(
            fields.get("Signature", [""])[0].encode(), self._signature(path, int(expires)).encode()
        ):
            return "SignatureDoesNotMatch"
        return "ExpiredToken" if wall >= int(expires) else None

    def _signature(self, path: str, expires: int) -> str:
        return hmac.new(self._key, f"{path}?{expires}".encode(), sha256).hexdigest()[:32]
