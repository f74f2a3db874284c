"""Answers played as they were written down, in place of what the service would say.

Pure: no clock, no I/O, no asyncio.
"""

from collections.abc import Iterable, Mapping
from typing import Literal
from urllib.parse import unquote

from msgspec import Struct, field

__all__ = ["Answer", "Replay"]

Fault = Literal["reset", "hang", "truncate", "reset_midway", "slow"]


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """One answer, sent byte for byte: *status*, *headers*, *body*; or, with *fault*, broken or withheld."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    fault: Fault | None = None


class Replay:
    """Holds the answers of each target: a job id (any method), or a path (with a method before it, or any)."""

    def __init__(self) -> None:
        self._queues: dict[str, list[Answer]] = {}

    def load(self, target: str, answers: Iterable[Answer | Fault]) -> None:
        """Play *answers* one after another, the last one again and again; none ends the playing for *target*."""
        queue = [Answer(fault=answer) if isinstance(answer, str) else answer for answer in answers]
        if queue:
            self._queues[target] = queue
        else:
            self._queues.pop(target, None)

    def next(self, method: str, path: str) -> Answer | None:
        """Return the answer to play for the raw *path* (without query), or None if nothing is played there."""
        if not self._queues:
            return None
        for target in (path, f"{method} {path}", unquote(path.rpartition("/jobs/")[2])):
            queue = self._queues.get(target)
            if queue is not None:
                return queue.pop(0) if len(queue) > 1 else queue[0]
        return None
