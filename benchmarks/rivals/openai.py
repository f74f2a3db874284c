"""openai: `videos.poll`, a read every second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.rivals import all_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

PACKAGE = "openai"


def job_id(number: int) -> str:
    return f"video_{number:07d}"


def record(number: int, base: str, target: str, *, ended: bool) -> dict[str, Any]:  # noqa: ARG001 - the adapters' common form
    return {
        "id": job_id(number),
        "object": "video",
        "model": "sora-2",
        "status": "completed" if ended else "in_progress",
        "progress": 100 if ended else 50,
        "created_at": 1_790_000_000,
        "completed_at": None,
        "expires_at": None,
        "error": None,
        "prompt": "A paper kite over the harbour",
        "remixed_from_video_id": None,
        "seconds": "8",
        "size": "1280x720",
    }


async def watch(base: str, ids: Sequence[str], delivered: Callable[[str], None]) -> Counter[str]:
    from openai import AsyncOpenAI  # noqa: PLC0415 - the server loads this file too

    async with AsyncOpenAI(api_key="sk-example", base_url=base) as client:

        async def wait(name: str) -> object:
            video = await client.videos.poll(name)
            assert video.status == "completed"
            return video

        return await all_of(wait, ids, delivered)
