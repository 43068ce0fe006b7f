"""What a store brings so that the suite can test it: how to open it, how to move its clock, how to disturb it.

A store's test module is one fixture and one class for each case class that the store must pass::

    @pytest.fixture
    def harness(tmp_path):
        with SqliteHarness(tmp_path) as harness:
            yield harness

    class TestSend(conformance.SendCases): ...
    class TestKeys(conformance.KeyCases): ...

    def test_no_case_class_is_missing(harness):
        conformance.check_inheritance(harness.open(), [TestSend, TestKeys])

Call ``pytest.register_assert_rewrite("holdfast.testing.conformance")`` in ``conftest.py``, before the suite is
imported, to see the values in failed assertions.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from holdfast.contract import LogBackend, QueueBackend
from holdfast.testing.clock import MovableClock


class Caller(ABC):
    """A caller's own connection to the store under test; ``connection`` is what he passes as ``connection=``."""

    connection: object

    @abstractmethod
    def begin(self) -> None:
        """Begin a transaction that may write."""

    @abstractmethod
    def commit(self) -> None:
        """Commit it."""

    @abstractmethod
    def rollback(self) -> None:
        """Roll it back."""


class Owner(ABC):
    """What the owners of streams do beside the store under test; fields and their values are texts."""

    @abstractmethod
    def add(self, stream: str, fields: Mapping[str, str], entry: str | None = None) -> str:
        """Add an entry to a stream, which is made if need be, under an id of the server's or this one; return it."""

    @abstractmethod
    def entries(self, stream: str) -> list[str]:
        """Return the ids of the entries that a stream has, in order."""

    @abstractmethod
    def delete(self, stream: str, entry: str) -> None:
        """Delete an entry, whoever has it."""

    @abstractmethod
    def remove(self, stream: str, group: str) -> None:
        """Remove a group from under its members."""


class Disturbed(ABC):
    """One store under test, empty at first, with a clock that the suite moves.

    A store whose own server tells the time overrides ``elapse``, ``set_wall`` and ``wall``, and lets its one time
    function add what was moved.
    """

    clock: MovableClock

    @property
    def ticks(self) -> bool:
        """Whether time passes when nobody moves the clock."""
        return self.clock.ticking

    @abstractmethod
    def close(self) -> None:
        """Close every handle and remove what the store left behind."""

    def elapse(self, seconds: float) -> None:
        """Let ``seconds`` pass in the store, on every clock it reads."""
        self.clock.move(seconds)

    def set_wall(self, delta: float) -> None:
        """Set the store's wall clock ``delta`` seconds forward or back; what measures heartbeats is untouched."""
        self.clock.set_wall(delta)

    def wall(self) -> int:
        """Return the store's wall clock in ms."""
        return self.clock.wall()

    def seal(self, logs: LogBackend, log: str) -> None:  # noqa: B027 - most stores have nothing to do
        """Let what was appended so far be a piece that retention can drop; nothing where it drops whole appends."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Harness(Disturbed):
    """One store of queues under test."""

    # -- every store ----------------------------------------------------------------------------------------------

    @abstractmethod
    def open(self) -> QueueBackend:
        """Return a handle on the store; a further one on the same jobs when called again.

        A store that one process has to itself returns the same handle.
        """

    # -- stores that keep jobs when they are closed (`Features.durable`) ------------------------------------------

    def reopen(self) -> QueueBackend:
        """Close every handle and open the store again."""
        raise NotImplementedError(f"{type(self).__name__} says nothing of reopening a durable store")

    # -- stores that take part in callers' transactions (`Transactional`) ------------------------------------------

    def connect(self) -> Caller:
        """Return a caller's own connection to the store, in no transaction; ``close`` ends it too."""
        raise NotImplementedError(f"{type(self).__name__} says nothing of callers' own connections")

    # -- stores beside which streams are that others fill (`ForeignStreams`) --------------------------------------

    def owner(self) -> Owner:
        """Return what fills streams as other programs do."""
        raise NotImplementedError(f"{type(self).__name__} says nothing of streams that others fill")

    # -- stores that several processes use (`Features.multi_process`) ---------------------------------------------

    def address(self) -> tuple[str, Path | None]:
        """Return the store's URL, and the file of its ``SharedClock`` if it has one, for a process of its own."""
        raise NotImplementedError(f"{type(self).__name__} says nothing of how another process opens the store")

    def kill(self, program: str, *, after: int) -> list[str]:
        """Run one of ``conformance.programs`` in a child; after ``after`` lines kill it with SIGKILL.

        Returns all that it wrote, which may be more lines than ``after``.
        """
        url, clock = self.address()
        command = [sys.executable, "-m", "holdfast.testing.conformance.programs", program, url]
        child = subprocess.Popen(
            [*command, str(clock or ""), "ticking" if self.ticks else "standing"], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        with child.stdout as output:
            lines = [output.readline() for _ in range(after)]
            child.send_signal(signal.SIGKILL)
            lines += output.readlines()
        child.wait()
        return [line.rstrip("\n") for line in lines if line.endswith("\n")]

    # -- stores that are reached through connections (`Features.multi_host`) --------------------------------------

    def cut(self, backend: QueueBackend) -> None:
        """Break the connections of one handle, so that its next call reconnects or fails as retryable."""
        raise NotImplementedError(f"{type(self).__name__} says nothing of cutting connections")
