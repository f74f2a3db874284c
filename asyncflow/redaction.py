"""What may be shown of a secret: nothing, or a short stable digest.

Pure: no clock, no I/O, no asyncio. Everything that is printed, logged, raised or stored outside of the values handed to the
caller passes through here: job ids hold e-mail addresses, links hold signatures, and both travel in error texts.
"""

import re
from functools import lru_cache
from hashlib import sha256
from urllib.parse import unquote

_LONGEST_LINE = 500

# In all of these ":" and "@" may be percent-encoded, more than once even ("%3A", "%253A"), and cut texts are no less secret.
_COLON = r"(?: : | %(?:25)*3A )"
_AT = r"(?: @ | %(?:25)*40 )"
_INNER = r"""[^\s"<>,;|\\()\[\]{}?\#]"""
_LOCAL = r"""[^\s@"<>,;|\\()\[\]{}?\#:=&/]"""
_FLAGS = re.VERBOSE | re.IGNORECASE

_LINK = re.compile(r"""( https?:// ) (?: [^\s"<>/?\#@]* @ )? ( [^\s"<>?\#]* ) ( [?\#] [^\s"<>]* )?""", _FLAGS)
# What signs a link, where the link around it is cut, escaped or encoded.
_PARAMETER = re.compile(
    r"""
    ( Signature | Credential | Security-Token | KeyName | GoogleAccessId | (?<! [a-z] ) (?: Policy | sig ) )
    ( = | %(?:25)*3D ) [^\s"'<>&\\]+
    """,
    _FLAGS,
)
_JOB_ID = re.compile(
    rf"""
    (?<! [\w-] )
    (?: j? \d{{10,}} [a-z]? - u (?: ser {_COLON} )? \d      # google-flow, in its three forms
      | job {_COLON} [0-9a-f-]{{8,}} -user {_COLON}         # flowmusic
    )
    {_INNER}*? -bot {_COLON} [a-z]+ (?: - [a-z]+ )*
    """,
    _FLAGS,
)
# Tokens and asset ids begin alike.
_USER = re.compile(rf"user {_COLON} \d+ - {_INNER}+", _FLAGS)
_ASSET = re.compile(rf"- (?: email | video | image | clip ) {_COLON}", _FLAGS)
_BEARER = re.compile(r"(Bearer) (?: \s+ | %20 ) [^\s\"'<>,;]{12,}", _FLAGS)
_LABELLED = re.compile(rf"( email {_COLON} ) {_INNER}+", _FLAGS)
# From the beginning of a word only, so that a long word is not searched again from each of its letters.
_EMAIL = re.compile(rf"(?<! {_LOCAL} ) ( (?: (?! {_AT} ) {_LOCAL} )+ ) {_AT} \w (?: [\w.-]* \w )?", _FLAGS)
_MASKED = re.compile(r".{0,3}\*{2,}")
_HEX = re.compile(r"(?<![0-9a-f])[0-9a-f]{12,}(?![0-9a-f])", re.IGNORECASE)
_EMAIL_BYTES = re.compile(rb"[\w.+-]@[\w-]+\.[a-z]", re.IGNORECASE)


@lru_cache(maxsize=65536)
def digest(job_id: str) -> str:
    """Return the name under which *job_id* may be shown: ten hexadecimal digits, the same in every process."""
    return sha256(job_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def redact(text: str) -> str:
    """Return *text* with job ids as digests and without tokens, asset ids, e-mail addresses and the queries of links.

    Addresses that the service has masked already ("ma***@example.com") stay.
    """
    text = _LINK.sub(_bare_link, text)
    text = _PARAMETER.sub(r"\1=…", text)
    text = _JOB_ID.sub(_job, text)
    text = _USER.sub(lambda found: "<asset>" if _ASSET.search(found[0]) else "<token>", text)
    text = _BEARER.sub(r"\1 <token>", text)
    text = _LABELLED.sub(r"\1<e-mail>", text)
    text = _EMAIL.sub(lambda found: found[0] if _MASKED.fullmatch(found[1]) else "<e-mail>", text)
    text = _HEX.sub(_hex, text)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def one_line(text: str) -> str:
    """Return *text* redacted and fit for one line of a terminal: nothing invisible, no control characters, not too long."""
    words = "".join(letter if letter.isprintable() else " " for letter in redact(text)).split()
    line = " ".join(words)
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"


def _bare_link(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}?…" if found[3] else f"{found[1]}{found[2]}"


def _job(found: re.Match[str]) -> str:
    job_id = found[0]
    while (plain := unquote(job_id)) != job_id:
        job_id = plain
    return f"job {digest(job_id)}"


def _hex(found: re.Match[str]) -> str:
    """Return the digits as they are, unless they spell an address, from the first or from the second of them."""
    digits = found[0]
    readings = (digits[start : start + (len(digits) - start) // 2 * 2] for start in (0, 1))
    return "<e-mail>" if any(_EMAIL_BYTES.search(bytes.fromhex(reading)) for reading in readings) else digits
