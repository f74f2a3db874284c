"""planet: `OrdersClient.wait`, a read every five seconds, ten requests a second for the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.rivals import all_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

PACKAGE = "planet"


def job_id(number: int) -> str:
    return f"00000000-0000-4000-8000-00000{number:07d}"


def record(number: int, base: str, target: str, *, ended: bool) -> dict[str, Any]:  # noqa: ARG001 - the adapters' common form
    return {"id": job_id(number), "name": "kite", "state": "success" if ended else "running", "_links": {"_self": target}}


async def watch(base: str, ids: Sequence[str], delivered: Callable[[str], None]) -> Counter[str]:
    from planet import Auth, OrdersClient, Session  # noqa: PLC0415 - the server loads this file too

    async with Session(auth=Auth.from_key("example")) as session:
        client = OrdersClient(session, base_url=base)
        return await all_of(client.wait, ids, delivered)
