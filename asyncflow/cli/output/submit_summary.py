"""What a batch of submits came to, in words and as an exit code.

Pure: no clock, no I/O, no asyncio.
"""

from collections import Counter

from asyncflow import SubmitResult
from asyncflow.cli.exits import REFUSALS, ExitCode
from asyncflow.cli.formatting import count, one_line, problem_text, span
from asyncflow.redaction import digest

__all__ = ["SubmitSummary"]

_WIDEST_KEY = 24
_MOST_NAMED = 5


class SubmitSummary:
    """The results of a batch of *total* lines, counted as they come; *last* is the number of the last one in its file."""

    def __init__(self, total: int, last: int) -> None:
        self.total = total
        self.states: Counter[str] = Counter()
        self._earlier = 0
        self._unknown: list[int] = []
        self._kinds: Counter[str] = Counter()
        self._width = len(str(last))

    def take(self, result: SubmitResult) -> None:
        """Count *result*."""
        self.states[result.state] += 1
        self._earlier += result.is_earlier and result.state == "submitted"
        if result.state == "unknown":
            self._unknown.append(result.number)
        elif result.error is not None:
            self._kinds[result.error.kind] += 1

    @property
    def left(self) -> int:
        """How many lines were not begun."""
        return self.total - self.states.total()

    @property
    def code(self) -> ExitCode:
        """The exit code of the batch, whatever becomes of its jobs."""
        if REFUSALS & self._kinds.keys():
            return ExitCode.REFUSED
        if self.states["unknown"] or self.left:
            return ExitCode.LOST
        return ExitCode.BAD_OUTCOME if self.states["refused"] else ExitCode.SUCCEEDED

    def line(self, result: SubmitResult) -> str:
        """Return what there is to say of *result*: its line and key, its job by a digest, and how it stands."""
        key = one_line(result.key, _WIDEST_KEY)
        return f"{result.number:>{self._width}}  {key:<{_WIDEST_KEY}}  {_fate(result)}\n"

    def counts(self) -> str:
        """Return how many lines came to what."""
        new = self.states["submitted"] - self._earlier
        parts = [f"{new:,} submitted"]
        parts += [f"{self._earlier:,} submitted before"] if self._earlier else []
        parts += [f"{self.states[state]:,} {state}" for state in ("refused", "unknown") if self.states[state]]
        parts += [f"{self.left:,} not begun"] if self.left else []
        return ", ".join(parts)

    def summary(self, elapsed: float) -> list[str]:
        """Return the lines that end a batch which took *elapsed* seconds."""
        return [f"{count(self.total, 'line')} in {span(elapsed)}: {self.counts()}", *self.advice()]

    def advice(self) -> list[str]:
        """Return what can be done about the lines without a job."""
        lines: list[str] = []
        if self._unknown:
            named, more = sorted(self._unknown)[:_MOST_NAMED], len(self._unknown) - _MOST_NAMED
            words = ", ".join(map(str, named)) + (f" and {more:,} more" if more > 0 else "")
            lines.append(f"unknown: {'line' if len(named) == 1 else 'lines'} {words}; run again to look for their jobs,")
            lines.append("or with --resubmit-unknown to send them again, which may pay twice")
        if self.states["refused"]:
            reasons = ", ".join(f"{number:,} x {kind.replace('_', ' ')}" for kind, number in self._kinds.most_common())
            lines.append(f"refused: {reasons}; run again: only what may be taken by then is sent")
        return lines


def _fate(result: SubmitResult) -> str:
    if result.state == "unknown":
        status = result.error.status if result.error is not None else None
        return "unknown: sent, without an answer" + (f" [HTTP {status}]" if status is not None else "")
    if result.state == "refused":
        return f"{result.state}: {problem_text(result.error)}" if result.error is not None else result.state
    job = f"job {digest(result.job_id)}" if result.job_id is not None else "without a job"
    if result.is_earlier:
        return f"{job}  submitted before"
    return f"{job}  {one_line(result.job.status) if result.job is not None else 'found'}"
