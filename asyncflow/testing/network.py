"""Connections within one virtual event loop: what is written at one end is read at the other in the same instant.

There is no socket and no kernel in between, so that time stands still while something is on its way. Addresses are those of one
loop: two tests cannot meet, and no port is ever taken by somebody else.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, cast
from weakref import WeakKeyDictionary

__all__ = ["Listener", "Network", "Pipe"]

Address = tuple[str, int]
Factory = Callable[[], asyncio.BaseProtocol]

_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - names, nothing is bound
_HERE = frozenset({"127.0.0.1", "::1", "localhost"})
_FIRST_PORT = 49152
_HIGH_WATER_BYTES = 65536


class Endpoint:
    """Stands where the socket of a transport or a server is asked for."""

    family: int = socket.AF_INET
    type: int = socket.SOCK_STREAM
    proto: int = socket.IPPROTO_TCP

    def __init__(self, own: Address, peer: Address | None = None) -> None:
        self._own = own
        self._peer = peer

    def getsockname(self) -> Address:
        """Return the address of this end."""
        return self._own

    def getpeername(self) -> Address:
        """Return the address of the other end."""
        if self._peer is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return self._peer

    def setsockopt(self, *_option: object) -> None:
        """Do nothing: there is nothing to be tuned."""

    def fileno(self) -> int:
        """Return -1: no file is open."""
        return -1


class Pipe(asyncio.Transport):
    """One end of a connection; `connect` makes both."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.BaseProtocol, own: Address, peer: Address) -> None:
        super().__init__({"socket": Endpoint(own, peer), "sockname": own, "peername": peer})
        self._loop = loop
        self.protocol: asyncio.BaseProtocol = protocol
        self.peer: Pipe
        self._arrived: deque[bytes] = deque()  # at this end, and not yet given to the protocol; b"" is the end of it
        self.size: int = 0
        self._high = _HIGH_WATER_BYTES
        self.low: int = _HIGH_WATER_BYTES // 4
        self._is_reading = True
        self._is_told = False
        self.is_full: bool = False  # our writes have been held back
        self.has_ended: bool = False  # nothing more is written here
        self._is_closing = False
        self.is_lost: bool = False

    @classmethod
    def connect(
        cls,
        loop: asyncio.AbstractEventLoop,
        client: asyncio.BaseProtocol,
        server: asyncio.BaseProtocol,
        near: Address,
        far: Address,
    ) -> Pipe:
        """Return the client's end of a new connection; both protocols hear of it in the next step of the loop."""
        here, there = cls(loop, client, near, far), cls(loop, server, far, near)
        here.peer, there.peer = there, here
        loop.call_soon(server.connection_made, there)
        loop.call_soon(client.connection_made, here)
        return here

    # -- writing -----------------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Have *data* arrive at the other end in the next step of the loop."""
        if self.has_ended:
            if not self._is_closing:
                raise RuntimeError("cannot write after write_eof()")
            return
        if data:
            self.peer.arrive(bytes(data))
            if self.peer.size > self._high and not self.is_full:
                self.is_full = True
                self.protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def write_eof(self) -> None:
        """Tell the other end that nothing more comes."""
        if not self.has_ended:
            self.has_ended = True
            self.peer.arrive(b"")

    def get_write_buffer_size(self) -> int:
        """Return the bytes that the other end has not yet taken."""
        return self.peer.size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return at how many bytes the protocol is asked to wait (the second), and to go on (the first)."""
        return self.low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set these numbers."""
        self._high = high if high is not None else 4 * low if low is not None else _HIGH_WATER_BYTES
        self.low = low if low is not None else self._high // 4

    # -- reading -----------------------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether what arrives is given to the protocol."""
        return self._is_reading and not self._is_closing

    def pause_reading(self) -> None:
        """Keep what arrives."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Give what has arrived to the protocol, and what comes."""
        self._is_reading = True
        self._tell()

    def arrive(self, data: bytes) -> None:
        """Take *data* from the other end; b"" is its end."""
        if not self._is_closing:
            self._arrived.append(data)
            self.size += len(data)
            self._tell()

    def _tell(self) -> None:
        if self._arrived and not self._is_told:
            self._is_told = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._is_told = False
        while self._arrived and self._is_reading and not self._is_closing:
            data = self._arrived.popleft()
            self.size -= len(data)
            if data:
                self._give(data)
            elif not cast("asyncio.Protocol", self.protocol).eof_received():
                self.close()
        peer = self.peer
        if peer.is_full and self.size <= peer.low and not peer.is_lost:
            peer.is_full = False
            peer.protocol.resume_writing()

    def _give(self, data: bytes) -> None:
        protocol = self.protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            cast("asyncio.Protocol", protocol).data_received(data)
            return
        buffer = memoryview(protocol.get_buffer(len(data)))
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        if size < len(data):
            self._arrived.appendleft(data[size:])
            self.size += len(data) - size
        protocol.buffer_updated(size)

    # -- the end -----------------------------------------------------------------------------------------------------------

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who is told what arrives."""
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have another one told from now on."""
        self.protocol = protocol

    def is_closing(self) -> bool:
        """Return whether this end is closed."""
        return self._is_closing

    def close(self) -> None:
        """Close this end; what was written before still arrives."""
        if not self._is_closing:
            self.write_eof()
            self.lose(None)

    def abort(self) -> None:
        """Cut the connection: the other end sees a reset."""
        self.has_ended = True
        self.lose(None)
        self.peer.has_ended = True
        self.peer.lose(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def lose(self, error: Exception | None) -> None:
        """Be done with this end, and tell the protocol why in the next step of the loop."""
        if not self._is_closing:
            self._is_closing = True
            self._arrived.clear()
            self.size = 0
            self._loop.call_soon(self._end, error)

    def _end(self, error: Exception | None) -> None:
        self.is_lost = True
        self.protocol.connection_lost(error)


class Listener(asyncio.AbstractServer):
    """A server of one address."""

    def __init__(self, network: Network, loop: asyncio.AbstractEventLoop, factory: Factory, address: Address) -> None:
        self.factory: Factory = factory
        self._network = network
        self._loop = loop
        self.address: Address = address

    @property
    def sockets(self) -> tuple[Endpoint, ...]:
        """What tells the address; nothing when closed."""
        return (Endpoint(self.address),) if self.is_serving() else ()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that this listens in."""
        return self._loop

    def is_serving(self) -> bool:
        """Return whether connections are accepted."""
        return self._network.listeners.get(self.address) is self

    async def start_serving(self) -> None:
        """Do nothing: a listener listens from the start."""

    async def serve_forever(self) -> None:
        """Wait until this is cancelled, then close."""
        try:
            await self._loop.create_future()
        finally:
            self.close()

    def close(self) -> None:
        """Accept no more connections; those that there are go on."""
        if self.is_serving():
            del self._network.listeners[self.address]

    async def wait_closed(self) -> None:
        """Return at once."""


class Network:
    """The addresses of one loop, and who listens there."""

    def __init__(self) -> None:
        self.listeners: dict[Address, Listener] = {}
        self._ports = count(_FIRST_PORT)
        self._dialled: WeakKeyDictionary[socket.socket, Address] = WeakKeyDictionary()

    def listen(self, loop: asyncio.AbstractEventLoop, factory: Factory, host: object, port: int | None) -> Listener:
        """Return a new listener; without a *port* on a free one."""
        address = (_plain(host), port or next(self._ports))
        if address in self.listeners:
            raise OSError(errno.EADDRINUSE, f"address {address} is in use")
        self.listeners[address] = listener = Listener(self, loop, factory, address)
        return listener

    def find(self, host: object, port: object) -> Listener:
        """Return who listens there; refuse as a machine does where nobody does."""
        found = self.listeners.get((_plain(host), int(str(port))))
        if found is None:
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"nobody listens on {host}:{port} in this loop (virtual time has no network)"
            )
        return found

    def dial(self, caller: socket.socket, address: Sequence[Any]) -> None:
        """Note where a socket, which is never used, was to be connected to."""
        host, port = address[:2]
        self._dialled[caller] = self.find(host, port).address

    def dialled(self, caller: socket.socket) -> Address:
        """Return where that was, and close the socket."""
        caller.close()
        return self._dialled.pop(caller)

    def connect(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.BaseProtocol, listener: Listener) -> Pipe:
        """Return the caller's end of a connection to *listener*."""
        return Pipe.connect(loop, protocol, listener.factory(), ("127.0.0.1", next(self._ports)), listener.address)


def _plain(host: object) -> str:
    """Return *host*, all names of this machine being one."""
    name = str(host or "")
    return "127.0.0.1" if name in _EVERYWHERE or name in _HERE else name
