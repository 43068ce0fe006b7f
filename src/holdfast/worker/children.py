"""A worker process as seen by the one that started it, and how that one hears of signals and of children's ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

import msgspec

from holdfast.worker.tether import STOPPING, VARIABLE, Order, Report, Terms, reports, written


class Child:
    """A process started by the command line of this one, with ``flags`` for Python, and this side of its socket.

    Belongs to one thread, and no method but ``wait`` blocks. It inherits standard output and error, and nothing else.
    """

    def __init__(self, *, flags: Sequence[str] = (), supervised: bool = False, max_jobs: int | None = None) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.setblocking(False)
        self._rest, self._open = b"", True
        with theirs:
            terms = Terms(theirs.fileno(), supervised, max_jobs)
            environment = {**os.environ, VARIABLE: msgspec.json.encode(terms).decode()}
            command = [sys.executable, *flags, *sys.orig_argv[1:]]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)

    @property
    def pid(self) -> int:
        """Its process id, of nobody else until ``code`` has returned one."""
        return self._process.pid

    def readable(self) -> list[socket.socket]:
        """Return the socket as long as something may come from it."""
        return [self.socket] if self._open else []

    def said(self) -> list[Report]:
        """Return what the child has said since the last call."""
        received = self._rest
        with suppress(BlockingIOError, ConnectionResetError):
            while part := self.socket.recv(1 << 16):
                received += part
            self._open = False
        told, self._rest = reports(received)
        return told

    def order(self, order: Order) -> None:
        """Tell it what to do; one that has ended, or has not listened for long, hears nothing."""
        with suppress(OSError):
            self.socket.sendall(written(order))

    def code(self) -> int | None:
        """Return its exit code, negative for a signal; None while it lives."""
        return self._process.poll()

    def kill(self) -> None:
        """Kill it, if it lives."""
        self._process.kill()

    def close(self, patience: float | None = None) -> None:
        """Let go of it, which lets it stop if it lives, and wait for its end; after ``patience`` seconds kill it."""
        self._open = False
        self.socket.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def waking() -> Iterator[socket.socket]:
    """Yield a socket from which the numbers of arriving signals are read; those of children's ends are among them."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        before = {number: signal.signal(number, _ignored) for number in (*STOPPING, signal.SIGCHLD)}
        previous = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)


def asked_to_stop(wakes: socket.socket) -> int:
    """Read what has arrived, and return how many signals among it ask for an end."""
    with suppress(BlockingIOError):
        return sum(number in STOPPING for number in wakes.recv(4096))
    return 0


def _ignored(number: int, frame: FrameType | None) -> None:
    """Do nothing: the signal is read from the socket. Unlike SIG_IGN, this is not inherited by the child."""
