"""What a page shows of a watch: a card for each job, counts, and what has changed since a place in time.

Pure: no clock, no I/O, no asyncio. Times are seconds since the epoch. Cards are small and hold neither ids nor links: an id is a
digest, and links stay behind, for so many jobs as there is room for.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from asyncflow import Abandoned, Changed, Ended, Expiring, Media, Unreachable, UsageError, service_of
from asyncflow.dashboard.formatting import blame_of, given_up, plain, sentence_of
from asyncflow.redaction import digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from asyncflow import Event, Job

__all__ = ["OVER", "Change", "DashboardState", "FileState", "JobCard"]

_MOST_REASONS = 200
_OTHER_REASONS = "other reasons"
_MOST_GONE = 20_000
_MOST_FILES = 8
_RETENTION = 7 * 86400.0

OVER = frozenset({"succeeded", "partial", "no_output", "failed", "abandoned"})
"""The states of a card whose job has ended; the others are "running", and "silent": it runs and reads of it fail."""

_ID_KIND = re.compile(r"j\d+([vi])-u")
"""What an id says of its job before any record does: https://useapi.net/docs/api-google-flow-v1/get-google-flow-jobs-jobid"""


class FileState(Struct, frozen=True, array_like=True, gc=False):
    """A file of a job: its state, whether there is a picture of it, how long it plays, and why there is none."""

    kind: str
    state: str
    has_picture: bool
    duration: float | None = None
    title: str = ""
    reason: str = ""


class JobCard(Struct, frozen=True, array_like=True, gc=False):
    """A job as the page shows it. The order of the members is that of the wire, which the page's own `store.js` repeats.

    *place* is that of its last change. *moved* is when it got where it is, *expected* when it will probably have ended.
    """

    number: int
    place: int
    id: str
    state: str = "running"
    status: str = ""
    kind: str = ""
    service: str = ""
    model: str = ""
    born: float = 0.0
    moved: float = 0.0
    ended: float | None = None
    expected: float | None = None
    title: str = ""
    prompt: str = ""
    reason: str = ""
    detail: str = ""
    category: str = ""
    files: tuple[FileState, ...] = ()
    expires: float | None = None


class JobState:
    """A card and what stays behind it."""

    __slots__ = ("card", "job_id", "media")

    def __init__(self, card: JobCard, job_id: str) -> None:
        self.card: JobCard = card
        self.job_id: str = job_id
        self.media: tuple[Media, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What an event has changed: cards that are new or other, and the numbers of those that are no longer kept."""

    cards: Sequence[JobCard] = ()
    gone: Sequence[int] = ()

    def __bool__(self) -> bool:
        return bool(self.cards or self.gone)


class DashboardState:
    """Takes events in and says what a page must be told.

    Every change has a *place*: a number that only grows. Whoever knows a place can be told all that has changed since, each job
    in its latest state and once. At most *most_cards* are kept, the running ones before those that have ended long ago; the
    counts go on counting the others. Links are kept of at most *most_links* jobs, and of inline files *most_bytes*.
    """

    def __init__(self, *, most_cards: int = 100_000, most_links: int = 20_000, most_bytes: int = 32_000_000) -> None:
        self.place: int = 0
        self.states: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.categories: dict[str, str] = {}
        self.dropped: int = 0
        self._most_cards = most_cards
        self._most_links = most_links
        self._most_bytes = most_bytes
        self._bytes = 0
        self._count = 0
        self._numbers: dict[str, int] = {}
        # In the order of their last change, which is that of their places.
        self._entries: dict[int, JobState] = {}
        self._over: dict[int, None] = {}
        self._shelf: dict[int, int] = {}
        self._gone: dict[int, int] = {}
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._entries)

    # -- in --------------------------------------------------------------------------------------------------------------

    def apply(self, event: Event, now: float) -> Change:
        """Take in *event*, which was heard at *now*."""
        match event:
            case Changed(job, _, expected_end_at):
                return self._moved(job, now, _seconds(expected_end_at))
            case Ended(job):
                return self._ended(job, now)
            case Abandoned(job_id, problem, job):
                entry = self._entry(job_id, now)
                card = entry.card if job is None else _described(entry.card, job, now)
                return self._end(entry, card, "abandoned", now, given_up(problem))
            case _:
                return self._troubled(event, now)

    def _troubled(self, event: Event, now: float) -> Change:
        match event:
            case Unreachable(job_id, since, problem) if self._is_open(job_id):
                entry = self._entry(job_id, now)
                return self._put(entry, entry.card, state="silent", moved=since.timestamp(), detail=sentence_of(problem))
            case Expiring(job, at, "links") if job.job_id in self._numbers:
                entry = self._entry(job.job_id, now)
                return self._put(entry, entry.card, expires=at.timestamp())
            case _:
                return Change()

    def _is_open(self, job_id: str) -> bool:
        return self._numbers.get(job_id) not in self._over

    def note(self, job_id: str, status: str, born: float, moved: float) -> Change:
        """Take in what is known of a running job without its record; *status* is empty before the first answer."""
        entry = self._entry(job_id, born)
        card = entry.card
        if card.place and (card.state, card.status, card.moved) == ("running", status, moved):
            return Change()
        return self._put(entry, card, state="running", status=plain(status), moved=moved, ended=None)

    def answered(self, job_id: str) -> Change:
        """Take in that reads of a job succeed again."""
        number = self._numbers.get(job_id)
        entry = None if number is None else self._entries[number]
        if entry is None or entry.card.state != "silent":
            return Change()
        return self._put(entry, entry.card, state="running", detail="")

    def forget(self, job_id: str) -> Change:
        """Take a running job out: it is not watched any more, and will not end here."""
        number = self._numbers.get(job_id)
        if number is None or not self._is_open(job_id):
            return Change()
        self._count_out(self._entries[number].card)
        return Change(gone=[self._drop(number)])

    def _moved(self, job: Job, now: float, expected: float | None) -> Change:
        entry = self._entry(job.job_id, now)
        card = _described(entry.card, job, now)
        moved = _plausible(job.updated_at, now)
        return self._put(
            entry, card, state="running", moved=moved, expected=expected, ended=None, reason="", detail="", category=""
        )

    def _ended(self, job: Job, now: float) -> Change:
        entry = self._entry(job.job_id, now)
        media = job.media[:_MOST_FILES]
        self._store(entry, media)
        expires = min((at for item in media if (at := _seconds(item.expires_at)) is not None), default=None)
        title = plain(next((item.title for item in media if item.title), ""))
        card = replace(_described(entry.card, job, now), files=tuple(map(_file, media)), expires=expires, title=title)
        return self._end(entry, card, job.outcome.value, _plausible(job.completed_at, now), blame_of(job))

    def _end(self, entry: JobState, card: JobCard, state: str, at: float, blame: tuple[str, str, str]) -> Change:
        reason, detail, category = blame
        ended = max(at, card.born)
        return self._put(
            entry, card, state=state, moved=at, ended=ended, expected=None, reason=reason, detail=detail, category=category
        )

    def _entry(self, job_id: str, now: float) -> JobState:
        number = self._numbers.get(job_id)
        if number is not None:
            return self._entries[number]
        self._count = number = self._count + 1
        service, kind = _inferred(job_id)
        card = JobCard(number, 0, digest(job_id), born=now, moved=now, kind=kind, service=service)
        self._numbers[job_id] = number
        self._entries[number] = entry = JobState(card, job_id)
        return entry

    def _put(self, entry: JobState, card: JobCard, **changes: Any) -> Change:  # noqa: ANN401 - the members of a card
        if entry.card.place:
            self._count_out(entry.card)
        self.place += 1
        entry.card = card = self._counted_in(replace(card, place=self.place, **changes))
        number = card.number
        self._entries[number] = self._entries.pop(number)
        self._over.pop(number, None)
        if card.state in OVER:
            self._over[number] = None
        return Change([card], self._trim())

    def _counted_in(self, card: JobCard) -> JobCard:
        self.states[card.state] += 1
        self.kinds[card.kind] += 1
        if card.reason:
            if card.reason not in self.reasons and len(self.reasons) >= _MOST_REASONS:
                # A service that never says the same twice must not fill the page.
                card = replace(card, reason=_OTHER_REASONS, category="")
            self.reasons[card.reason] += 1
            self.categories[card.reason] = card.category
        return card

    def _count_out(self, card: JobCard) -> None:
        _take_one(self.states, card.state)
        _take_one(self.kinds, card.kind)
        if card.reason:
            _take_one(self.reasons, card.reason)
            if card.reason not in self.reasons:
                del self.categories[card.reason]

    # -- what is kept ----------------------------------------------------------------------------------------------------

    def _trim(self) -> list[int]:
        gone: list[int] = []
        while len(self._entries) > self._most_cards and len(self._over) > 1:
            self.dropped += 1
            gone.append(self._drop(next(iter(self._over))))
        return gone

    def _drop(self, number: int) -> int:
        self._unshelve(number)
        del self._numbers[self._entries.pop(number).job_id]
        self._over.pop(number, None)
        self.place += 1
        self._gone[number] = self.place
        if len(self._gone) > _MOST_GONE:
            self._forgotten = self._gone.pop(next(iter(self._gone)))
        return number

    def _store(self, entry: JobState, media: tuple[Media, ...]) -> None:
        number = entry.card.number
        self._unshelve(number)
        if not media:
            return
        entry.media = media
        self._shelf[number] = size = sum(len(item.encoded or "") for item in media)
        self._bytes += size
        while len(self._shelf) > self._most_links or (self._bytes > self._most_bytes and len(self._shelf) > 1):
            self._unshelve(next(iter(self._shelf)))

    def _unshelve(self, number: int) -> None:
        self._bytes -= self._shelf.pop(number, 0)
        self._entries[number].media = ()

    # -- out -------------------------------------------------------------------------------------------------------------

    def since(self, place: int) -> tuple[list[int], list[int]] | None:
        """Return the numbers of the cards that have changed since *place*, in the order of their places, and of those gone.

        None if that is not known any more: then everything has to be told.
        """
        if not self._forgotten <= place <= self.place:
            return None
        newer = takewhile(lambda number: self._entries[number].card.place > place, reversed(self._entries))
        gone = takewhile(lambda number: self._gone[number] > place, reversed(self._gone))
        return list(newer)[::-1], list(gone)

    def everything(self) -> list[int]:
        """Return the numbers of all cards, in the order of their places."""
        return list(self._entries)

    def card(self, number: int) -> JobCard | None:
        """Return a card, None if it is not kept."""
        entry = self._entries.get(number)
        return None if entry is None else entry.card

    def job_id(self, number: int) -> str | None:
        """Return the id of the job behind a card."""
        entry = self._entries.get(number)
        return None if entry is None else entry.job_id

    def media(self, number: int) -> tuple[Media, ...]:
        """Return the files of a job as far as they are kept."""
        entry = self._entries.get(number)
        return () if entry is None else entry.media

    def shelve(self, number: int, media: tuple[Media, ...]) -> None:
        """Keep the files of a job that was read again."""
        if number in self._entries:
            self._store(self._entries[number], media[:_MOST_FILES])

    def silent_ids(self) -> list[str]:
        """Return the ids of the jobs that give no answer."""
        if not self.states["silent"]:
            return []
        return [entry.job_id for entry in self._entries.values() if entry.card.state == "silent"]


def _described(card: JobCard, job: Job, now: float) -> JobCard:
    """Return *card* with what the record says of the job itself."""
    created = _seconds(job.created_at)
    # Clocks of two machines differ, and a job without a birthday was born when we first heard of it.
    born = created if created is not None and now - _RETENTION < created <= now else card.born
    return replace(
        card,
        status=plain(job.status),
        kind=plain(job.kind) or card.kind,
        service=job.service or card.service,
        model=plain(job.model),
        born=born,
        prompt=card.prompt or plain(job.prompt),
    )


def _file(media: Media) -> FileState:
    has_picture = bool(media.thumbnail_url) or (media.kind in {"image", "gif"} and media.state == "ok")
    reason = plain(", ".join(media.reasons))
    return FileState(media.kind, media.state, has_picture, media.duration, plain(media.title), reason)


def _inferred(job_id: str) -> tuple[str, str]:
    """Return the service and the kind of a job that was never read, as far as its id tells."""
    try:
        service = service_of(job_id)
    except UsageError:
        return "", ""
    if service == "flowmusic":
        return service, "music"
    found = _ID_KIND.match(job_id)
    return service, "" if found is None else {"v": "video", "i": "image"}[found[1]]


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _plausible(moment: datetime | None, now: float) -> float:
    """Return when something happened by the service's clock, unless that is in the future of ours."""
    return now if moment is None else min(moment.timestamp(), now)


def _take_one(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
