"""What ties a worker process to the one that started it: a socket, and on it a line of JSON for each thing said.

The child tells what it has imported, that it can work, how it ended; the parent orders it to work or to stop. The end
of the socket is an order to stop too, so no worker outlives whoever was to stop it. How urgent a stop is, is told
absolutely, because a terminal, and some service managers, send a signal to both processes: the parent's order must not
count as the second.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

import msgspec

from holdfast.delivery import Burial, GiveBack, Nack
from holdfast.worker.options import Stopped

if TYPE_CHECKING:
    from holdfast.worker.worker import Worker

STOPPING = (signal.SIGTERM, signal.SIGINT)
VARIABLE = "HOLDFAST_TETHER"
"""Holds a child's terms; gone as soon as they have been read, or a child's children would take them for theirs."""
LOOK_EVERY = 0.25


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a child is to live: its end of the socket; whether it is ``supervised``, and then waits for the order to work
    and leaves talking to its parent; after how many jobs it ends.
    """

    descriptor: int
    supervised: bool = False
    max_jobs: int | None = None


class Imported(msgspec.Struct, frozen=True, tag=True):
    """These files have been imported by now."""

    files: tuple[str, ...]


class Begun(msgspec.Struct, frozen=True, tag=True):
    """From here on jobs may run, and may be what ends the process."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Everything that jobs need is open; ``published`` is where the child tells what runs. Told before the first lease:
    whoever holds the interpreter from then on is beaten for.
    """

    published: str


class Will(msgspec.Struct, frozen=True):
    """What becomes of jobs whose threads could not be stopped, once their process has gone."""

    retried: tuple[Nack, ...] = ()
    buried: tuple[Burial, ...] = ()
    given_back: tuple[GiveBack, ...] = ()


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The last word of a child whose worker has ended; ``told`` whether by a signal or an order, or else by itself."""

    counts: Stopped
    told: bool
    will: Will = Will()


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The last word of a child that an error ended; ``traceback`` only for one that says too little by itself."""

    error: str
    traceback: str = ""
    will: Will = Will()


Report = Imported | Begun | Ready | Ended | Failed


class Work(msgspec.Struct, frozen=True, tag=True):
    """Begin to work."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Stop as after so many signals: 1 with grace, 2 without."""

    level: int


Order = Work | Stop

_reports: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
_orders: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)


def written(said: Report | Order) -> bytes:
    """Return what is said as a line."""
    return msgspec.json.encode(said) + b"\n"


def reports(received: bytes) -> tuple[list[Report], bytes]:
    """Return what a child said in the whole lines of this, and the rest."""
    *lines, rest = received.split(b"\n")
    return [_reports.decode(line) for line in lines], rest


class Tether:
    """The child's end. Made in the main thread before anything of the user's is imported; signals are its from then on.

    Told to stop before its worker has begun, the process ends at once: nothing is leased yet.
    """

    def __init__(self, terms: Terms) -> None:
        os.set_inheritable(terms.descriptor, False)
        self.terms = terms
        self._socket = socket.socket(fileno=terms.descriptor)
        self._worker: Worker | None = None
        self._starting = threading.Lock()
        self._may_work = threading.Event()
        self._level = self._signals = 0
        for number in STOPPING:
            signal.signal(number, self._on_signal)
        threading.Thread(target=self._listen, name="holdfast-tether", daemon=True).start()

    def tell(self, report: Report) -> None:
        """Tell the parent; if there is none any more, nobody."""
        with suppress(OSError):  # _listen has heard of it
            self._socket.sendall(written(report))

    def wait(self) -> None:
        """Wait for the order to work."""
        while not self._may_work.wait(LOOK_EVERY):  # in slices, or no signal would be handled
            pass

    def run(self, worker: Worker) -> Stopped:
        """Do as ``Worker.run`` does, stopping also when the parent says so."""
        with self._starting:
            self._worker = worker
        self.tell(Begun())
        worker.start(ready=lambda: self.tell(Ready(worker.published)))
        self._raise_to(self._level)
        while (counts := worker.join(LOOK_EVERY)) is None:  # in slices, or no signal would be handled
            pass
        self.tell(Ended(counts, self._level > 0, self.will()))
        return counts

    def will(self) -> Will:
        """Return what becomes of the jobs that still run when this process ends now."""
        left = self._worker.abandoned() if self._worker is not None else []
        return Will(
            tuple(settlement for settlement in left if isinstance(settlement, Nack)),
            tuple(settlement for settlement in left if isinstance(settlement, Burial)),
            tuple(settlement for settlement in left if isinstance(settlement, GiveBack)),
        )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._worker is None:
            os._exit(0)
        self._raise_to(self._signals)

    def _listen(self) -> None:
        with suppress(OSError), self._socket.makefile("rb") as lines:
            for line in lines:
                self._obey(_orders.decode(line))
        self._stop(1)

    def _obey(self, order: Order) -> None:
        match order:
            case Work():
                self._may_work.set()
            case Stop(level):
                self._stop(level)

    def _stop(self, level: int) -> None:
        with self._starting:
            if self._worker is None:
                os._exit(0)
        self._raise_to(level)

    def _raise_to(self, level: int) -> None:
        """Make the end at least so urgent. Signals call it too, so it takes no lock."""
        self._level = max(self._level, level)
        if self._level and self._worker is not None:
            self._worker.stop(now=self._level > 1)


def tethered() -> Tether | None:
    """Return what ties this process to the one that started it, if that is to look after it."""
    terms = os.environ.pop(VARIABLE, None)
    return None if terms is None else Tether(msgspec.json.decode(terms, type=Terms))
