"""Who a simulated job is: the forms of ids, addresses and times that the service uses.

Pure: no clock, no I/O, no asyncio. Nothing here is shared with the client, so that a misreading in common cannot cancel out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from random import Random

__all__ = [
    "ACCOUNTS",
    "KINDS",
    "MUSIC_ACCOUNTS",
    "Fate",
    "JobIdentity",
    "asset_id",
    "clip_id",
    "flow_job_id",
    "iso",
    "mask",
    "media_name",
    "music_job_id",
    "stranger",
]

ACCOUNTS = ("ada.lind@example.com", "jo-ann+flow@example.com", "r_khan@mail.example.com")
MUSIC_ACCOUNTS = (*ACCOUNTS, *(f"studio{number}@example.com" for number in range(1, 8)))
KINDS = ("video", "image", "music")


class Fate(StrEnum):
    """What becomes of a job; the service's status tells only half of it."""

    SUCCESS = "success"
    PARTIAL = "partial"  # completed, and some of its media failed
    NO_MEDIA = "no_media"  # completed, and all of its media failed
    REFUSED = "refused"  # completed without a file and without a reason
    UNLINKED = "unlinked"  # completed; its files exist, but their links have to be asked for
    FAILED = "failed"
    ENDLESS = "endless"  # never ends


@dataclass(frozen=True, slots=True, kw_only=True)
class JobIdentity:
    """All that a record tells about a job and that time does not change.

    *seed* makes the invented content the same again; *number* is the job's place among all, and is found again in the names of
    its media; *credits_left* is the account's balance after this job; *inline* the chance that a picture comes as base64;
    *inputs* the number of videos that were put together.
    """

    job_id: str
    number: int
    service: str
    kind: str
    operation: str
    email: str
    model: str
    user: str = "1234"
    fate: Fate = Fate.SUCCESS
    media: int = 1
    seed: int = 0
    credits_left: int = 9000
    inline: float = 0.0
    inputs: int = 0
    cancelled: bool = False
    request: Mapping[str, object] = field(default_factory=dict[str, object])


def iso(wall: float) -> str:
    """Return the unix time *wall* in the service's form: UTC, milliseconds, `Z`."""
    return datetime.fromtimestamp(round(wall, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def mask(email: str) -> str:
    """Return *email* as the echo of a request shows it: two characters, stars, the domain (API.md 3.2)."""
    name, _, domain = email.partition("@")
    return f"{name[:2]}***@{domain}"


def flow_job_id(random: Random, wall: float, kind: str, user: str, email: str) -> str:
    """Return a Google Flow id in the form seen in production: month to second, nine digits, the full address (API.md 2.1)."""
    moment = datetime.fromtimestamp(wall, UTC)
    return f"j{moment:%m%d%H%M%S}{random.randrange(10**9):09d}{kind[0]}-u{user}-email:{email}-bot:google-flow"


def music_job_id(random: Random, user: str, email: str) -> str:
    """Return a Flow Music id (API.md 2.2)."""
    return f"job:{_uuid(random)}-user:{user}-{email}-bot:flowmusic"


def media_name(facts: JobIdentity, index: int) -> str:
    """Return the uuid of a job's media; its ends hold the job's number and *index*, so that it is found without a table."""
    bits = Random(facts.seed * 64 + index).getrandbits(76)
    middle = f"{bits >> 60:04x}-4{bits >> 48 & 0xFFF:03x}-{0x8000 | bits >> 34 & 0x3FFF:04x}"
    return f"{facts.number:08x}-{middle}-{bits & 0xFFFFFFFF:08x}{index:04x}"


def asset_id(facts: JobIdentity, kind: str, name: str) -> str:
    """Return the `mediaGenerationId` of a media: it holds the account's address in hexadecimal (API.md 5)."""
    return f"user:{facts.user}-email:{facts.email.encode().hex()}-{kind}:{name}"


def clip_id(facts: JobIdentity, name: str) -> str:
    """Return the id of a song's clip (API.md 8)."""
    return f"user:{facts.user}-{facts.email}-clip:{name}"


def stranger(user: str) -> str:
    """Return the number of a user who is not *user*."""
    return str(int(user) + 1) if user.isdigit() else "1"


def _uuid(random: Random) -> str:
    bits = f"{random.getrandbits(128):032x}"
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-a{bits[17:20]}-{bits[20:]}"
