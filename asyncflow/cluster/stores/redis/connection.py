"""A connection to Redis or Valkey: every call is repeated as long as that may help, and what goes wrong is said in our words."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from functools import cache
from hashlib import sha1
from importlib.resources import files
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from asyncflow.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RedisConnection", "Script", "script", "shown"]


class Script(NamedTuple):
    """A script's text, and the name under which a server remembers it."""

    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """Return the script of this name."""
    folder = files("asyncflow.cluster.stores.redis") / "lua"
    text = "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in ("common", name))
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


try:
    import redis.asyncio as redis
    from redis import exceptions as refusals
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError:
    raise UsageError("RedisStore needs redis-py: pip install 'asyncflow-useapi[redis]'") from None

_log = logging.getLogger("asyncflow.cluster")

_CONNECTIONS = 32
"""At most; whoever finds none free waits for one (a pool that raises instead loses calls)."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0

_GONE = (refusals.ConnectionError, refusals.TimeoutError, OSError, asyncio.TimeoutError)

_STARTING = (refusals.BusyLoadingError, refusals.ReadOnlyError, refusals.MovedError)

_NO_URL = (
    "a store's URL looks like redis://USER:PASSWORD@HOST:6379/0, rediss://... or unix:///PATH, with redis-py's options after a ? "
    "and with / ? # @ of a password written as %2F %3F %23 %40"
)

_REFUSED = ("refused", "{} refuses the user or the password", False)

_PASSING = ("unreachable", "{} is starting, or failing over", True)

_WORDS = {
    **dict.fromkeys(("NOAUTH", "WRONGPASS", "NOPERM"), _REFUSED),
    **dict.fromkeys(("LOADING", "BUSY", "MOVED", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "READONLY"), _PASSING),
    "OOM": ("full", "{} has no memory left", True),
    "MISCONF": ("full", "{} cannot write to its disk", True),
    "AFNEWER": ("newer", "the queue at {} was written by a newer asyncflow", False),
    "WRONGTYPE": ("foreign", "the keys of the queue at {} are somebody else's", False),
}
"""What the first word of a server's refusal means: the reason, the words for it, whether it passes."""


class RedisConnection:
    """The server at *url*; *patience* is for how many seconds a call is repeated before it fails, None for ever."""

    def __init__(self, url: str, patience: float | None) -> None:
        self.is_closed: bool = False
        self.place: str = shown(url)
        self._url = url
        self._patience = patience
        self._random = Random()
        self._server: Any = self._connect(url)

    @staticmethod
    def _connect(url: str, **options: Any) -> Any:  # noqa: ANN401 - redis-py's clients are generic in ways that change
        if not url.startswith("unix:"):
            options["socket_keepalive"] = True
        client: Any = redis  # which has types for half of it
        try:
            pool = client.BlockingConnectionPool.from_url(
                url,
                max_connections=_CONNECTIONS,
                timeout=None,
                protocol=2,
                socket_connect_timeout=5.0,
                socket_timeout=10.0,
                # Ours spans reconnections and knows what a server says while it starts.
                retry=Retry(NoBackoff(), 0),
                **options,
            )
            # Options are looked at when a connection is made: nothing is opened by that.
            pool.connection_class(**pool.connection_kwargs)
        except (ValueError, TypeError, refusals.RedisError):
            pool = None
        if pool is None:
            # Not in the handler: its error, whose text may hold a part of the password, would come along as the context.
            raise UsageError(_NO_URL)
        server = client.Redis(connection_pool=pool)
        server.response_callbacks.clear()  # answers as they come: what they are made into differs between versions
        return server

    async def run(self, name: str, keys: Sequence[str], *arguments: str | int | bytes, patience: float | None = None) -> Any:  # noqa: ANN401 - a script answers anything
        """Return what the script *name* answers."""
        text, sha = script(name)
        try:
            return await self.call("EVALSHA", sha, len(keys), *keys, *arguments, patience=patience)
        except refusals.NoScriptError:
            return await self.call("EVAL", text, len(keys), *keys, *arguments, patience=patience)

    async def call(self, *command: str | int | bytes, patience: float | None = None) -> Any:  # noqa: ANN401 - any command
        """Return what the server answers to *command*, which may arrive twice."""
        loop = asyncio.get_running_loop()
        allowed = patience if patience is not None else self._patience
        deadline = None if allowed is None else loop.time() + allowed
        pause = _FIRST_PAUSE
        while True:
            if self.is_closed:
                raise UsageError("this store is closed; make a new one")
            try:
                return await self._server.execute_command(*command)
            except refusals.NoScriptError:
                raise
            except (refusals.RedisError, *_GONE) as failure:
                error: Exception = failure
            if (place := _moved_to(error)) is not None:
                await self._follow(*place)
            refusal = _refusal(error, self.place)
            if not refusal.transient or (deadline is not None and loop.time() + pause > deadline):
                raise refusal from _discreet(error)
            _log.debug("store_call_repeated", extra={"command": str(command[0]), "reason": refusal.reason})
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _follow(self, host: str, port: int) -> None:
        """Talk to another node from now on: all keys of a queue are in one slot, and so on one node."""
        old, parts = self._server, urlsplit(self._url)
        user = parts.netloc.rpartition("@")[0]
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._server = self._connect(parts._replace(netloc=f"{user}@{place}" if user else place).geturl())
        with suppress(*_GONE, refusals.RedisError):
            await old.aclose(close_connection_pool=True)

    async def aclose(self) -> None:
        """Close all connections."""
        self.is_closed = True
        with suppress(*_GONE, refusals.RedisError):
            await self._server.aclose(close_connection_pool=True)
            await self._server.connection_pool.disconnect()


def shown(url: str) -> str:
    """Return where *url* leads, as it may be shown: without user and password."""
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname or ''}:{parts.port or 6379}" if parts.scheme != "unix" else parts.path
    except ValueError:
        return "the store"
    return f"{parts.scheme}://{host}"


def _moved_to(error: Exception) -> tuple[str, int] | None:
    """Return where a node of a cluster says that a key is, if it says so; older versions of redis-py have no error for it."""
    host, port = getattr(error, "host", None), getattr(error, "port", None)
    if isinstance(error, refusals.MovedError) and host and port:
        return str(host), int(port)
    found = re.match(r"MOVED \d+ (\S+):(\d+)$", str(error))
    return None if found is None else (found[1], int(found[2]))


def _refusal(error: Exception, place: str) -> StoreError:
    """Return what *error* means. Only its kind is told: servers repeat in their texts what they were sent."""
    text = str(error)
    if isinstance(error, refusals.AuthenticationError | refusals.AuthorizationError | refusals.NoPermissionError):
        meaning = _WORDS["NOAUTH"]
    elif isinstance(error, _STARTING):
        meaning = _WORDS["LOADING"]
    elif isinstance(error, _GONE):
        meaning = ("unreachable", "{} does not answer", True)
    else:
        # Within a script, an older server wraps it up, and redis-py takes the first word of some refusals off.
        is_full = isinstance(error, refusals.OutOfMemoryError) or "OOM command not allowed" in text
        meaning = _WORDS.get("OOM" if is_full else text.partition(" ")[0]) or ("failed", "{} refuses a call", False)
    reason, words, transient = meaning
    return StoreError(f"{words.format(place)} ({reason})", reason=reason, transient=transient)


def _discreet(error: Exception) -> Exception:
    """Return a stand-in for an error whose text may hold a password, an address or an id."""
    return refusals.RedisError(type(error).__name__)
