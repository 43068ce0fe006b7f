"""``holdfast worker --reload``: a process that watches files, and its child, the worker, that it starts anew.

The child tells which files it has imported, and is told how urgent the end is: see :mod:`holdfast.worker.tether`.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Sequence
from pathlib import Path

import click

from holdfast.cli.watching import Watch
from holdfast.worker.children import Child, asked_to_stop, waking
from holdfast.worker.tether import Imported, Stop

LOOK_EVERY = 0.4
FEW = 3
NO_BYTECODE = ("-B",)
"""What is written for a file stands for its next version too, in the same second and of one size."""


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
        with waking() as wakes:
            while True:
                code = self._one_life(wakes)
                if code is not None:
                    return code
                self._watch.settle()

    def _one_life(self, wakes: socket.socket) -> int | None:
        """Run one child, and wait for a change if it fails; return the exit code if this is the end of all."""
        life = _Life()
        try:
            while life.code() is None or not (self._asked or life.level or life.code() == 0):
                self._rest(wakes, life)
                self._order(life)
        finally:
            life.child.close()
        return None if life.level and not self._asked else life.code()

    def _order(self, life: _Life) -> None:
        if self._asked:
            life.stop(min(self._asked, 2))
        elif not life.level and (changed := self._watch.changed()):
            _say(f"{_few(changed)} changed: the worker starts anew")
            life.stop(1)

    def _rest(self, wakes: socket.socket, life: _Life) -> None:
        ready, _, _ = select.select([wakes, *life.child.readable()], [], [], LOOK_EVERY)
        if wakes in ready:
            self._asked += asked_to_stop(wakes)
        for report in life.child.said():
            if isinstance(report, Imported):
                self._watch.add(report.files)
        if life.has_failed_now():
            _say("the worker has ended with an error: the next change starts it anew")


class _Life:
    """One child, and what was said to it and of it."""

    def __init__(self) -> None:
        self.child = Child(flags=NO_BYTECODE)
        self.level = 0  # how urgently it was told to stop; 0 not at all
        self._failure_told = False

    def stop(self, level: int) -> None:
        """Let it stop, with grace (1) or without (2)."""
        if level > self.level:
            self.level = level
            self.child.order(Stop(level))

    def code(self) -> int | None:
        """Return its exit code as a shell would, None while it lives."""
        code = self.child.code()
        return 128 - code if code is not None and code < 0 else code

    def has_failed_now(self) -> bool:
        """Tell, once, that it has ended with an error by itself."""
        failed = not self.level and not self._failure_told and bool(self.code())
        self._failure_told |= failed
        return failed


def _say(text: str) -> None:
    click.echo(f"holdfast: {text}", err=True)


def _few(files: Sequence[str]) -> str:
    names = [os.path.relpath(file) for file in files]
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")
