"""Cases of closing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.config import LogSettings
from holdfast.contract import LogBackend, LogMember
from holdfast.delivery import HolderInfo
from holdfast.errors import Closed
from holdfast.logged import Columns, Start
from holdfast.testing.conformance.cases import PATIENCE, PROMPT, beside
from holdfast.testing.conformance.logs.cases import GROUP, LOG, READER, LogCases

CALLS: dict[str, Callable[[LogBackend], object]] = {
    "declare": lambda logs: logs.declare(LOG, LogSettings()),
    "logs": lambda logs: logs.logs(),
    "destroy": lambda logs: logs.destroy(LOG),
    "append": lambda logs: logs.append(LOG, 0, Columns([b""])),
    "flush": lambda logs: logs.flush(LOG),
    "read": lambda logs: logs.read(LOG, 0, 0, limit=1, max_bytes=1),
    "ends": lambda logs: logs.ends(LOG),
    "find": lambda logs: logs.find(LOG, 0, 0),
    "tidy": lambda logs: logs.tidy(),
    "join": lambda logs: logs.join(LOG, GROUP, HolderInfo(id=READER, ttl=10), start=Start()),
    "groups": lambda logs: logs.groups(LOG),
    "lag": lambda logs: logs.lag(LOG, GROUP),
    "seek": lambda logs: logs.seek(LOG, GROUP, {0: 0}),
    "forget": lambda logs: logs.forget(LOG, GROUP),
    "charge": lambda logs: logs.charge(LOG, GROUP, 0, 0, run=1, reason="died"),
    "crashes": lambda logs: logs.crashes(LOG, GROUP, 0),
    "beat": lambda logs: logs.beat(HolderInfo(id=READER, ttl=10)),
    "retire": lambda logs: logs.retire(READER),
}
MEMBER_CALLS: dict[str, Callable[[LogMember], object]] = {
    "poll": lambda member: member.poll(limit=1, wait=0),
    "commit": lambda member: member.commit([]),
    "assigned": lambda member: member.assigned(),
}


class LogCloseCases(LogCases):
    """Closing ends everything, once."""

    def test_closing_twice_is_safe(self) -> None:
        """The second call does nothing."""
        self.append("a")
        self.logs.close()
        self.logs.close()

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
    def test_closed_logs_refuse_every_call(self, call: Callable[[LogBackend], object]) -> None:
        """With an error of its own."""
        self.join()
        self.logs.close()

        with pytest.raises(Closed):
            call(self.logs)

    @pytest.mark.parametrize("call", MEMBER_CALLS.values(), ids=MEMBER_CALLS.keys())
    def test_members_of_closed_logs_refuse_every_call(self, call: Callable[[LogMember], object]) -> None:
        """They are closed with them."""
        member = self.join()
        self.poll(member)
        self.logs.close()

        with pytest.raises(Closed):
            call(member)

    def test_members_of_closed_logs_can_leave(self) -> None:
        """In whatever order things are closed."""
        member = self.join()
        self.poll(member)
        self.logs.close()

        member.leave()
        member.interrupt()

    def test_closing_ends_polls(self) -> None:
        """They return nothing, or raise `Closed`."""
        member = self.join()
        waiting = beside(lambda: self.polled(member, wait=PATIENCE))

        self.logs.close()

        ended = waiting.exception(PROMPT)
        assert isinstance(ended, Closed) if ended else waiting.result() == []
