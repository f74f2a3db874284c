"""One watch list for many processes: jobs are polled by whichever worker is free, and any of them may die.

Names are loaded when they are first used; `RedisStore` needs the extra `redis`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncflow.cluster.consumer import EventStream
    from asyncflow.cluster.health_server import serve_health
    from asyncflow.cluster.store import Delivery, StoreStatus, WatchStore, WorkerStats
    from asyncflow.cluster.store_watch import StoreWatch
    from asyncflow.cluster.stores.memory import MemoryStore
    from asyncflow.cluster.stores.redis.store import RedisStore
    from asyncflow.cluster.worker import Worker

__all__ = [
    "Delivery",
    "EventStream",
    "MemoryStore",
    "RedisStore",
    "StoreStatus",
    "StoreWatch",
    "WatchStore",
    "Worker",
    "WorkerStats",
    "serve_health",
]

_ROOMS = {
    "Delivery": "store",
    "EventStream": "consumer",
    "MemoryStore": "stores.memory",
    "RedisStore": "stores.redis.store",
    "StoreStatus": "store",
    "StoreWatch": "store_watch",
    "WatchStore": "store",
    "Worker": "worker",
    "WorkerStats": "store",
    "serve_health": "health_server",
}


if not TYPE_CHECKING:  # a type checker that saw this would take any name for granted

    def __getattr__(name: str) -> object:
        room = _ROOMS.get(name)
        if room is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{room}"), name)
        globals()[name] = value
        return value
