"""replicate: `Prediction.async_wait`, a read every half second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.rivals import all_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

PACKAGE = "replicate"


def job_id(number: int) -> str:
    return f"pr{number:07d}"


def record(number: int, base: str, target: str, *, ended: bool) -> dict[str, Any]:  # noqa: ARG001 - the adapters' common form
    name = job_id(number)
    return {
        "id": name,
        "model": "example/kite",
        "version": "v1",
        "status": "succeeded" if ended else "processing",
        "input": {"prompt": "A paper kite over the harbour"},
        "output": ["https://storage.example.com/1"] if ended else None,
        "logs": "",
        "error": None,
        "metrics": None,
        "created_at": "2026-11-04T09:30:12.448Z",
        "started_at": "2026-11-04T09:30:12.448Z",
        "completed_at": None,
        "urls": {"get": f"{base}/v1/predictions/{name}", "cancel": f"{base}/v1/predictions/{name}/cancel"},
    }


async def watch(base: str, ids: Sequence[str], delivered: Callable[[str], None]) -> Counter[str]:
    from replicate.client import Client  # noqa: PLC0415 - the server loads this file too

    client = Client(api_token="r8_example", base_url=base)  # noqa: S106 - a made-up token

    async def wait(name: str) -> object:
        prediction = await client.predictions.async_get(name)
        await prediction.async_wait()
        assert prediction.status == "succeeded"
        return prediction

    return await all_of(wait, ids, delivered)
