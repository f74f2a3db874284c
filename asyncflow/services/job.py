"""What every service says about a job, in one vocabulary: `Job`, `Media`, `Failure`, `Outcome`.

Pure: no clock, no I/O, no asyncio. The modules beside this one turn a service's own shapes into these.
"""

from __future__ import annotations

from binascii import a2b_base64
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal, Self

import msgspec
from msgspec import Raw, Struct, field

from asyncflow.errors import DecodeError, category_of
from asyncflow.redaction import digest, one_line
from asyncflow.services.lenient import loads, parse_expiry

State = Literal["ok", "failed", "unresolved"]

_TO_STANDARD_BASE64 = str.maketrans("-_", "+/")


class Outcome(StrEnum):
    """What a job was worth, counted from its media and not from its status."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    NO_OUTPUT = "no_output"
    FAILED = "failed"


# Most reads find a job as it was: what they say needs no counting.
_UNFINISHED: dict[str, Outcome] = dict.fromkeys(("", "created", "pending", "started"), Outcome.PENDING)


class RedactedStruct(Struct, frozen=True, gc=False):
    """A record that pretty printers show as its repr: left to themselves they would print its fields, addresses and all."""

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("shown", repr(self))]


class Media(RedactedStruct, frozen=True, gc=False, omit_defaults=True):
    """A file that a job offers, or should have.

    *kind* is "video", "image", "music" or "gif". *state* is "ok" where there is a file, "failed" where the service says why there
    is none (*reasons*), and "unresolved" where it says nothing; with an *asset_id* an unresolved file may still be had.
    *url* is a link that works without credentials until *expires_at* (aware, None if the link does not say); *thumbnail_url* is
    a picture of the file and never the file. *duration* is its length in seconds.
    """

    kind: str
    state: State
    url: str | None = None
    thumbnail_url: str | None = None
    encoded: str | None = None
    asset_id: str | None = None
    reasons: tuple[str, ...] = ()
    expires_at: datetime | None = None
    duration: float | None = None
    seed: int | None = None
    title: str | None = None

    @classmethod
    def of(
        cls,
        kind: str,
        url: str | None,
        encoded: str | None = None,
        *,
        is_failed: bool = False,
        reasons: tuple[str, ...] = (),
        thumbnail_url: str | None = None,
        asset_id: str | None = None,
        duration: float | None = None,
        seed: int | None = None,
        title: str | None = None,
    ) -> Self:
        """Return the media that a service's entry describes; its state follows from what there is.

        A file without a word of failure is ok whatever else is said, and one that is missing for a reason has failed.
        """
        if url is not None and not url.startswith(("https://", "http://")):
            url = None
        if is_failed or (reasons and not (url or encoded)):
            state: State = "failed"
        else:
            state = "ok" if url or encoded else "unresolved"
        return cls(
            kind,
            state,
            url,
            thumbnail_url or None,
            encoded or None,
            asset_id or None,
            reasons if state == "failed" else (),
            None if url is None else parse_expiry(url),
            duration,
            seed,
            title,
        )

    @property
    def content(self) -> bytes | None:
        """The file itself where the service sent it inline as base64, else None. `DecodeError` if it is no base64."""
        if self.encoded is None:
            return None
        text = self.encoded.rpartition("base64,")[2].translate(_TO_STANDARD_BASE64).rstrip("=")
        try:
            return a2b_base64(text + "=" * (-len(text) % 4))
        except ValueError as error:
            raise DecodeError("the inline file is no base64") from error

    @property
    def is_resolvable(self) -> bool:
        """Whether a missing file may still be had: it has an id that a link can be asked for."""
        return self.state == "unresolved" and self.asset_id is not None

    def __repr__(self) -> str:
        return one_line(f"<Media {' '.join((self.kind, self.state, *self.reasons))}>")


class Failure(RedactedStruct, frozen=True, gc=False, omit_defaults=True):
    """Why a job failed.

    *message* is the service's sentence, *code* its number or word, *reason* the deepest machine-readable word
    (`PUBLIC_ERROR_...`), *details* whatever else it says in prose. Each may be None: the service does not always tell.
    """

    message: str | None = None
    code: int | str | None = None
    reason: str | None = None
    details: str | None = None

    @property
    def category(self) -> str | None:
        """The family of the cause as far as it is known: "policy", "captcha", "account_cooldown" or "capacity"."""
        return category_of(self.reason)

    @property
    def is_cancelled(self) -> bool:
        """Whether the job failed because its owner cancelled it."""
        return self.code == "user_cancelled"

    def __repr__(self) -> str:
        return one_line(f"<Failure {self.reason or self.code}>")


class Job(RedactedStruct, frozen=True, gc=False, tag_field="service", tag=""):
    """One generation, as its service last described it. A plain `Job` is one of no service: your own fetch may return it.

    *status* is the service's own word, whatever it is; only "completed" and "failed" are terminal. *kind* is "video", "image",
    "music" or the service's word. *outcome* follows from status and media and cannot be set. Times are aware or None.
    *answered_id* is the id that the service gave where it is not the one that was asked for, which is strange and worth a look.
    *captcha_attempts* counts the captcha solutions that were bought; *remaining_credits* is the account's balance after the
    job, or None. `raw` is the answer as it came: nothing that is unknown today is lost.
    """

    service: ClassVar[str] = ""

    job_id: str
    status: str = ""
    kind: str = ""
    outcome: Outcome = Outcome.PENDING
    model: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    media: tuple[Media, ...] = ()
    failure: Failure | None = None
    remaining_credits: int | None = None
    captcha_attempts: int = 0
    reply_ref: str | None = None
    answered_id: str | None = None
    record: Raw = field(default=Raw(b"null"), name="raw")

    def __post_init__(self) -> None:
        outcome = _UNFINISHED.get(self.status) or _count_outcome(self.status, self.media)
        if outcome is not self.outcome:
            msgspec.structs.force_setattr(self, "outcome", outcome)

    @property
    def raw(self) -> bytes:
        """The answer's bytes."""
        return bytes(self.record)

    @property
    def is_terminal(self) -> bool:
        """Whether the status is final."""
        return self.outcome is not Outcome.PENDING

    @property
    def completed_at(self) -> datetime | None:
        """When the job ended, for better or worse; None while it runs."""
        return self.updated_at if self.is_terminal else None

    @property
    def duration(self) -> float | None:
        """Seconds from creation to the end, by the service's own clock; None while it runs or where the clock makes no sense."""
        if not self.is_terminal or self.created_at is None or self.updated_at is None:
            return None
        seconds = (self.updated_at - self.created_at).total_seconds()
        return seconds if seconds >= 0 else None

    @property
    def urls(self) -> tuple[str, ...]:
        """The links of the media that are ok, in order; never thumbnails."""
        return tuple(media.url for media in self.media if media.state == "ok" and media.url is not None)

    @property
    def media_total(self) -> int:
        """How many files the job offers or should have offered."""
        return len(self.media)

    @property
    def media_ok(self) -> int:
        """How many files there are."""
        return self._count("ok")

    @property
    def media_failed(self) -> int:
        """How many files the service refused or failed to make, and said so."""
        return self._count("failed")

    @property
    def media_unresolved(self) -> int:
        """How many files are missing without a reason."""
        return self._count("unresolved")

    @property
    def media_resolvable(self) -> int:
        """How many of the unresolved files may still be had through their asset ids."""
        return sum(media.is_resolvable for media in self.media)

    @property
    def failed_reasons(self) -> tuple[str, ...]:
        """The reasons of the failed media, in order."""
        return tuple(reason for media in self.media if media.state == "failed" for reason in media.reasons)

    @property
    def prompt(self) -> str | None:
        """The prompt as the service echoes it, None where it does not."""
        request = loads(self.raw)
        if isinstance(request, dict):
            request = request.get("request")
        prompt = request.get("prompt") if isinstance(request, dict) else None
        return prompt if isinstance(prompt, str) else None

    def _count(self, state: State) -> int:
        return [media.state for media in self.media].count(state)

    def __hash__(self) -> int:
        return hash((self.job_id, self.status))

    def _repr_html_(self) -> str:
        """Show the job in a notebook, without its id, links and prompt: notebooks are passed on."""
        from asyncflow.notebook import WORDS, box  # noqa: PLC0415 - nobody else needs it

        failure = self.failure or Failure()
        files = f"{self.media_ok} of {self.media_total}" if self.media_total else ""
        facts = (
            ("job", digest(self.job_id)),
            ("service", self.service),
            ("model", self.model),
            ("status", self.status),
            ("created", None if self.created_at is None else f"{self.created_at:%Y-%m-%d %H:%M:%S %Z}"),
            ("took", None if self.duration is None else f"{self.duration:,.{0 if self.duration >= 10 else 1}f} s"),
            ("files", files),
            ("reason", failure.reason or failure.message or ", ".join(dict.fromkeys(self.failed_reasons))),
            ("credits left", self.remaining_credits),
            ("captchas", self.captcha_attempts or None),
        )
        return box(f"{self.kind or 'job'}: {WORDS[self.outcome]}", facts, outcome=self.outcome)

    def __repr__(self) -> str:
        words = (type(self).__name__, digest(self.job_id), self.kind, self.status or "without status", self.outcome)
        return one_line(f"<{' '.join(words)}>")


def _count_outcome(status: str, media: tuple[Media, ...]) -> Outcome:
    word = status if status == "completed" else status.strip().lower()
    if word == "failed":
        return Outcome.FAILED
    if word != "completed":
        return Outcome.PENDING
    ok = [item.state for item in media].count("ok")
    if not ok:
        return Outcome.NO_OUTPUT
    return Outcome.SUCCEEDED if ok == len(media) else Outcome.PARTIAL
