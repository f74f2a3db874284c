"""The record beside the files: what was asked for, what came of it, and which files it is about.

It is for the owner of the files, who asked for it, and so holds the job's id and its prompt. What others could use is left out:
links are cut where their signatures begin, and there is no token in a record.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from asyncflow.download.file_names import NameFacts, Template, identity
from asyncflow.download.folder_index import job_key
from asyncflow.services.lenient import clean_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncflow.download.results import MediaFile
    from asyncflow.download.target_folder import TargetFolder
    from asyncflow.records import Job, Media

__all__ = ["sidecar_content", "write_sidecar"]

_NAME = Template("{service}-{created:%Y%m%d-%H%M%S}-{digest}.{ext}")


def write_sidecar(folder: TargetFolder, job: Job, files: Sequence[MediaFile]) -> str | None:
    """Write the sidecar of *job* into *folder*, or anew; return its path, None if another process writes it. It blocks."""
    facts = NameFacts.of(job)
    place = (job_key(identity(job)), 0)
    kept = folder.write_sidecar(place, facts.digest, _NAME.name(facts, 0, "json"), sidecar_content(job, files))
    return None if kept is None else kept.path


def sidecar_content(job: Job, files: Sequence[MediaFile]) -> bytes:
    """Return the sidecar as JSON."""
    failure = job.failure
    record = {
        "job_id": job.job_id,
        "service": job.service,
        "kind": job.kind,
        "model": job.model,
        "status": job.status,
        "outcome": job.outcome,
        "created_at": job.created_at,
        "ended_at": job.completed_at,
        "duration": job.duration,
        "prompt": clean_text(job.prompt or "") or None,
        "reply_ref": job.reply_ref,
        "remaining_credits": job.remaining_credits,
        "failure": None if failure is None else {"code": failure.code, "reason": failure.reason, "message": failure.message},
        "files": [_file(job.media[file.index - 1], file) for file in files],
    }
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def _file(media: Media, file: MediaFile) -> dict[str, object]:
    return {
        "index": file.index,
        "kind": media.kind,
        "name": None if file.path is None else Path(file.path).name,
        "size_bytes": file.size_bytes if file.is_there else None,
        "reasons": media.reasons,
        "error": file.error,
        "title": media.title,
        "seed": media.seed,
        "duration": media.duration,
        "asset_id": media.asset_id,
        "link": None if media.url is None else media.url.partition("?")[0].partition("#")[0],
    }
