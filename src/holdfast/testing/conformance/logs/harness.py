"""What a store of logs brings so that the suite can test it.

As with queues (:mod:`holdfast.testing.conformance.harness`), a store's test module is one fixture named ``harness``
and one class for each case class that the store must pass::

    @pytest.fixture
    def harness(tmp_path):
        with DiskLogHarness(tmp_path) as harness:
            yield harness

    class TestAppend(conformance.LogAppendCases): ...

    def test_no_case_class_is_missing(harness):
        conformance.check_inheritance(harness.open_logs(), [TestAppend])

A log may have one process, and one handle, that writes: in the whole suite only the first handle declares, appends
and destroys. Further ones read, join, seek and look.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.contract import LogBackend
from holdfast.testing.conformance.harness import Disturbed


class Child:
    """A process that is a member of a group, and writes lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._process, self._output = process, process.stdout

    def lines(self, count: int) -> list[str]:
        """Wait for so many further lines."""
        return [self._output.readline().rstrip("\n") for _ in range(count)]

    def kill(self) -> list[str]:
        """Kill it with SIGKILL, if it lives; return what it wrote besides."""
        if self._output.closed:
            return []
        self._process.send_signal(signal.SIGKILL)
        with self._output as output:
            rest = [line.rstrip("\n") for line in output if line.endswith("\n")]
        self._process.wait()
        return rest


class LogHarness(Disturbed):
    """One store of logs under test, empty at first, with a clock that the suite moves.

    Use a store that drops small pieces: the cases of retention append some dozens of messages, not gigabytes.
    """

    # -- every store ----------------------------------------------------------------------------------------------

    @abstractmethod
    def open_logs(self) -> LogBackend:
        """Return a handle on the store; a further one on the same logs when called again.

        A store that one process has to itself returns the same handle.
        """

    # -- stores that keep messages when they are closed (`Features.durable`) ---------------------------------------

    def reopen(self) -> LogBackend:
        """Close every handle and open the store again; return the handle that writes."""
        raise NotImplementedError(f"{type(self).__name__} says nothing of reopening a durable store")

    # -- stores that several processes use (`Features.multi_process`) ---------------------------------------------

    def address(self) -> tuple[str, Path | None]:
        """Return the store's URL, and the file of its ``SharedClock`` if it has one, for a process of its own."""
        raise NotImplementedError(f"{type(self).__name__} says nothing of how another process opens the store")

    @contextmanager
    def member(self, program: str) -> Iterator[Child]:
        """Run one of ``logs.programs`` in a process of its own; kill it at the end, if it lives then."""
        url, clock = self.address()
        command = [sys.executable, "-m", "holdfast.testing.conformance.logs.programs", program, url]
        process = subprocess.Popen(
            [*command, str(clock or ""), "ticking" if self.ticks else "standing"], stdout=subprocess.PIPE, text=True
        )
        child = Child(process)
        try:
            yield child
        finally:
            child.kill()
