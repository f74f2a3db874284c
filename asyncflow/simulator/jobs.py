"""All jobs of a simulator: made, found again, and the truth about each.

Pure: no clock, no I/O, no asyncio; times are seconds since the simulator's start, walls are unix seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from msgspec import Struct

from asyncflow.simulator.identity import (
    ACCOUNTS,
    KINDS,
    MUSIC_ACCOUNTS,
    Fate,
    JobIdentity,
    flow_job_id,
    media_name,
    music_job_id,
    stranger,
)
from asyncflow.simulator.scenario import Scenario, Script, draw_fate
from asyncflow.simulator.signed_links import SignedLinks

__all__ = ["JobOrder", "JobRegistry", "JobTruth", "SimulatedJob"]

_MODELS = {"video": "veo-3.1-fast", "image": "nano-banana-2", "music": "lyria-3.5"}
_PRICE = {"video": 10}
_START_CREDITS = 10_000


class JobTruth(Struct, frozen=True, kw_only=True):
    """What is true about a job, whatever its readers have been told.

    Times are seconds since the simulator's start. *expected* is the outcome that the job has or will have; *ends_at* is None if
    it never ends; *lag* is how long after its end (or its seeding, if it had ended before) the first whole answer showed the end.
    """

    job_id: str
    service: str
    kind: str
    operation: str
    fate: str
    expected: str
    status: str
    created_at: float
    ends_at: float | None
    ended: bool
    reads: int
    shown_at: float | None
    lag: float | None
    reply_ref: str | None
    submitted: bool
    foreign: bool


@dataclass(slots=True, kw_only=True)
class JobOrder:
    """What a new job is to be; None leaves it to chance or to the usual."""

    kind: str = "video"
    operation: str | None = None
    age: float = 0.0
    fate: Fate | None = None
    duration: float | None = None
    script: Script | None = None
    media: int | None = None
    model: str | None = None
    email: str | None = None
    inputs: int = 0
    request: Mapping[str, object] | None = None
    reply_url: str | None = None
    foreign: bool = False
    submitted: bool = False


@dataclass(slots=True, eq=False)
class SimulatedJob:
    """A scenario and what happened to it. *born* may lie before the simulator's start, *known* is when the job was made."""

    scenario: Scenario
    born: float
    known: float
    reply_url: str | None = None
    foreign: bool = False
    submitted: bool = False
    reads: int = 0
    shown_at: float | None = None

    @property
    def facts(self) -> JobIdentity:
        """Who the job is."""
        return self.scenario.facts

    @property
    def ends_at(self) -> float | None:
        """When the job ends, or None."""
        after = self.scenario.ends_after
        return None if after is None else self.born + after

    def has_ended(self, now: float) -> bool:
        """Return whether the job's status is final at *now*."""
        return self.scenario.has_ended(now - self.born)

    def shown(self, now: float) -> None:
        """Note that a whole answer leaves which tells the job's status of *now*."""
        if self.shown_at is None and self.has_ended(now):
            self.shown_at = now

    def lag(self) -> float | None:
        """Return the seconds from the job's end until it was first shown."""
        end = self.ends_at
        return None if self.shown_at is None or end is None else max(0.0, self.shown_at - max(end, self.known))

    def truth(self, now: float) -> JobTruth:
        """Return all that is true about the job at *now*."""
        facts = self.facts
        reply_ref = facts.request.get("replyRef")
        return JobTruth(
            job_id=facts.job_id,
            service=facts.service,
            kind=facts.kind,
            operation=facts.operation,
            fate=facts.fate.value,
            expected=self.scenario.expected,
            status=self.scenario.status(now - self.born),
            created_at=self.born,
            ends_at=self.ends_at,
            ended=self.has_ended(now),
            reads=self.reads,
            shown_at=self.shown_at,
            lag=self.lag(),
            reply_ref=reply_ref if isinstance(reply_ref, str) else None,
            submitted=self.submitted,
            foreign=self.foreign,
        )


class JobRegistry:
    """Makes jobs and finds them again; *user* is the number in the token, *inline* the share of images sent as base64."""

    def __init__(self, *, seed: int, speed: float, user: str, links: SignedLinks, start_wall: float, inline: float) -> None:
        self.by_id: dict[str, SimulatedJob] = {}
        self.jobs: list[SimulatedJob] = []
        self.credits: dict[str, int] = dict.fromkeys(MUSIC_ACCOUNTS, _START_CREDITS)
        self.user = user
        self._random = Random(seed)
        self._speed = speed
        self._links = links
        self._start_wall = start_wall
        self._inline = inline

    def create(self, order: JobOrder, now: float, chances: Mapping[Fate, float]) -> SimulatedJob:
        """Make the job of *order*, born its age before *now*; *chances* decide its fate if the order does not."""
        if order.kind not in KINDS:
            raise ValueError(f"unknown kind of job: {order.kind!r} (one of {', '.join(KINDS)})")
        created = self._start_wall + now - order.age
        facts = self._facts(order, created, chances)
        scenario = Scenario(
            facts, script=order.script, speed=self._speed, duration=order.duration, created=created, links=self._links
        )
        job = SimulatedJob(scenario, now - order.age, now, order.reply_url, order.foreign, order.submitted)
        self.by_id[facts.job_id] = job
        self.jobs.append(job)
        return job

    def find_media(self, name: str) -> tuple[SimulatedJob, int] | None:
        """Return the job that the media called *name* belongs to, and which of its media it is."""
        number, index = name[:8], name[-4:]
        try:
            job = self.jobs[int(number, 16)]
        except (ValueError, IndexError):
            return None
        return (job, int(index, 16)) if media_name(job.facts, int(index, 16)) == name else None

    def cancel(self, job: SimulatedJob, now: float) -> bool:
        """End *job* as its user's wish; return whether it was still running."""
        scenario = job.scenario.cancelled(now - job.born)
        running = scenario is not job.scenario
        job.scenario = scenario
        return running

    def _facts(self, order: JobOrder, wall: float, chances: Mapping[Fate, float]) -> JobIdentity:
        random = self._random
        number = len(self.jobs)
        music = order.kind == "music"
        fate = draw_fate(random, chances)
        accounts = MUSIC_ACCOUNTS if music else ACCOUNTS
        email = order.email or accounts[number % len(accounts)]
        user = stranger(self.user) if order.foreign else self.user
        self.credits[email] = max(0, self.credits.get(email, _START_CREDITS) - _PRICE.get(order.kind, 0))
        return JobIdentity(
            job_id=self._new_id(order.kind, wall, user, email),
            number=number,
            service="flowmusic" if music else "google-flow",
            kind=order.kind,
            operation=order.operation or ("music" if music else f"{order.kind}s"),
            email=email,
            model=order.model or _MODELS[order.kind],
            user=user,
            fate=order.fate or fate,
            media=order.media or (2 if music else 1),
            seed=random.getrandbits(40),
            credits_left=self.credits[email],
            inline=self._inline,
            inputs=order.inputs,
            request=order.request or {},
        )

    def _new_id(self, kind: str, wall: float, user: str, email: str) -> str:
        while True:
            if kind == "music":
                job_id = music_job_id(self._random, user, email)
            else:
                job_id = flow_job_id(self._random, wall, kind, user, email)
            if job_id not in self.by_id:  # among 20,000 ids of one second two are alike one time in five
                return job_id
