"""What Flow Music says about a job (API.md 8).

Pure: no clock, no I/O, no asyncio. Values are `dict`, as JSON has them; times are unix seconds.
"""

from random import Random

from asyncflow.simulator.identity import Fate, JobIdentity, clip_id, iso, media_name
from asyncflow.simulator.signed_links import SignedLinks

__all__ = ["clip_states", "listed", "record"]

Body = dict[str, object]

_ERRORS = (
    {"code": "moderated", "message": "The lyrics were refused"},
    {"code": "upstream_error", "message": "The song could not be finished"},
)


def record(facts: JobIdentity, status: str, *, created: float, updated: float | None, links: SignedLinks) -> Body:
    """Return the job's record while it has *status*; *updated* is when the status came, None for the first one."""
    body: Body = {
        "jobid": facts.job_id,
        "email": facts.email,
        "request": dict(facts.request) or {"prompt": "slow brass", "mode": "async"},
    }
    if facts.operation != "music":
        body["operation"] = facts.operation
    body |= {"status": status, "created_at": iso(created)}
    if status not in {"completed", "failed"}:
        return body
    ended = created if updated is None else updated
    body |= {"completed_at": iso(ended), "duration_ms": round((ended - created) * 1000)}
    if status == "completed":
        return body | {"clips": [_clip(facts, i, state, ended, links) for i, state in enumerate(clip_states(facts))]}
    if facts.cancelled:
        return body | {"error": {"code": "user_cancelled", "message": "The job was cancelled"}}
    return body | {"error": _ERRORS[facts.seed % len(_ERRORS)]}


def listed(facts: JobIdentity, created: float) -> Body:
    """Return a running job's entry in the accounts' list."""
    entry: Body = {"jobid": facts.job_id, "status": "pending"}
    if facts.operation != "music":
        entry["operation"] = facts.operation
    return entry | {"created_at": iso(created)}


def clip_states(facts: JobIdentity) -> list[str]:
    """Return the state of each clip of the completed song: ok or unlinked; none for a silent refusal."""
    count = max(facts.media, 2) if facts.fate is Fate.PARTIAL else facts.media
    match facts.fate:
        case Fate.PARTIAL:
            return ["ok"] * (count - 1) + ["unlinked"]
        case Fate.REFUSED | Fate.FAILED:
            return []
        case Fate.NO_MEDIA | Fate.UNLINKED:
            return ["unlinked"] * count
        case _:
            return ["ok"] * count


def _clip(facts: JobIdentity, index: int, state: str, ended: float, links: SignedLinks) -> Body:
    name = media_name(facts, index)
    random = Random(facts.seed + index)
    clip: Body = {
        "clip": clip_id(facts, name),
        "title": f"Harbour Song {index + 1}",
        "duration_s": random.randrange(1200, 2400) / 10,
        "lyrics": "[Verse]\nRope and rain",
        "seed": facts.seed % 10**6 + index,
        "lyrics_timing": [[0.0, 4.2], [4.2, 9.1]],
        "created_at": iso(ended),
    }
    if state == "ok":
        clip["audio_url"] = links.plain(f"/content/audio/{name}.m4a")
        clip["wav_url"] = links.plain(f"/content/audio/{name}.wav")
        clip["image_url"] = links.plain(f"/content/cover/{name}.png")
    return clip
