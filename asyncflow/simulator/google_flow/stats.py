"""The load of the Google Flow accounts (API.md 7): statistics, not a list of jobs.

Pure: no clock, no I/O, no asyncio.
"""

from collections.abc import Iterable

from asyncflow.simulator.jobs import JobRegistry, SimulatedJob

__all__ = ["statistics"]

_WINDOW = 15 * 60.0
_SHOWN = 10


def statistics(book: JobRegistry, option: str, now: float, start_wall: float) -> dict[str, object]:
    """Return the summary and, if *option* names it, what is executing or the history of the last 15 minutes."""
    jobs = [job for job in book.jobs if job.facts.service == "google-flow" and not job.foreign]
    parts = {
        "videos": [job for job in jobs if job.facts.kind == "video"],
        "images": [job for job in jobs if job.facts.kind == "image"],
        "combined": jobs,
    }
    answer: dict[str, object] = {"emails": sorted({job.facts.email for job in jobs})}
    return answer | {name: _part(members, option, now, start_wall) for name, members in parts.items()}


def _part(jobs: list[SimulatedJob], option: str, now: float, start_wall: float) -> dict[str, object]:
    accounts: dict[str, list[SimulatedJob]] = {}
    for job in jobs:
        accounts.setdefault(job.facts.email, []).append(job)
    part: dict[str, object] = {"summary": {email: _summary(members, now) for email, members in sorted(accounts.items())}}
    if option == "executing":
        part["executing"] = {job.facts.job_id: _executing(job, now, start_wall) for job in jobs if not job.has_ended(now)}
    if option == "history":
        ended = [job for job in _ended(jobs, now) if now - (job.ends_at or 0.0) <= _WINDOW]
        ended.sort(key=lambda job: job.ends_at or 0.0, reverse=True)
        part["history"] = {job.facts.job_id: _history(job, start_wall) for job in ended[:_SHOWN]}
    return part


def _ended(jobs: Iterable[SimulatedJob], now: float) -> list[SimulatedJob]:
    return [job for job in jobs if job.has_ended(now)]


def _summary(jobs: list[SimulatedJob], now: float) -> dict[str, int]:
    ended = _ended(jobs, now)
    failed = sum(job.scenario.status(now - job.born) == "failed" for job in ended)
    executing = len(jobs) - len(ended)
    durations = [(job.ends_at or 0.0) - job.born for job in ended]
    average = round(1000 * sum(durations) / len(durations)) if durations else 0
    score = executing + failed * 10
    completed = len(ended) - failed
    counts = {"executing": executing, "completed": completed, "failed": failed, "rateLimited": 0}
    return counts | {"avgResponseTime": average, "score": score}


def _executing(job: SimulatedJob, now: float, start_wall: float) -> dict[str, object]:
    minutes, seconds = divmod(int(now - job.born), 60)
    timestamp = round(1000 * (start_wall + job.born))
    return {"email": job.facts.email, "timestamp": timestamp, "elapsed": f"{minutes:02d}:{seconds:02d}"}


def _history(job: SimulatedJob, start_wall: float) -> dict[str, object]:
    end = job.ends_at or 0.0
    took = round(1000 * (end - job.born))
    status = 400 if job.scenario.expected == "failed" else 200
    return {"email": job.facts.email, "timestamp": round(1000 * (start_wall + end)), "httpStatus": status, "responseTime": took}
