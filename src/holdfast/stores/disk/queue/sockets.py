"""The socket in the queues' directory: where the owner answers what other processes ask."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from holdfast.errors import BackendError, BodyTooLarge
from holdfast.stores.disk.queue import wire

NAME = "socket"
PATH_MOST = 100
"""Bytes of a path that every system takes for a socket."""
AT_ONCE = 64
"""So many are answered at a time; the others wait to be let in."""
ANSWERS_AT_ONCE = 2
"""So many answers that may be large are in memory at a time."""
PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED, errno.EINTR})
PAUSE = 0.05


class Answering:
    """The owner's side: a thread that takes requests until it is stopped, each answered in a thread of its own."""

    def __init__(self, directory: Path, carry_out: Callable[[str, tuple[Any, ...]], object]) -> None:
        """Begin to answer; ``carry_out`` gets each verb with its arguments. ``OSError`` where there can be none."""
        self._path, self._carry_out = directory / NAME, carry_out
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short(directory) as short:
                self._socket.bind(short)
            self._path.chmod(0o600)
            self._socket.listen()
        except OSError:
            self._socket.close()
            raise
        self._stopped = False
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._requests, self._answers = threading.Lock(), threading.BoundedSemaphore(ANSWERS_AT_ONCE)
        self._thread = threading.Thread(target=self._run, name="holdfast-queues", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped:
            try:
                connection, _ = self._socket.accept()
            except OSError as error:
                if self._stopped or error.errno not in PASSING:
                    return
                time.sleep(PAUSE)  # nothing tells when the system has more to give
                continue
            self._slots.acquire()
            try:
                threading.Thread(target=self._serve, args=(connection,), name="holdfast-queues", daemon=True).start()
            except RuntimeError:  # no more threads; it asks again
                connection.close()
                self._slots.release()

    def _serve(self, connection: socket.socket) -> None:
        """Answer one request, in a thread of its own: who asks and then hangs keeps nobody waiting."""
        try:
            with connection, suppress(OSError, MemoryError):
                connection.settimeout(wire.TIMEOUT)
                length = wire.receive_length(connection, wire.REQUEST_MOST)
                with self._requests if length > wire.SMALL else nullcontext():
                    self._exchange(connection, wire.receive_rest(connection, length, within=wire.TIMEOUT))
        finally:
            self._slots.release()

    def _exchange(self, connection: socket.socket, data: bytes) -> None:
        try:
            verb, arguments = wire.read_request(data)
        except Exception as error:  # whatever it is, it is the asking process that has to know
            wire.send(connection, wire.answer(error))
            return
        with self._answers if verb in wire.LISTING else nullcontext():
            wire.send(connection, self._answer(verb, arguments))

    def _answer(self, verb: str, arguments: tuple[Any, ...]) -> bytes:
        try:
            return wire.answer(self._carry_out(verb, arguments))
        except Exception as error:  # here too
            return wire.answer(error)

    def stop(self) -> None:
        """Answer nobody from now on; a request that is being carried out ends by itself."""
        self._stopped = True
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def abandon(self) -> None:
        """Let go of the socket in a child of a fork; the parent goes on."""
        self._stopped = True
        self._socket.close()


def ask(directory: Path, verb: str, arguments: tuple[Any, ...]) -> Any:
    """Ask the owner of the queues; return the result, or raise the error it came to. ``OSError``: nobody answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(wire.TIMEOUT)
        with _short(directory) as short:
            _connect(connection, short)
        request = wire.request(verb, arguments)
        if len(request) > wire.REQUEST_MOST:
            raise BodyTooLarge(f"a request to the owner of the queues has at most {wire.REQUEST_MOST >> 20} MiB")
        try:
            wire.send(connection, request)
            data = wire.receive(connection)
        except OSError as error:
            text = f"the owner of the queues in {directory} did not answer: {error}"
            raise BackendError(text, retryable=True, outcome_unknown=True) from error
    return wire.read_answer(verb, data)


def _connect(connection: socket.socket, path: str) -> None:
    """Connect, and wait while more ask than can be let in."""
    end = time.monotonic() + wire.TIMEOUT
    while True:
        try:
            connection.connect(path)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise
        time.sleep(PAUSE)  # nothing tells when there is room


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    """Give the path of the socket, by way of the open directory when it is too long for one."""
    path = str(directory / NAME)
    if len(os.fsencode(path)) <= PATH_MOST:
        yield path
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{NAME}"
    finally:
        os.close(fd)
