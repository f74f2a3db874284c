"""What a server tells of itself and of a queue, read.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from typing import Any

import msgspec

from asyncflow.cluster.store import GroupStatus, StoreStatus, WorkerInfo

__all__ = ["read_status", "worries"]

_OLDEST = (6, 2)


def read_status(queue: str, answer: bytes) -> StoreStatus:
    """Return what the script `status` answered."""
    now, meta, budget, workers, watched, due, lag, kept, events, groups, schema = msgspec.msgpack.decode(answer)
    counts, limits = _pairs(meta), _pairs(budget)
    return StoreStatus(
        queue=queue,
        schema=int(schema),
        watched=watched,
        leased=int(counts.pop("leased", 0)),
        due=due,
        lag=float(lag),
        kept=kept,
        events=events,
        rate=float(limits["rate"]) if "rate" in limits else None,
        pause=max(float(limits.get("paused", 0)) - now, 0.0),
        is_draining=counts.pop("draining", None) is not None,
        counts={name: int(count) for name, count in counts.items() if name not in {"schema", "fence"}},
        workers=tuple(_worker(name, words, now) for name, words in sorted(_pairs(workers).items())),
        groups=tuple(_group(_pairs(group)) for group in groups),
    )


def _pairs(flat: Any) -> dict[str, Any]:  # noqa: ANN401 - an empty table of Lua's is an empty array or an empty map
    return dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}


def _worker(name: str, words: str, now: float) -> WorkerInfo:
    at, schema, *rest = words.split(" ", 2)
    return WorkerInfo(name, max(now - float(at), 0.0), int(schema), " ".join(rest))


def _group(fields: dict[str, Any]) -> GroupStatus:
    lag = fields.get("lag")  # Redis 7 and Valkey tell it
    return GroupStatus(fields["name"], fields["consumers"], fields["pending"], lag if isinstance(lag, int) else None)


def worries(info: bytes) -> list[str]:
    """Return what of a server's INFO is not as it should be for a store, each in a sentence."""
    lines = (line.partition(":") for line in info.decode("utf-8", "replace").splitlines())
    facts = {name: value for name, _, value in lines}
    found: list[str] = []
    version = tuple(int(part) for part in facts.get("redis_version", "0.0").split(".")[:2] if part.isdigit())
    if version < _OLDEST:
        found.append(f"its version is {facts.get('redis_version')}, and 6.2 is the oldest that will do")
    if facts.get("aof_enabled") != "1":
        found.append("its append-only file is off: what was submitted is lost when it restarts (appendonly yes)")
    elif facts.get("aof_last_write_status", "ok") != "ok":
        found.append("its append-only file cannot be written: look at its disk")
    if facts.get("maxmemory_policy") != "noeviction":
        found.append(f"its policy is {facts.get('maxmemory_policy')}: it may throw jobs away (maxmemory-policy noeviction)")
    if facts.get("role") not in {"master", None}:
        found.append("it is a replica: it takes no jobs")
    return found
