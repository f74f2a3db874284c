"""What a page may do, where its owner was allowed to: cancel a job, save its files on the machine that watches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from asyncflow import AsyncflowError, UsageError
from asyncflow.dashboard.formatting import plain
from asyncflow.dashboard.http import told

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable

    from asyncflow import MediaFile
    from asyncflow.dashboard.http import WebResponse

    Action = Callable[[str], Awaitable[str]]

__all__ = ["ActingClient", "actions_of", "carry_out"]


class ActingClient(Protocol):
    """What is asked of an `AsyncClient` so that the page can act."""

    async def cancel(self, job_id: str) -> None:
        """Cancel a job."""

    async def download(self, job: str, folder: str | os.PathLike[str]) -> tuple[MediaFile, ...]:
        """Save the files of a job."""
        ...


def actions_of(client: ActingClient, folder: str | os.PathLike[str], nudge: Callable[[str], object]) -> dict[str, Action]:
    """Return what can be done through *client*, by name; files go to *folder*, and *nudge* hastens the next look at a job."""

    async def cancel(job_id: str) -> str:
        await client.cancel(job_id)
        nudge(job_id)
        return "Cancelled. Its credits are spent all the same."

    async def download(job_id: str) -> str:
        files = await client.download(job_id, folder)
        there = sum(file.is_there for file in files)
        problem = next((file.error for file in files if file.error is not None), None)
        if problem is not None:
            raise problem.exception(job_id)
        return f"{there} file{'' if there == 1 else 's'} saved on the machine that watches."

    return {"cancel": cancel, "download": download}


async def carry_out(action: Action, job_id: str) -> WebResponse:
    """Do it, and return how that went, in a sentence."""
    try:
        return told(200, await action(job_id))
    except UsageError as error:
        return told(409, plain(str(error)))
    except AsyncflowError as error:
        return told(502, plain(str(error)))
