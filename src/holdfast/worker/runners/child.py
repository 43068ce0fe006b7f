"""One process of isolated jobs, as its worker sees it: started, spoken to without ever blocking, killed, gone."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from multiprocessing import spawn
from pathlib import Path
from typing import Any

from holdfast.worker.handler import Isolated
from holdfast.worker.memory import memory_of
from holdfast.worker.runners.wire import Frames, Hello, Log, Order, framed

CHUNK = 1 << 20


class Child:
    """A process that leads a group of its own, so that what its jobs start is killed with it, and no signal from the
    terminal reaches it. Belongs to the thread that made it: the kernel kills it when that thread ends.

    Nothing here blocks. ``OSError`` when no process can be started.
    """

    def __init__(self, hello: bytes) -> None:
        self.pipe, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    _command(theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    process_group=0,
                )
        except BaseException:
            self.pipe.close()
            raise
        self.pid = self._process.pid
        self.death = _death_of(self.pid)
        """A descriptor that becomes readable when the process dies, where the system has such; else the pipe tells."""
        self.pipe.setblocking(False)
        self._frames = Frames()
        self._unsent = bytearray(hello)
        self.write()

    def send(self, order: Order) -> None:
        """Say something; what the pipe cannot take now is for ``write``."""
        self._unsent += framed(order)
        self.write()

    def write(self) -> None:
        """Go on with what is unsent."""
        try:
            while self._unsent:
                del self._unsent[: self.pipe.send(memoryview(self._unsent)[:CHUNK])]
        except BlockingIOError:
            pass
        except OSError:  # it has gone
            self._unsent.clear()

    @property
    def is_behind(self) -> bool:
        """Whether something is unsent."""
        return bool(self._unsent)

    def heard(self) -> Iterator[Any]:
        """Yield what it has said since; ``EOFError`` when it will say nothing more."""
        while True:
            try:
                data = self.pipe.recv(CHUNK)
            except BlockingIOError:
                return
            except ConnectionResetError:
                raise EOFError from None
            if not data:
                raise EOFError
            yield from self._frames.feed(data)

    def memory(self) -> int:
        """Return how many bytes of memory it occupies; 0 when that cannot be told."""
        return memory_of(self.pid)

    def kill(self) -> None:
        """Kill it and its group. It may take a moment until it ``has_gone``."""
        if self._process.returncode is None:  # else the number may be another's by now
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def has_gone(self) -> int | None:
        """Return how it ended, as ``Popen.returncode`` says it; None while it lives. What it started ends with it."""
        if self._process.returncode is None and self._is_dead():
            self.kill()  # its group, before its number is free to be another's
            self._process.wait()
        return self._process.returncode

    def _is_dead(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS, before Python 3.13
            return self._process.poll() is not None
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self.pid, flags) is not None
        except ChildProcessError:  # somebody else has waited for it
            return True

    def close(self) -> None:
        """Let go of everything; a process that still lives ends by that."""
        self.pipe.close()
        if self.death is not None:
            os.close(self.death)
            self.death = None


def _command(descriptor: int) -> list[str]:
    """Return the command line of a process with the interpreter, and the flags, of this one."""
    program = f"from holdfast.worker.runners.isolated import main; main({descriptor}, {os.getpid()})"
    return [*spawn.get_command_line()[:-2], program]


def _death_of(pid: int) -> int | None:
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # an old kernel, or a sandbox
        return None


# -- what it is told first ------------------------------------------------------------------------------------


def greeting(handlers: Collection[Isolated]) -> bytes:
    """Return what a process for these handlers is told first."""
    modules = {module for isolated in handlers for module in isolated.modules}
    preparation: dict[str, Any] = {"sys_path": list(sys.path), "sys_argv": list(sys.argv)}
    if "__main__" in modules:
        preparation |= _main_program()
    return framed(Hello(tuple(handlers), preparation, _log()))


def _main_program() -> dict[str, str]:
    """Return how the program itself is imported, under another name, so that it does not run again."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return {"init_main_from_name": spec.name}
    file = getattr(main, "__file__", None)
    return {} if file is None else {"init_main_from_path": str(Path(file).absolute())}


def _log() -> Log | None:
    """Return how this process logs, if it does so to its terminal, or where that leads."""
    for handler in logging.root.handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stderr, sys.stdout):
            with suppress(Exception):  # a formatter that cannot be pickled
                return Log(logging.root.level, pickle.dumps(handler.formatter))
    return None
