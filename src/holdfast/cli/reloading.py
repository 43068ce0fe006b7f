"""``holdfast worker --reload``: a process that watches files, and its child, the worker, that it starts anew.

They share a socket. The child tells over it which files it has imported, as lines of JSON; the parent tells how urgent
the end is: ``1`` to stop as after a signal, ``2`` as after a second one. The end of the socket is a ``1`` too, so no
worker outlives whoever was to stop it. The levels are absolute because a terminal, and some supervisors, send a signal
to both processes: the parent's order must not count as the second.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from holdfast.cli.watching import Watch, imported_files

if TYPE_CHECKING:
    from holdfast.worker import Stopped, Worker

LOOK_EVERY = 0.4
FEW = 3
VARIABLE = "HOLDFAST_TETHER"
"""Tells a child its end of the socket; gone as soon as it has been read, or a child's children would take it."""
STOPPING = (signal.SIGTERM, signal.SIGINT)


# -- the parent -----------------------------------------------------------------------------------------------


class Reloader:
    """Runs a worker as a child process, and another one when a file under ``folder`` has changed; for the main thread.

    A child that ended with an error is followed by the next one after a change. ``files`` are watched as well.
    """

    def __init__(self, folder: Path, files: Sequence[Path] = ()) -> None:
        self._folder, self._watch = folder, Watch(folder, map(str, files))
        self._asked = 0  # how often this process was asked to stop

    def run(self) -> int:
        """Work until asked to stop, or until a worker ends without an error; return the exit code."""
        if self._watch.too_large:
            _say(f"{self._folder} holds too much to be a project: only imported modules are watched")
        with _waking() as wakes:
            while True:
                code = self._one_life(wakes)
                if code is not None:
                    return code
                self._watch.settle()

    def _one_life(self, wakes: socket.socket) -> int | None:
        """Run one child, and wait for a change if it fails; return the exit code if this is the end of all."""
        with Child() as child:
            while child.code() is None or not (self._asked or child.level or child.code() == 0):
                self._rest(wakes, child)
                self._order(child)
        return None if child.level and not self._asked else child.code()

    def _order(self, child: Child) -> None:
        if self._asked:
            child.stop(min(self._asked, 2))
        elif not child.level and (changed := self._watch.changed()):
            _say(f"{_few(changed)} changed: the worker starts anew")
            child.stop(1)

    def _rest(self, wakes: socket.socket, child: Child) -> None:
        ready, _, _ = select.select([wakes, *child.readable()], [], [], LOOK_EVERY)
        if wakes in ready:
            self._asked += sum(number in STOPPING for number in wakes.recv(4096))
        if child.ours in ready:
            self._watch.add(child.files())
        if child.has_failed_now():
            _say("the worker has ended with an error: the next change starts it anew")


class Child:
    """One worker process, started by the command line of this one, and this side of its socket."""

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair()
        self._buffer, self._open, self._failure_told = b"", True, False
        self.level = 0  # how urgently it was told to stop; 0 not at all
        # No bytecode: what is written for a file stands for its next version too, in the same second and of one size.
        command = [sys.executable, "-B", *sys.orig_argv[1:]]
        environment = {**os.environ, VARIABLE: str(theirs.fileno())}
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.ours.close()
        self._process.wait()

    def readable(self) -> list[socket.socket]:
        """Return the socket as long as something may come from it."""
        return [self.ours] if self._open else []

    def files(self) -> list[str]:
        """Receive, and return the files that the child has told of by now."""
        received = self.ours.recv(1 << 16)
        self._open = bool(received)
        *lines, self._buffer = (self._buffer + received).split(b"\n")
        return [file for line in lines for file in json.loads(line)]

    def stop(self, level: int) -> None:
        """Let it stop, with grace (1) or without (2)."""
        if level > self.level:
            self.level = level
            with suppress(OSError):  # it has ended by itself
                self.ours.sendall(str(level).encode())

    def code(self) -> int | None:
        """Return its exit code as a shell would, None while it lives."""
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    def has_failed_now(self) -> bool:
        """Tell, once, that it has ended with an error by itself."""
        failed = not self.level and not self._failure_told and bool(self.code())
        self._failure_told |= failed
        return failed


@contextmanager
def _waking() -> Iterator[socket.socket]:
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


def _ignored(number: int, frame: FrameType | None) -> None:
    """Do nothing: the signal is read from the socket. Unlike SIG_IGN, this is not inherited by the child."""


def _say(text: str) -> None:
    click.echo(f"holdfast: {text}", err=True)


def _few(files: Sequence[str]) -> str:
    names = [os.path.relpath(file) for file in files]
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")


# -- the child ------------------------------------------------------------------------------------------------


class Tether:
    """What ties a worker to the process that watches. Made before anything of the user's is imported."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._worker: Worker | None = None
        self._starting = threading.Lock()
        self._level = self._signals = 0
        threading.Thread(target=self._listen, name="holdfast-tether", daemon=True).start()

    def tell_files(self) -> None:
        """Tell which files have been imported by now."""
        with suppress(OSError):  # nobody watches any more, and _listen has heard of it
            self._socket.sendall(json.dumps(imported_files()).encode() + b"\n")

    def run(self, worker: Worker) -> Stopped:
        """Do as ``Worker.run`` does, stopping also when told to by the parent."""
        for number in STOPPING:
            signal.signal(number, self._on_signal)
        with self._starting:
            self._worker = worker
        worker.start()
        self._raise_to(self._level)
        while (report := worker.join(LOOK_EVERY)) is None:
            pass
        return report

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        self._raise_to(self._signals)

    def _listen(self) -> None:
        with suppress(OSError):
            while orders := self._socket.recv(64):
                self._ordered(int(orders[-1:]))
        self._ordered(1)

    def _ordered(self, level: int) -> None:
        with self._starting:
            if self._worker is None:
                os._exit(0)  # it was still importing: nothing is leased yet
        self._raise_to(level)

    def _raise_to(self, level: int) -> None:
        """Make the end at least so urgent. Signals call it too, so it takes no lock."""
        self._level = max(self._level, level)
        if self._level and self._worker is not None:
            self._worker.stop(now=self._level > 1)


def tethered() -> Tether | None:
    """Return what ties this process to one that watches, if it has been started by one."""
    descriptor = os.environ.pop(VARIABLE, None)
    return None if descriptor is None else Tether(int(descriptor))
