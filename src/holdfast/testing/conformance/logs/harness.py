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

from abc import abstractmethod
from pathlib import Path

from holdfast.contract import LogBackend
from holdfast.testing.conformance.harness import Disturbed


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
