"""A scenario: what the service says about one job, as a function of the job's age.

Pure: no clock, no I/O, no asyncio; the age is an argument. Durations are those of the service (video 57-100-179 s at 2, 50 and
98 % of jobs, image 15-30-62 s, music 122-140-159 s), divided by *speed*. The times in the records are divided alike: `updated`
minus `created` is what a client experiences and learns from, never the duration at speed 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from random import Random

import msgspec

from asyncflow.simulator.flowmusic import records as music_records
from asyncflow.simulator.google_flow import records as flow_records
from asyncflow.simulator.identity import ACCOUNTS, KINDS, Fate, JobIdentity, flow_job_id, music_job_id
from asyncflow.simulator.signed_links import SignedLinks

__all__ = ["Scenario", "draw_duration", "draw_fate"]

_MEDIANS = {"video": 100.0, "image": 30.0, "music": 140.0, "upscale": 45.0}
# Standard deviations of the logarithm: ln(98 % / 50 %) / 2.054, from both ends of the ranges above.
_SPREADS = {"video": 0.28, "image": 0.345, "music": 0.0645, "upscale": 0.16}
_MODELS = {"video": "veo-3.1-fast", "image": "nano-banana-2", "music": "lyria-3.5"}
_TERMINAL = frozenset({"completed", "failed"})
_OUTCOMES = {
    Fate.SUCCESS: "succeeded",
    Fate.PARTIAL: "partial",
    Fate.NO_MEDIA: "no_output",
    Fate.REFUSED: "no_output",
    Fate.UNLINKED: "no_output",
    Fate.FAILED: "failed",
}

Script = Sequence[tuple[float, str]]


def draw_duration(random: Random, kind: str, operation: str = "") -> float:
    """Return how long a job takes at the service's own speed, in seconds."""
    family = operation if operation in _MEDIANS else kind
    return random.lognormvariate(math.log(_MEDIANS[family]), _SPREADS[family])


def draw_fate(random: Random, chances: Mapping[Fate, float]) -> Fate:
    """Return a fate: each of *chances* with its probability, success with what is left."""
    dice = random.random()
    for fate, chance in chances.items():
        dice -= chance
        if dice < 0:
            return fate
    return Fate.SUCCESS


class Scenario:
    """One job's life. *seed* decides its invented content and, unless given, its *duration* (seconds at speed 1).

    *script* is a list of (seconds at speed 1, status): any words in any order, the first one valid from the start. *created* is
    the unix time of the job's birth; ages count from there, in the client's seconds. *ends_after* is the age at which the first
    terminal status comes, None if none ever does.
    """

    __slots__ = ("_body", "_step", "created", "ends_after", "facts", "links", "speed", "steps")

    def __init__(
        self,
        facts: JobIdentity | None = None,
        *,
        kind: str = "video",
        script: Script | None = None,
        fate: Fate | str = Fate.SUCCESS,
        seed: int = 0,
        speed: float = 1.0,
        duration: float | None = None,
        created: float = 1_790_000_000.0,
        links: SignedLinks | None = None,
    ) -> None:
        self.facts: JobIdentity = facts or make_facts(kind, Fate(fate), seed, created)
        self.speed: float = speed
        self.created: float = created
        self.links: SignedLinks = links or SignedLinks()
        seconds = _draw_script(self.facts, duration) if script is None else script
        self.steps: tuple[tuple[float, str], ...] = tuple(
            sorted(((at / speed, status) for at, status in seconds), key=itemgetter(0))
        )
        self.ends_after: float | None = next((max(at, 0.0) for at, status in self.steps if status in _TERMINAL), None)
        self._step = -1
        self._body = b""

    @property
    def expected(self) -> str:
        """The outcome that the job will have had: succeeded, partial, no_output, failed, or pending if it never ends."""
        last = next((status for _, status in self.steps if status in _TERMINAL), None)
        if last is None:
            return "pending"
        return "failed" if last == "failed" else _OUTCOMES.get(self.facts.fate, "succeeded")

    def step(self, age: float) -> int:
        """Return the number of the step that holds at *age*."""
        number = len(self.steps) - 1
        while number > 0 and self.steps[number][0] > age:
            number -= 1
        return number

    def status(self, age: float) -> str:
        """Return the service's word for the job's progress at *age*."""
        return self.steps[self.step(age)][1]

    def has_ended(self, age: float) -> bool:
        """Return whether a final status has been reached at *age*, whatever a script makes of it later."""
        return self.ends_after is not None and age >= self.ends_after

    def next_change(self, age: float) -> float | None:
        """Return the age of the next step after *age*, or None after the last."""
        return next((at for at, _ in self.steps[1:] if at > age), None)

    def record(self, age: float) -> bytes:
        """Return the record at *age* as JSON; it is made once for each step."""
        step = self.step(age)
        if step != self._step:
            self._body = msgspec.json.encode(self._build(step))
            self._step = step
        return self._body

    def cancelled(self, age: float) -> "Scenario":
        """Return the same job, failed at *age* because its user gave it up; itself if it had ended by then."""
        if self.has_ended(age):
            return self
        steps = [(at * self.speed, status) for at, status in self.steps[: self.step(age) + 1]]
        script = [*steps, (age * self.speed, "failed")]
        facts = replace(self.facts, cancelled=True)
        return Scenario(facts, script=script, speed=self.speed, created=self.created, links=self.links)

    def _build(self, step: int) -> dict[str, object]:
        at, status = self.steps[step]
        make = music_records.record if self.facts.service == "flowmusic" else flow_records.record
        updated = self.created + at if step or status in _TERMINAL else None
        return make(self.facts, status, created=self.created, updated=updated, links=self.links)


def make_facts(kind: str, fate: Fate, seed: int, created: float, *, number: int = 0, user: str = "1234") -> JobIdentity:
    """Return the facts of a job of *kind* on one of the invented accounts, its id included."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind of job: {kind!r} (one of {', '.join(KINDS)})")
    random = Random(seed)
    email = ACCOUNTS[number % len(ACCOUNTS)]
    music = kind == "music"
    return JobIdentity(
        job_id=music_job_id(random, user, email) if music else flow_job_id(random, created, kind, user, email),
        number=number,
        service="flowmusic" if music else "google-flow",
        kind=kind,
        operation="music" if music else f"{kind}s",
        email=email,
        model=_MODELS[kind],
        user=user,
        fate=fate,
        media=2 if music else 1,
        seed=seed,
    )


def _draw_script(facts: JobIdentity, duration: float | None) -> list[tuple[float, str]]:
    random = Random(facts.seed ^ 0x5EED)
    music = facts.service == "flowmusic"
    total = draw_duration(random, facts.kind, facts.operation) if duration is None else duration
    if facts.fate is Fate.FAILED and duration is None and random.random() < 0.5:
        total *= random.uniform(0.05, 1.0)  # about half of all failures come early
    script = [(0.0, "pending")] if music else [(0.0, "created"), (min(random.uniform(1.0, 5.0), total / 4), "started")]
    if facts.fate is Fate.ENDLESS:
        return script
    return [*script, (total, "failed" if facts.fate is Fate.FAILED else "completed")]
