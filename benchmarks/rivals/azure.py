"""azure-core: `AsyncLROPoller` over its aiohttp transport; its interval is 30 s by default, and 5 s here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.rivals import all_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

PACKAGE = "azure-core"


def job_id(number: int) -> str:
    return f"op-{number:07d}"


def record(number: int, base: str, target: str, *, ended: bool) -> dict[str, Any]:  # noqa: ARG001 - the adapters' common form
    return {"id": job_id(number), "status": "Succeeded" if ended else "InProgress"}


async def watch(base: str, ids: Sequence[str], delivered: Callable[[str], None]) -> Counter[str]:
    from azure.core import AsyncPipelineClient  # noqa: PLC0415 - the server loads this file too
    from azure.core.pipeline import policies  # noqa: PLC0415
    from azure.core.polling import AsyncLROPoller  # noqa: PLC0415
    from azure.core.polling.async_base_polling import AsyncLROBasePolling  # noqa: PLC0415
    from azure.core.rest import HttpRequest  # noqa: PLC0415

    usual = [policies.RequestIdPolicy(), policies.UserAgentPolicy("example"), policies.AsyncRetryPolicy()]
    async with AsyncPipelineClient(base, policies=usual) as client:

        async def wait(name: str) -> object:
            request = HttpRequest("GET", f"{base}/operations/{name}")
            first = await client.send_request(request, _return_pipeline_response=True)
            first.http_response.headers["Operation-Location"] = f"{base}/operations/{name}"
            poller = AsyncLROPoller(client, first, lambda response: response, AsyncLROBasePolling(timeout=5))
            return await poller.result()

        return await all_of(wait, ids, delivered)
