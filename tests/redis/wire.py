"""A connection that speaks the servers' protocol and does nothing else: no pool, no retries, no topology.

Tests look through it at what is really stored, and not through the client whose behaviour they test.
"""

import socket

from hiredis import Reader, ReplyError, pack_command

__all__ = ["ReplyError", "Wire"]


class Wire:
    """One connection to ``(host, port)`` or to the path of a Unix socket. Not for several threads at once."""

    def __init__(self, address: tuple[str, int] | str, timeout: float = 5.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self._socket.settimeout(timeout)
        self._reader = Reader(encoding="utf-8", errors="surrogateescape", notEnoughData=Ellipsis)
        try:
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise

    def ask(self, *words: str | bytes | float) -> object:
        """Send one command and return its reply, text as str. An error reply is raised, a lost connection too."""
        self.send(*words)
        return self.reply()

    def send(self, *words: str | bytes | float) -> None:
        """Send one command and read nothing."""
        self._socket.sendall(pack_command(words))

    def reply(self) -> object:
        """Read the next reply."""
        while (answer := self._reader.gets()) is ...:
            received = self._socket.recv(1 << 16)
            if not received:
                raise ConnectionResetError("the server has closed the connection")
            self._reader.feed(received)
        if isinstance(answer, ReplyError):
            raise answer
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
