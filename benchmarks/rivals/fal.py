"""fal-client: handles and their `get`, a read every tenth of a second; the result itself is one more request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.rivals import all_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

PACKAGE = "fal-client"


def job_id(number: int) -> str:
    return f"{number:07d}"


def record(number: int, base: str, target: str, *, ended: bool) -> dict[str, Any]:
    url = f"{base}/example/kite/requests/{job_id(number)}"
    if "/status" not in target:
        return {"video": {"url": "https://storage.example.com/1"}}
    links = {"request_id": job_id(number), "response_url": url, "status_url": f"{url}/status", "cancel_url": f"{url}/cancel"}
    return {"status": "COMPLETED" if ended else "IN_PROGRESS", "logs": None, "metrics": {}, **links}


async def watch(base: str, ids: Sequence[str], delivered: Callable[[str], None]) -> Counter[str]:
    from fal_client import AsyncClient  # noqa: PLC0415 - the server loads this file too
    from fal_client.client import AsyncRequestHandle  # noqa: PLC0415

    client = AsyncClient(key="example")
    genuine = await client.get_handle("example/kite", "0")

    async def wait(name: str) -> object:
        url = f"{base}/example/kite/requests/{name}"
        # The package's own addresses cannot be changed, those of a handle can.
        handle = AsyncRequestHandle(name, url, f"{url}/status", f"{url}/cancel", client=genuine.client)
        return await handle.get()

    return await all_of(wait, ids, delivered)
