"""Loopback ports for servers that tests start: free, kept over a server's restarts, and nobody else's meanwhile."""

import random
import socket
from collections.abc import Iterator

HOST = "127.0.0.1"
PORTS = range(10_000, 32_768)
"""Below the ports that the kernel gives to clients: one of those that tries a dead server's port again and again is
given that very port in the end, is connected to itself, and the server cannot come back.
"""


class Port:
    """A port that no other server of any test run gets before ``release``, or the end of this process."""

    def __init__(self) -> None:
        # An abstract Unix socket is the note that the port is taken: it goes with the process that made it.
        self._note = socket.socket(socket.AF_UNIX)
        self.number = next(number for number in _drawn() if self._take(number))

    def _take(self, number: int) -> bool:
        try:
            with socket.socket() as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind((HOST, number))
            self._note.bind(f"\0holdfast-test-port-{number}")
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Let others have it."""
        self._note.close()


def _drawn() -> Iterator[int]:
    draw = random.SystemRandom()  # a test that seeds the common one would draw the same ports as its neighbours
    for _ in range(1000):
        yield draw.choice(PORTS)
