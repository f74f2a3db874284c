"""What may be shown of a secret: nothing, or a short stable digest.

Pure: no clock, no I/O, no asyncio. Everything that is printed, logged, raised or stored outside of the values handed to the
caller passes through here: job ids hold e-mail addresses, links hold signatures, and both travel in error texts.
"""

import re
from functools import lru_cache
from hashlib import sha256

_JOB_ID = re.compile(
    r"""
    (?<![\w%-])
    (?: j?\d{10,} [vi]? - (?:u|user:) [^\s"'<>,/?\#]*?      # google-flow, its three forms
      | job (?: : | %3A ) [0-9a-f-]{8,} -user [^\s"'<>,/?\#]*?  # flowmusic
    )
    -bot (?: : | %3A ) [a-z-]+
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ASSET_ID = re.compile(r"user:\d+-(?:email:[^\s\"'<>,/?#]+|[^\s\"'<>,/?#]+-clip:[\w-]+)", re.IGNORECASE)
_TOKEN = re.compile(r"(?:Bearer\s+)?user:\d+-[\w.~+/=-]+", re.IGNORECASE)
_SIGNED = re.compile(r"(https?://[^\s\"'<>?#]+)[?#][^\s\"'<>]+", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+*%-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+")


@lru_cache(maxsize=65536)
def digest(job_id: str) -> str:
    """Return the name under which *job_id* may be shown: ten hexadecimal digits, the same in every process."""
    return sha256(job_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def redact(text: str) -> str:
    """Return *text* with job ids as digests and without tokens, asset ids, e-mail addresses and the queries of links."""
    text = _JOB_ID.sub(lambda found: f"job {digest(found.group())}", text)
    text = _SIGNED.sub(r"\1?…", text)
    text = _ASSET_ID.sub("<asset>", text)
    text = _TOKEN.sub("<token>", text)
    return _EMAIL.sub("<e-mail>", text)
