"""A TCP proxy that does to connections what networks do: cuts, silence, latency, drips. Any protocol, any server.

A test puts it between a client and a server and gives the client ``proxy.address``. Faults are set from the test's
thread and are in force when the call returns; ``heal()`` ends them all. Each acts on the connections that are open and
on those to come:

- ``cut()``: every connection ends now, with a reset. ``down()`` also refuses new ones until ``up()``.
- ``cut_reply(after=N)``: *once*, the connection that gets the next reply is cut when N bytes of it are through: the
  server has done what it was asked, and the client does not know. ``of=b"EVALSHA"`` waits for a request with these
  bytes. ``cut_request(after=N, of=…)`` does the same to a request: with 0 the server never hears of it, nor of what
  came in one piece with it.
- ``swallow()``: half-open. Connections stay and new ones are accepted, but what is sent the named ways is lost.
- ``delay(seconds)``: each piece that arrives is passed on that much later. ``drip(size, every)``: so few bytes at once.

``fired`` is set when a ``cut_…`` has happened: ``assert proxy.fired.wait(5)``. A speed measured through it is its own.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import Enum
from typing import Any

from tests.ports import HOST, Port

PIECE = 1 << 16
RESET = struct.pack("ii", 1, 0)  # SO_LINGER for no time: what is not sent is dropped, and the peer sees a reset


class Way(Enum):
    """Which way bytes go."""

    REQUEST = "from the client to the server"
    REPLY = "from the server to the client"


class Cut:
    """A cut that waits for its moment: for a request with certain bytes, then for so many bytes one way."""

    def __init__(self, way: Way, after: int, of: bytes) -> None:
        self.way, self.after, self.of = way, after, of
        self.pair: Pair | None = None
        self._tails: dict[Pair, bytes] = {}

    def meets(self, pair: "Pair", piece: bytes) -> bool:
        """Look at a piece of a request; tell whether its connection is the one to be cut."""
        if self.pair is None:
            seen = self._tails.get(pair, b"") + piece
            self._tails[pair] = seen[-len(self.of) :]
            if self.of in seen:
                self.pair = pair
        return self.pair is pair


class Pair:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, proxy: "Proxy", client: asyncio.StreamWriter) -> None:
        self._proxy, self._client, self._server = proxy, client, None
        self.closed = False

    async def run(self, requests: asyncio.StreamReader) -> None:
        """Carry what comes, until either side ends."""
        try:
            replies, self._server = await self._proxy.connect()
            for writer in (self._client, self._server):
                writer.transport.set_write_buffer_limits(0)  # what a cut lets through is sent before the reset
            if not self.closed:
                ways = self._carry(requests, self._server, Way.REQUEST), self._carry(replies, self._client, Way.REPLY)
                await asyncio.gather(*ways)
        except OSError:
            pass  # either side has gone
        finally:
            self.reset()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, way: Way) -> None:
        while piece := await source.read(PIECE):
            if self._proxy.latency:
                await asyncio.sleep(self._proxy.latency)
            allowed = self._proxy.allowed(self, way, piece)
            await self._write(target, piece if allowed is None else piece[:allowed], way)
            if allowed is not None:
                self.reset()
                self._proxy.fired.set()
                return
        if way not in self._proxy.swallowed:
            with suppress(OSError):
                target.write_eof()

    async def _write(self, target: asyncio.StreamWriter, piece: bytes, way: Way) -> None:
        while piece and way not in self._proxy.swallowed and not self.closed:
            size, every = self._proxy.dripping or (len(piece), 0.0)
            target.write(piece[:size])
            await target.drain()
            piece = piece[size:]
            if every:
                await asyncio.sleep(every)

    def reset(self) -> None:
        """End both connections with a reset. What is written is sent first, unless the peer does not take it."""
        self.closed = True
        self._proxy.pairs.discard(self)
        for writer in (self._client, self._server):
            if writer is not None:
                with suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()


class Proxy:
    """A proxy in front of ``server``: ``(host, port)``, or the path of a Unix socket.

    ``server`` may be set later and anew: connections to come go there. A context manager; closed, nothing is left.
    """

    def __init__(self, server: tuple[str, int] | str | None = None) -> None:
        self.server = server
        self.pairs: set[Pair] = set()
        self.fired = threading.Event()
        self.latency, self.dripping = 0.0, None
        self.swallowed: frozenset[Way] = frozenset()
        self._cuts: list[Cut] = []
        self._accepting: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._reserved = Port()
        self.port = self._reserved.number
        self.up()

    # -- where it is ----------------------------------------------------------------------------------------------

    @property
    def address(self) -> tuple[str, int]:
        """Host and port for the client, the same for its whole life."""
        return HOST, self.port

    @property
    def connections(self) -> int:
        """How many connections are open through it."""
        return len(self.pairs)

    # -- faults ---------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """End every connection with a reset."""
        self._do(self._reset_all)

    def down(self) -> None:
        """End every connection, and refuse new ones."""
        self._await(self._stop())

    def up(self) -> None:
        """Accept connections again."""
        self._await(self._listen())

    def cut_reply(self, *, after: int = 0, of: bytes = b"") -> None:
        """Cut one connection, once ``after`` bytes of the reply to a request with the bytes ``of`` are through."""
        self._arm(Cut(Way.REPLY, after, of))

    def cut_request(self, *, after: int = 0, of: bytes = b"") -> None:
        """Cut one connection, once ``after`` bytes of a request with the bytes ``of`` are through."""
        self._arm(Cut(Way.REQUEST, after, of))

    def swallow(self, *ways: Way) -> None:
        """Lose what is sent these ways, both by default, and say nothing of it."""
        self._set(swallowed=frozenset(ways or Way))

    def delay(self, seconds: float) -> None:
        """Hold every piece back for so long, either way."""
        self._set(latency=seconds)

    def drip(self, size: int = 1, every: float = 0.0) -> None:
        """Pass on so many bytes at a time, so many seconds apart, either way."""
        self._set(dripping=(size, every))

    def heal(self) -> None:
        """End all faults and take back the cuts that have not happened. What was swallowed stays lost."""
        self.fired.clear()
        self._set(latency=0.0, dripping=None, swallowed=frozenset(), _cuts=[])

    def close(self) -> None:
        """End every connection and stop listening."""
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._reserved.release()

    def __enter__(self):
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- inside its loop ------------------------------------------------------------------------------------------

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to the server."""
        if self.server is None:
            raise ConnectionRefusedError
        if isinstance(self.server, str):
            return await asyncio.open_unix_connection(self.server)
        return await asyncio.open_connection(*self.server)

    def allowed(self, pair: Pair, way: Way, piece: bytes) -> int | None:
        """Return how many bytes of a piece still go through before its connection is cut; None if it is not."""
        for cut in list(self._cuts):
            met = cut.meets(pair, piece) if way is Way.REQUEST else cut.pair is pair
            if not met or cut.way is not way:
                continue
            if cut.after < len(piece):
                self._cuts.remove(cut)
                return cut.after
            cut.after -= len(piece)
        return None

    def _arm(self, cut: Cut) -> None:
        self.fired.clear()
        self._do(lambda: self._cuts.append(cut))

    def _set(self, **values: object) -> None:
        self._do(lambda: self.__dict__.update(values))

    def _reset_all(self) -> None:
        for pair in list(self.pairs):
            pair.reset()

    async def _listen(self) -> None:
        if self._accepting is None:
            self._accepting = await asyncio.start_server(self._accept, HOST, self.port)

    async def _accept(self, requests: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        pair = Pair(self, client)
        self.pairs.add(pair)
        await pair.run(requests)

    async def _stop(self) -> None:
        accepting, self._accepting = self._accepting, None
        if accepting is not None:
            accepting.close()
        self._reset_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _do(self, step: Callable[[], object]) -> None:
        async def run() -> None:
            step()

        self._await(run())

    def _await(self, step: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(10)
